"""Which neurons learn, over training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..layers._health import HealthReport
from ._axes import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS = {
    "silent": "silent (sample, neuron) pairs, %",
    "overflow": "(sample, neuron) pairs with too many spikes, %",
    "grazing": "grazing spikes per (sample, neuron), %",
}


def health(
    reports: Sequence[HealthReport],
    ax: Axes | None = None,
    *,
    what: Literal["silent", "overflow", "grazing"] = "silent",
    over: Sequence[float] | None = None,
    **style: Any,
) -> Axes:
    """How the layers' health went over training, a line for each layer.

    **Arguments:** ``reports``: of `health_report`, one per epoch, say; ``over``: where each was
    made, by default 1, 2, ...; ``style``: of matplotlib's ``plot``.
    """
    if what not in _LABELS:
        raise ValueError(f"what must be one of {', '.join(_LABELS)}, got {what!r}")
    over = list(range(1, len(reports) + 1)) if over is None else list(over)
    if len(over) != len(reports):
        raise ValueError(f"over must have {len(reports)} entries as reports has, got {len(over)}")
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for place, report in zip(over, reports, strict=True):
        if not isinstance(report, HealthReport):
            raise TypeError(f"reports must hold HealthReports, got {type(report).__name__}")
        for layer in report.layers:
            shares = {
                "silent": layer.silent_fraction,
                "overflow": layer.overflow_fraction,
                "grazing": layer.grazing_rate,
            }
            where, values = lines.setdefault(layer.name, ([], []))
            where.append(place)
            values.append(100 * shares[what])
    ax = axes_or_new(ax)
    for name, (where, values) in lines.items():
        ax.plot(where, values, **{"marker": ".", "label": name or "the layer", **style})
    ax.set(xlabel="epoch", ylabel=_LABELS[what])
    ax.set_ylim(bottom=0)
    if lines:
        ax.legend()
    return ax
