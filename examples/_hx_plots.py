"""The figure of the comparison with the time grid."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def plot(path: Path, training: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Save accuracy over epochs and over time, and cost and error over the time step."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    epochs, seconds, cost, error = figure.subplots(2, 2).flat
    for method, found in training.items():
        accuracy = [100 * value for value in found["accuracy"]]
        epochs.plot(range(1, len(accuracy) + 1), accuracy, "o-", ms=3, label=method)
        seconds.plot(found["elapsed"], accuracy, "o-", ms=3)
    epochs.set(xlabel="epoch", ylabel="test accuracy, %", title="accuracy over epochs")
    seconds.set(xlabel="seconds of training", ylabel="test accuracy, %", title="and over time")
    epochs.legend()
    _over_steps(cost, rows, "seconds", "seconds per training step")
    _over_steps(error, rows, "gradient_error", "relative error of the gradient")
    figure.savefig(path, dpi=110)


def _over_steps(axes: Axes, rows: list[dict[str, Any]], what: str, label: str) -> None:
    """One quantity over the time step; without a grid, as a horizontal line."""
    for k, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        own = [row for row in rows if row["method"] == method]
        if method.startswith("event"):
            axes.axhline(own[0][what], color=f"C{k}")
        else:
            axes.plot([1e6 * row["dt"] for row in own], [row[what] for row in own], f"C{k}o-")
    axes.set(xscale="log", yscale="log", xlabel="time step, µs", ylabel=label)
    axes.grid(alpha=0.3)
