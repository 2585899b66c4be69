"""The figure of the example on rewards."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


def plot(
    path: Path, rewarded: Sequence[float], times: Tensor, before: Tensor, after: Tensor
) -> None:
    """Save the share of right answers, and weights over the times of inputs in their pattern.

    **Arguments:** ``rewarded``: of blocks of updates; ``times``: of the patterns, seconds,
    ``(patterns, inputs)``; ``before``, ``after``: weights, ``(patterns, inputs)``.
    """
    figure = Figure(figsize=(13, 4), layout="constrained")
    curve, *panels = figure.subplots(1, 3)
    curve.plot(range(1, len(rewarded) + 1), 100 * np.asarray(rewarded), marker=".")
    curve.axhline(100 / len(times), color="k", linestyle=":", label="chance level")
    curve.set(xlabel="blocks of updates", ylabel="right answers, %", ylim=(0, 101))
    curve.set_title("while learning, on the chip")
    curve.legend(loc="lower right")
    curve.grid(alpha=0.3)
    panels[1].sharey(panels[0])
    for axes, weight, title in zip(panels, (before, after), ("before", "after"), strict=True):
        _plot_weights(axes, times, weight, title)
    figure.savefig(path, dpi=120)


def _plot_weights(axes: Axes, times: Tensor, weight: Tensor, title: str) -> None:
    for label, (of_pattern, of_neuron) in enumerate(zip(times, weight, strict=True)):
        axes.scatter(1e3 * of_pattern, of_neuron, s=12, color=f"C{label % 10}")
    axes.axhline(0, color="k", linewidth=0.5)
    axes.set(xlabel="time of the input in the neuron's pattern, ms", ylabel="weight", title=title)
