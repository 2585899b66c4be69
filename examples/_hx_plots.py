"""The figure of the comparison with the time grid."""

from pathlib import Path
from typing import Any

from _curves import label_accuracy, plain_log, plot_accuracy
from _hx_measure import EXACT, name_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Where curves coincide, each shows around the next.
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "C0", "marker": "o", "markersize": 5},
    {"color": "C1", "marker": "s", "markersize": 9, "fillstyle": "none"},
    {"color": "C2", "marker": "^", "markersize": 5},
)
# One for each time step, from the first to the third and all others.
_LINES = ("-", "--", ":")


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """Save accuracy over epochs and over time, and cost and error over the time step."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    epochs, seconds, cost, error = figure.subplots(2, 2).flat
    for row in rows:
        style = _style(row, rows)
        label = name_of((row["method"], row["dt"]))
        plot_accuracy(epochs, row["accuracy"], label=label, **style)
        seconds.plot(row["elapsed"], [100 * value for value in row["accuracy"]], **style)
    seconds.set_xscale("log")
    seconds.xaxis.set_major_formatter("{x:g}")
    label_accuracy(epochs)
    label_accuracy(seconds, "seconds of training, compilation included")
    _over_steps(cost, rows, "seconds", "seconds per training step, without compilation")
    plain_log(cost)
    _over_steps(error, rows, "gradient_error", "relative error of the gradient")
    figure.legend(*epochs.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.savefig(path, dpi=110)


def _style(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Colour and marker by the method, the line by its time step."""
    methods = list(dict.fromkeys(other["method"] for other in rows))
    steps = [other["dt"] for other in rows if other["method"] == row["method"]]
    line = _LINES[min(steps.index(row["dt"]), len(_LINES) - 1)]
    return {**_STYLES[methods.index(row["method"])], "linestyle": line}


def _over_steps(axes: Axes, rows: list[dict[str, Any]], what: str, label: str) -> None:
    """One quantity over the time step; without a grid, as a horizontal line."""
    for method, style in zip(dict.fromkeys(row["method"] for row in rows), _STYLES, strict=True):
        own = [row for row in rows if row["method"] == method]
        if method == EXACT:
            axes.axhline(own[0][what], color=style["color"])
        else:
            axes.plot([1e6 * row["dt"] for row in own], [row[what] for row in own], **style)
    axes.set(xscale="log", yscale="log", xlabel="time step of the grid, µs", ylabel=label)
    axes.set_xticks(sorted({1e6 * row["dt"] for row in rows}))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.grid(alpha=0.3)
