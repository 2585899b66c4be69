"""Spikes: rasters, rates, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ...jax_core import Events
from ...jax_core._validate import check_duration
from .._validate import check_spikes
from ._axes import Unit, array, axes_or_new, seconds_per, time_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def raster(
    spikes: Tensor | Events,
    ax: Axes | None = None,
    *,
    unit: Unit = "ms",
    first_row: int = 0,
    **style: Any,
) -> Axes:
    """Spikes of one sample as ticks over time, a row for each neuron.

    **Arguments:**

    - ``spikes``: spike times ``(neurons, k)``, or ``Events`` ``(M,)``.
    - ``first_row``: the row of neuron 0, to draw several layers above each other.
    - ``style``: of matplotlib's ``scatter``, such as ``color``, ``s`` and ``label``.
    """
    check_spikes(spikes)
    if isinstance(spikes, Events):
        time = array(spikes.time, "spikes.time", 1, "(M,)")
        row = array(spikes.index, "spikes.index", 1, "(M,)")
    else:
        time = array(spikes, "spikes", 2, "(neurons, k)")
        row = np.broadcast_to(np.arange(len(time))[:, None], time.shape)
    ax = axes_or_new(ax)
    there = np.isfinite(time)
    style = {"marker": "|", "s": 30, "linewidths": 1.0, **style}
    ax.scatter(time[there] / seconds_per(unit), first_row + row[there], **style)
    ax.set(xlabel=time_label(unit), ylabel="neuron")
    return ax


def rates(
    spikes: Tensor, duration: float, ax: Axes | None = None, *, bins: int = 30, **style: Any
) -> Axes:
    """How many neurons spike how often: a histogram of mean rates, in Hz.

    **Arguments:** ``spikes``: spike times ``(..., neurons, k)``, averaged over leading axes;
    ``duration``: of a sample, seconds; ``style``: of matplotlib's ``hist``.
    """
    check_duration(duration, "duration", infinite=False, positive=True)
    time = array(check_spikes(spikes), "spikes")
    ax = axes_or_new(ax)
    counts = (time <= duration).sum(axis=-1)
    per_neuron = counts.reshape(-1, counts.shape[-1]).mean(axis=0) / duration
    ax.hist(per_neuron, bins=bins, **style)
    ax.set(xlabel="rate, Hz", ylabel="neurons")
    return ax


def intervals(
    spikes: Tensor,
    ax: Axes | None = None,
    *,
    unit: Unit = "ms",
    bins: int = 50,
    **style: Any,
) -> Axes:
    """Times from each spike to its neuron's next one: a histogram over all neurons and samples.

    **Arguments:** ``spikes``: spike times ``(..., neurons, k)``, ascending; ``style``: of
    matplotlib's ``hist``.
    """
    time = array(check_spikes(spikes), "spikes")
    ax = axes_or_new(ax)
    both = np.isfinite(time[..., 1:])
    between = time[..., 1:][both] - time[..., :-1][both]
    ax.hist(between / seconds_per(unit), bins=bins, **style)
    ax.set(xlabel=time_label(unit, "interval"), ylabel="number")
    return ax
