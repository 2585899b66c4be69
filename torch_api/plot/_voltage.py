"""Voltages with threshold and spikes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ._axes import Unit, array, axes_or_new, seconds_per, time_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def voltage(
    times: Tensor,
    voltages: Tensor,
    ax: Axes | None = None,
    *,
    spikes: Tensor | None = None,
    threshold: float | Tensor | None = None,
    labels: Sequence[str] | None = None,
    unit: Unit = "ms",
    **style: Any,
) -> Axes:
    """Voltages of one sample over time, as a layer's ``trace`` gives them.

    **Arguments:**

    - ``times``: seconds, ``(T,)``; ``voltages``: ``(T,)`` or ``(neurons, T)``.
    - ``spikes``: the neurons' spike times, ``(neurons, k)``, as dots on the threshold, or on the
      voltage without one.
    - ``threshold``: a number or ``(neurons,)``, dotted.
    - ``labels``: of the neurons, for the legend.
    - ``style``: of matplotlib's ``plot``.
    """
    ax = axes_or_new(ax)
    second = seconds_per(unit)
    t = array(times, "times", 1, "(T,)")
    v = np.atleast_2d(array(voltages, "voltages"))
    if v.ndim != 2 or v.shape[1] != len(t):
        raise ValueError(
            f"voltages must have shape (T,) or (neurons, T) with T = {len(t)}, got "
            f"{np.shape(voltages)}; choose one of a batch, such as voltages[0]"
        )
    if labels is not None and len(labels) != len(v):
        raise ValueError(f"labels must have {len(v)} entries, got {len(labels)}")
    height = None
    if threshold is not None:
        height = np.broadcast_to(array(threshold, "threshold"), len(v))
    rows = None if spikes is None else array(spikes, "spikes", 2, "(neurons, k)")
    if rows is not None and len(rows) != len(v):
        raise ValueError(f"spikes must have {len(v)} neurons as voltages has, got {len(rows)}")
    for n, line in enumerate(v):
        (drawn,) = ax.plot(t / second, line, label=labels[n] if labels else None, **style)
        if rows is not None:
            at = rows[n][np.isfinite(rows[n])]
            on = np.interp(at, t, line) if height is None else np.full(at.shape, height[n])
            ax.plot(at / second, on, "o", color=drawn.get_color(), markersize=4)
    for k, each in enumerate([] if height is None else np.unique(height)):
        ax.axhline(each, color="k", linestyle=":", label=None if k else "threshold")
    if labels is not None:
        ax.legend()
    ax.set(xlabel=time_label(unit), ylabel="membrane voltage")
    return ax
