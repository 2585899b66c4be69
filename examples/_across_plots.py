"""The figure of the example that trains across frameworks."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def plot(
    path: Path, mixed: list[float], alone: list[float], handed_over: list[int], front: list[float]
) -> None:
    """Save the losses of both parts over training steps; ``handed_over``: after which steps."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    network, conv = figure.subplots(1, 2)
    _plot_losses(
        network, mixed, color="tab:orange", linewidth=4, alpha=0.6, label="torch, JAX, torch"
    )
    _plot_losses(network, alone, color="k", linewidth=1, label="torch alone")
    for step in handed_over:
        network.axvline(step + 0.5, color="tab:gray", linestyle=":")
    edges = [0.5, *(step + 0.5 for step in handed_over), len(mixed) + 0.5]
    for name, left, right in zip(("torch", "JAX", "torch"), edges, edges[1:], strict=False):
        network.text(
            (left + right) / 2, 0.02, name, ha="center", transform=network.get_xaxis_transform()
        )
    network.set_title("LIF network: handed over twice (dotted), or not")
    network.legend()
    _plot_losses(conv, front, color="tab:blue")
    conv.set_title("torch Conv2d trained in JAX")
    figure.savefig(path, dpi=120)


def _plot_losses(axes: Axes, losses: list[float], **style: Any) -> None:
    axes.plot(range(1, len(losses) + 1), losses, **style)
    axes.set(xlabel="training step", ylabel="loss", ylim=(0, 1.1 * max(losses)))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
