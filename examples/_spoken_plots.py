"""The figure of the example on spoken digits."""

from collections.abc import Sequence
from pathlib import Path

from _curves import save_with_samples
from _spoken_events import SpokenEvents
from matplotlib.axes import Axes

from evtorch import torch_api as snn


def plot(
    path: Path,
    test: SpokenEvents,
    loss: Sequence[float],
    test_accuracy: Sequence[float],
    counts_accuracy: float,
) -> None:
    """Save curves, and the events of samples, as `save_with_samples` does."""

    def draw(axes: Axes, label: int) -> None:
        """The first sample of a class, if there is any."""
        for k in (test.classes == label).nonzero()[:1, 0]:
            time, index = test.events
            events = snn.Events(time[k], index[k])
            snn.plot.raster(events, axes, unit="s", s=8, color=f"C{label}")
        axes.set(title=f"class {label}", xlim=(0, test.t_max), ylim=(0, SpokenEvents.CHANNELS))

    save_with_samples(path, loss, test_accuracy, counts_accuracy, draw, "s")
