"""Conversions between spike times, events and dense rasters, for tensors."""

import torch
from torch import Tensor

from .. import jax_core
from ..jax_core import Events
from ._overflow import SpikeOverflowError
from ._validate import check_raster, check_spikes
from .functional._layer import call


def events_from_spike_times(spikes: Tensor) -> Events:
    """Merge the spikes of all neurons into one stream of events.

    Events at equal times come in the order of their neurons. Differentiable in the times.

    **Arguments:** ``spikes``: spike times, seconds, shape ``(..., neurons, k)``.

    **Returns:** ``Events`` of shape ``(..., neurons * k)``, padded with ``inf`` / ``-1``.
    """
    check_spikes(spikes)
    return call(jax_core.events_from_spike_times, spikes, validate=False)


def spike_times_from_events(events: Events, neurons: int, max_spikes: int) -> Tensor:
    """Sort the events of a stream by the neurons that they come from.

    Differentiable in the times.

    **Arguments:** ``events`` of shape ``(..., M)``; ``neurons``: number of neurons;
    ``max_spikes``: room for this many spikes per neuron.

    **Returns:** spike times, seconds, shape ``(..., neurons, max_spikes)``.

    **Raises:** `SpikeOverflowError` if a neuron has more spikes.
    """
    check_spikes(events, neurons, "events")
    spikes, lost = call(
        jax_core.spike_times_from_events,
        events,
        neurons=neurons,
        max_spikes=max_spikes,
        return_lost=True,
        validate=False,
    )
    _raise_if_lost(lost, f"a neuron has more than max_spikes = {max_spikes} spikes; raise it")
    return spikes


def dense_from_spike_times(spikes: Tensor, dt: float, steps: int) -> Tensor:
    """Draw spike times on a raster; a spike goes to the step nearest to its time.

    The raster is piecewise constant in the times, its gradient is 0.

    **Arguments:** ``spikes``: spike times, seconds, shape ``(..., neurons, k)``; ``dt``: duration
    of a step, seconds; ``steps``: number of steps.

    **Returns:** zeros and ones, shape ``(steps, ..., neurons)``.

    **Raises:** `SpikeOverflowError` if two spikes of a neuron share a step, or one lies beyond the
    last step.
    """
    check_spikes(spikes)
    raster, lost = call(
        jax_core.dense_from_spike_times,
        spikes,
        dt=dt,
        steps=steps,
        return_lost=True,
        validate=False,
    )
    _raise_if_off_grid(lost, dt, steps)
    return raster


def dense_from_events(events: Events, neurons: int, dt: float, steps: int) -> Tensor:
    """Draw events on a raster, as `dense_from_spike_times`.

    **Arguments:** ``events`` of shape ``(..., M)``; ``neurons``: number of neurons; the others as
    there.
    """
    check_spikes(events, neurons, "events")
    raster, lost = call(
        jax_core.dense_from_events,
        events,
        neurons=neurons,
        dt=dt,
        steps=steps,
        return_lost=True,
        validate=False,
    )
    _raise_if_off_grid(lost, dt, steps)
    return raster


def spike_times_from_dense(raster: Tensor, dt: float, max_spikes: int) -> Tensor:
    """Read spike times off a raster.

    **Arguments:** ``raster``: zeros and ones, shape ``(steps, ..., neurons)``, any dtype; ``dt``:
    duration of a step, seconds; ``max_spikes``: room for this many spikes per neuron.

    **Returns:** spike times, seconds, shape ``(..., neurons, max_spikes)``, of the dtype of a
    floating-point raster, else of torch's default dtype.

    **Raises:** `SpikeOverflowError` if a neuron has more spikes.
    """
    spikes, lost = call(
        jax_core.spike_times_from_dense,
        _float_raster(raster),
        dt=dt,
        max_spikes=max_spikes,
        return_lost=True,
        validate=False,
    )
    _raise_if_lost(lost, f"a neuron has more than max_spikes = {max_spikes} spikes; raise it")
    return spikes


def events_from_dense(raster: Tensor, dt: float, max_events: int) -> Events:
    """Read events off a raster; those of one step come in the order of their neurons.

    **Arguments:** ``max_events``: room for the events of one sample; the others as in
    `spike_times_from_dense`.

    **Returns:** ``Events`` of shape ``(..., max_events)``.

    **Raises:** `SpikeOverflowError` if a sample has more events.
    """
    events, lost = call(
        jax_core.events_from_dense,
        _float_raster(raster),
        dt=dt,
        max_events=max_events,
        return_lost=True,
        validate=False,
    )
    _raise_if_lost(lost, f"a sample has more than max_events = {max_events} events; raise it")
    return events


def _float_raster(raster: Tensor) -> Tensor:
    check_raster(raster)
    if raster.dtype in (torch.float32, torch.float64):
        return raster.detach()
    return raster.to(torch.get_default_dtype())


def _raise_if_off_grid(lost: Tensor, dt: float, steps: int) -> None:
    _raise_if_lost(
        lost,
        f"two spikes of a neuron fall into one step of dt = {dt}, or a spike lies beyond the last "
        f"of steps = {steps}; lower dt or raise steps",
    )


def _raise_if_lost(lost: Tensor, reason: str) -> None:
    if bool(lost.any()):
        raise SpikeOverflowError(f"{int(lost.sum())} spike(s) would be lost: {reason}")
