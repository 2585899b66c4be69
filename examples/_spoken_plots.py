"""The figure of the example on spoken digits."""

from collections.abc import Sequence
from pathlib import Path

from _curves import save_with_samples
from _spoken_events import SpokenEvents
from matplotlib.axes import Axes


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
        time, index = test[(test.classes == label).nonzero()[:1, 0]].events
        there = time.isfinite()
        axes.scatter(time[there], index[there], marker="|", s=8, color=f"C{label}")
        axes.set(title=f"class {label}", xlim=(0, test.t_max), ylim=(0, SpokenEvents.CHANNELS))

    save_with_samples(path, loss, test_accuracy, counts_accuracy, draw, "s")
