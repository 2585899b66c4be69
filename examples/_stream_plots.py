"""The figure of the example on event streams."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _curves import plot_training
from _ordered_events import MS, OrderedEvents
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_PANELS: list[Any] = [["loss", "class 0", "class 1"], ["accuracy", "class 2", "class 3"]]


def plot(
    path: Path,
    test: OrderedEvents,
    loss: Sequence[float],
    test_accuracy: Sequence[float],
    counts_accuracy: float,
) -> None:
    """Save curves, and the events of one sample per class (grey: the lead), as an image.

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
    panels["accuracy"].legend(loc="center right")
    for label, step in enumerate(OrderedEvents.STEPS):
        axes = panels[f"class {label}"]
        axes.set(title=f"class {label}: the next channel is {step:+d} further")
        _plot_events(axes, test, label)
    for label in (0, 2):
        panels[f"class {label}"].set_ylabel("channel")
    for label in (2, 3):
        panels[f"class {label}"].set_xlabel("time, ms")
    figure.savefig(path, dpi=120)


def _plot_events(axes: Axes, test: OrderedEvents, label: int) -> None:
    """The first sample of a class, if there is any."""
    which = (test.classes == label).nonzero()[:1, 0]
    time, index = test[which].events
    axes.scatter(time / MS, index, marker="|", s=30, color=f"C{label}")
    axes.axvspan(0, OrderedEvents.LEAD / MS, color="tab:gray", alpha=0.2, linewidth=0)
    axes.set(xlim=(0, OrderedEvents.T_MAX / MS), yticks=range(0, OrderedEvents.CHANNELS, 5))
