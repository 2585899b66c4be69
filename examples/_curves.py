"""Curves of training, as the figures of several examples show them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

_MARKED = 30


def save_training(
    path: Path, title: str, loss: Sequence[float], test_accuracy: Sequence[float]
) -> None:
    """Save `plot_training` as an image of its own."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    figure.suptitle(title)
    above, below = figure.subplots(2, sharex=True)
    plot_training(above, below, loss, test_accuracy)
    figure.savefig(path, dpi=120)


def plot_training(
    above: Axes, below: Axes, loss: Sequence[float], test_accuracy: Sequence[float]
) -> None:
    """Loss and test accuracy, one number per epoch, in two panels above each other."""
    above.plot(range(1, len(loss) + 1), loss, color="tab:gray", marker=marker(loss))
    above.set_ylabel("training loss")
    if max(loss) > 10 * min(loss) > 0:
        plain_log(above)
    else:
        above.set_ylim(bottom=0)
    above.tick_params(labelbottom=False)
    above.grid(alpha=0.3)
    plot_accuracy(below, test_accuracy, color="tab:red")
    label_accuracy(below)


def plot_accuracy(axes: Axes, accuracy: Sequence[float], first: int = 1, **style: Any) -> None:
    """Fractions as percentages over epochs that are counted from ``first`` on."""
    style = {"marker": marker(accuracy), **style}
    axes.plot(range(first, first + len(accuracy)), 100 * np.asarray(accuracy), **style)


def label_accuracy(axes: Axes, over: str = "epoch") -> None:
    """Axes around curves of `plot_accuracy`; to be called when all of them are there."""
    lowest = 5 * np.floor((axes.dataLim.y0 - 2) / 5)
    axes.set(xlabel=over, ylabel="test accuracy, %", ylim=(lowest, 101))
    for axis in (axes.xaxis, axes.yaxis) if over == "epoch" else (axes.yaxis,):
        axis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.grid(alpha=0.3)


def plain_log(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with numbers such as 0.02 instead of 2 x 10^-2."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")


def marker(values: Sequence[float]) -> str:
    """Dots for short curves, which may be single points."""
    return "." if len(values) <= _MARKED else ""


def save_with_samples(
    path: Path,
    loss: Sequence[float],
    test_accuracy: Sequence[float],
    counts_accuracy: float,
    draw: Callable[[Axes, int], None],
    unit: str,
) -> None:
    """Save curves, and beside them the events of a sample of each of the first four classes.

    **Arguments:** ``loss`` and ``test_accuracy``: one number per epoch; ``counts_accuracy``: that
    of a network that sees no order; ``draw``: draws the events of a class; ``unit``: of times.
    """
    figure = Figure(figsize=(15, 8), layout="constrained")
    mosaic: list[Any] = [["loss", 0, 1], ["accuracy", 2, 3]]
    panels: dict[Any, Axes] = figure.subplot_mosaic(mosaic)
    panels["accuracy"].sharex(panels["loss"])
    plot_training(panels["loss"], panels["accuracy"], loss, test_accuracy)
    panels["loss"].set_title("training")
    panels["accuracy"].lines[0].set_label("events")
    panels["accuracy"].axhline(100 * counts_accuracy, color="k", linestyle=":", label="counts only")
    panels["accuracy"].set_ylim(bottom=0)
    panels["accuracy"].legend(loc="center right")
    for label in range(4):
        draw(panels[label], label)
        panels[label].set(
            xlabel=f"time, {unit}" if label in (2, 3) else "",
            ylabel="channel" if label in (0, 2) else "",
        )
    figure.savefig(path, dpi=120)
