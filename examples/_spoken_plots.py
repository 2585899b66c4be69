"""The figure of the example on spoken digits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _curves import plot_training
from _spoken_events import SpokenEvents
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_PANELS: list[Any] = [["loss", 0, 1], ["accuracy", 2, 3]]


def plot(
    path: Path,
    test: SpokenEvents,
    loss: Sequence[float],
    test_accuracy: Sequence[float],
    counts_accuracy: float,
) -> None:
    """Save curves, and the events of a sample of each of the first four classes, as an image.

    **Arguments:** ``loss`` and ``test_accuracy``: one number per epoch; ``counts_accuracy``: that
    of a network that sees no order.
    """
    figure = Figure(figsize=(15, 8), layout="constrained")
    panels = figure.subplot_mosaic(_PANELS)
    panels["accuracy"].sharex(panels["loss"])
    plot_training(panels["loss"], panels["accuracy"], loss, test_accuracy)
    panels["loss"].set_title("training")
    panels["accuracy"].lines[0].set_label("events")
    panels["accuracy"].axhline(100 * counts_accuracy, color="k", linestyle=":", label="counts only")
    panels["accuracy"].set_ylim(bottom=0)
    panels["accuracy"].legend(loc="lower right")
    for label in range(4):
        _plot_events(panels[label], test, label)
    for label in (0, 2):
        panels[label].set_ylabel("channel")
    for label in (2, 3):
        panels[label].set_xlabel("time, s")
    figure.savefig(path, dpi=120)


def _plot_events(axes: Axes, test: SpokenEvents, label: int) -> None:
    """The first sample of a class, if there is any."""
    time, index = test[(test.classes == label).nonzero()[:1, 0]].events
    there = time.isfinite()
    axes.scatter(time[there], index[there], marker="|", s=8, color=f"C{label}")
    axes.set(title=f"class {label}", xlim=(0, test.t_max), ylim=(0, SpokenEvents.CHANNELS))
