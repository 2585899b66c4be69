"""Conversions between spike times, events and dense rasters, for tensors.

Those that can lose spikes for want of room take ``on_overflow``: ``"error"`` raises
`SpikeOverflowError`, ``"warn"`` warns, ``"truncate"`` loses them silently.
"""

import math

import torch
from torch import Tensor

from ... import jax_core
from ...jax_core import Events
from ...jax_core._validate import check_duration
from .._validate import check_raster, check_spikes
from ..functional._layer import call, call_as_is
from ..layers._overflow import OnOverflow, check_policy, report_lost


def events_from_spike_times(spikes: Tensor) -> Events:
    """Merge the spikes of all neurons into one stream of events.

    Events at equal times come in the order of their neurons. Differentiable in the times.

    **Arguments:** ``spikes``: spike times, seconds, shape ``(..., neurons, k)``.

    **Returns:** ``Events`` of shape ``(..., neurons * k)``, padded with ``inf`` / ``-1``.
    """
    check_spikes(spikes)
    return call(jax_core.events_from_spike_times, spikes, validate=False)


def spike_times_from_events(
    events: Events, neurons: int, max_spikes: int, *, on_overflow: OnOverflow = "error"
) -> Tensor:
    """Sort the events of a stream by the neurons that they come from.

    Differentiable in the times.

    **Arguments:**

    - ``events``: of shape ``(..., M)``.
    - ``neurons``: number of neurons.
    - ``max_spikes``: room for this many spikes per neuron.
    - ``on_overflow``: what to do about further spikes; ``"truncate"`` keeps the first ones.

    **Returns:** spike times, seconds, shape ``(..., neurons, max_spikes)``.
    """
    check_policy(on_overflow)
    times = check_spikes(events, neurons, "events")
    spikes = call(
        jax_core.spike_times_from_events,
        events,
        neurons=neurons,
        max_spikes=max_spikes,
        on_overflow="truncate",
        validate=False,
    )
    remedy = f"a neuron has more than max_spikes = {max_spikes} spikes; raise max_spikes"
    report_lost(times < math.inf, spikes < math.inf, on_overflow, remedy)
    return spikes


def dense_from_spike_times(
    spikes: Tensor, dt: float, steps: int, *, on_overflow: OnOverflow = "error"
) -> Tensor:
    """Draw spike times on a raster; a spike goes to the step nearest to its time.

    The raster is piecewise constant in the times, its gradient is 0.

    **Arguments:**

    - ``spikes``: spike times, seconds, shape ``(..., neurons, k)``.
    - ``dt``: duration of a step, seconds.
    - ``steps``: number of steps.
    - ``on_overflow``: what to do about a spike that shares its step with another one of its
      neuron, or lies beyond the last step.

    **Returns:** zeros and ones, shape ``(steps, ..., neurons)``.
    """
    check_policy(on_overflow)
    check_duration(dt, "dt", infinite=False, positive=True)
    check_spikes(spikes)
    raster = call_as_is(
        jax_core.dense_from_spike_times,
        spikes,
        dt=dt,
        steps=steps,
        on_overflow="truncate",
        validate=False,
    )
    report_lost(spikes < math.inf, raster > 0, on_overflow, _off_grid(dt, steps))
    return raster


def dense_from_events(
    events: Events, neurons: int, dt: float, steps: int, *, on_overflow: OnOverflow = "error"
) -> Tensor:
    """Draw events on a raster, as `dense_from_spike_times`.

    **Arguments:** ``events`` of shape ``(..., M)``; ``neurons``: number of neurons; the others as
    there.
    """
    check_policy(on_overflow)
    check_duration(dt, "dt", infinite=False, positive=True)
    times = check_spikes(events, neurons, "events")
    raster = call_as_is(
        jax_core.dense_from_events,
        events,
        neurons=neurons,
        dt=dt,
        steps=steps,
        on_overflow="truncate",
        validate=False,
    )
    report_lost(times < math.inf, raster > 0, on_overflow, _off_grid(dt, steps))
    return raster


def spike_times_from_dense(
    raster: Tensor, dt: float, max_spikes: int, *, on_overflow: OnOverflow = "error"
) -> Tensor:
    """Read spike times off a raster.

    **Arguments:**

    - ``raster``: zeros and ones, shape ``(steps, ..., neurons)``, any dtype.
    - ``dt``: duration of a step, seconds.
    - ``max_spikes``: room for this many spikes per neuron.
    - ``on_overflow``: what to do about further spikes; ``"truncate"`` keeps the first ones.

    **Returns:** spike times, seconds, shape ``(..., neurons, max_spikes)``, of the dtype of a
    floating-point raster, else of torch's default dtype.
    """
    check_policy(on_overflow)
    check_duration(dt, "dt", infinite=False, positive=True)
    raster = _float_raster(raster)
    spikes = call_as_is(
        jax_core.spike_times_from_dense,
        raster,
        dt=dt,
        max_spikes=max_spikes,
        on_overflow="truncate",
        validate=False,
    )
    remedy = f"a neuron has more than max_spikes = {max_spikes} spikes; raise max_spikes"
    report_lost(raster > 0, spikes < math.inf, on_overflow, remedy)
    return spikes


def events_from_dense(
    raster: Tensor, dt: float, max_events: int, *, on_overflow: OnOverflow = "error"
) -> Events:
    """Read events off a raster; those of one step come in the order of their neurons.

    **Arguments:** ``max_events``: room for the events of one sample; the others as in
    `spike_times_from_dense`.

    **Returns:** ``Events`` of shape ``(..., max_events)``.
    """
    check_policy(on_overflow)
    check_duration(dt, "dt", infinite=False, positive=True)
    raster = _float_raster(raster)
    events = call_as_is(
        jax_core.events_from_dense,
        raster,
        dt=dt,
        max_events=max_events,
        on_overflow="truncate",
        validate=False,
    )
    remedy = f"a sample has more than max_events = {max_events} events; raise max_events"
    report_lost(raster > 0, events.time < math.inf, on_overflow, remedy)
    return events


def _float_raster(raster: Tensor) -> Tensor:
    check_raster(raster)
    if raster.dtype in (torch.float32, torch.float64):
        return raster.detach()
    return raster.to(torch.get_default_dtype())


def _off_grid(dt: float, steps: int) -> str:
    return (
        f"two spikes of a neuron fall into one step of dt = {dt}, or a spike lies beyond the last "
        f"of steps = {steps}; lower dt or raise steps"
    )
