"""The figure of the example on event streams."""

from collections.abc import Sequence
from pathlib import Path

from _curves import save_with_samples
from _ordered_events import MS, OrderedEvents
from matplotlib.axes import Axes

from evtorch import torch_api as snn


def plot(
    path: Path,
    test: OrderedEvents,
    loss: Sequence[float],
    test_accuracy: Sequence[float],
    counts_accuracy: float,
) -> None:
    """Save curves, and the events of samples (grey: the lead), as `save_with_samples` does."""

    def draw(axes: Axes, label: int) -> None:
        """The first sample of a class, if there is any."""
        for k in (test.classes == label).nonzero()[:1, 0]:
            time, index = test.events
            snn.plot.raster(snn.Events(time[k], index[k]), axes, color=f"C{label}")
        axes.axvspan(0, OrderedEvents.LEAD / MS, color="tab:gray", alpha=0.2, linewidth=0)
        axes.set(xlim=(0, OrderedEvents.T_MAX / MS), yticks=range(0, OrderedEvents.CHANNELS, 5))
        step = OrderedEvents.STEPS[label]
        axes.set_title(f"class {label}: the next channel is {step:+d} further")

    save_with_samples(path, loss, test_accuracy, counts_accuracy, draw, "ms")
