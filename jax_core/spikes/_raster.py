"""Dense rasters ``(time, ..., neurons)`` and the way from and to spike times and events.

Step ``i`` of a raster stands for the time ``i * dt``. A spike goes to the step nearest to its time,
so spikes on that grid come back exactly. Rasters are piecewise constant in the spike times:
their gradient with respect to these is zero.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from .._compiled import compiled
from .._events import Events
from .._overflow import OnOverflow, handle_overflow
from .._validate import check_duration, check_events, check_integer, check_raster, check_spike_times


def dense_from_spike_times(
    spikes: ArrayLike,
    dt: float | Array,
    steps: int,
    *,
    on_overflow: OnOverflow = "error",
    validate: bool = True,
) -> Array:
    """Draw spike times on a raster.

    **Arguments:**

    - ``spikes``: spike times, seconds, shape ``(..., neurons, k)``.
    - ``dt``: duration of a step, seconds.
    - ``steps``: number of steps.
    - ``on_overflow``: what to do about lost spikes: ``"error"``, ``"warn"`` or ``"truncate"``.
    - ``validate``: whether to check the values (shape and dtype are always checked).

    **Returns:** zeros and ones of the dtype of ``spikes``, shape ``(steps, ..., neurons)``.

    **Raises:** ``ValueError`` for a spike that shares a step with an earlier one of its neuron or
    lies beyond the last step; under ``jit`` the computation fails with a
    ``jax.errors.JaxRuntimeError``.
    """
    check_spike_times(spikes, values=validate)
    spikes = jnp.asarray(spikes)
    neurons, k = spikes.shape[-2:]
    time = spikes.reshape(*spikes.shape[:-2], neurons * k)
    index = jnp.broadcast_to(jnp.repeat(jnp.arange(neurons, dtype=jnp.int32), k), time.shape)
    return _draw(time, index, neurons, dt, steps, on_overflow)


def dense_from_events(
    events: Events,
    neurons: int,
    dt: float | Array,
    steps: int,
    *,
    on_overflow: OnOverflow = "error",
    validate: bool = True,
) -> Array:
    """Draw events on a raster; as `dense_from_spike_times`.

    **Arguments:** ``events`` of shape ``(..., M)`` from ``neurons`` neurons; the others as there.
    """
    check_integer(neurons, "neurons", 0)
    check_events(events, neurons, values=validate)
    time, index = jnp.asarray(events.time), jnp.asarray(events.index, jnp.int32)
    return _draw(time, index, neurons, dt, steps, on_overflow)


def spike_times_from_dense(
    raster: ArrayLike,
    dt: float | Array,
    max_spikes: int,
    *,
    dtype: DTypeLike | None = None,
    on_overflow: OnOverflow = "error",
    validate: bool = True,
) -> Array:
    """Read spike times off a raster.

    **Arguments:**

    - ``raster``: zeros and ones, shape ``(steps, ..., neurons)``, any dtype.
    - ``dt``: duration of a step, seconds.
    - ``max_spikes``: room for this many spikes per neuron.
    - ``dtype``: dtype of the times; by default that of the raster if it is float32 or float64, else
      JAX's default.
    - ``on_overflow``: what to do about lost spikes: ``"error"``, ``"warn"`` or ``"truncate"``.
    - ``validate``: whether to check that the raster holds zeros and ones only.

    **Returns:** spike times, seconds, shape ``(..., neurons, max_spikes)``, ``inf`` where there is
    no spike.

    **Raises:** ``ValueError`` for a neuron with more than ``max_spikes`` spikes (``"truncate"``
    keeps the first ones); under ``jit`` the computation fails with a
    ``jax.errors.JaxRuntimeError``.
    """
    check_duration(dt, "dt", infinite=False, positive=True)
    check_integer(max_spikes, "max_spikes", 1)
    check_raster(raster, values=validate)
    raster = jnp.asarray(raster)
    spikes, lost = _read_spike_times(raster, dt, max_spikes, _dtype(raster, dtype))
    handle_overflow(
        lost, on_overflow, f"a neuron has more than max_spikes = {max_spikes} spikes; raise it"
    )
    return spikes


def events_from_dense(
    raster: ArrayLike,
    dt: float | Array,
    max_events: int,
    *,
    dtype: DTypeLike | None = None,
    on_overflow: OnOverflow = "error",
    validate: bool = True,
) -> Events:
    """Read events off a raster; as `spike_times_from_dense`.

    **Arguments:** ``max_events`` is the room for the events of one sample; the others as there.

    **Returns:** `Events` of shape ``(..., max_events)``; at equal times in the order of neurons.
    """
    check_duration(dt, "dt", infinite=False, positive=True)
    check_integer(max_events, "max_events", 0)
    check_raster(raster, values=validate)
    raster = jnp.asarray(raster)
    events, lost = _read_events(raster, dt, max_events, _dtype(raster, dtype))
    handle_overflow(
        lost, on_overflow, f"a sample has more than max_events = {max_events} events; raise it"
    )
    return events


def _draw(
    time: Array, index: Array, neurons: int, dt: float | Array, steps: int, on_overflow: OnOverflow
) -> Array:
    check_duration(dt, "dt", infinite=False, positive=True)
    check_integer(steps, "steps", 0)
    raster, lost = _count(jax.lax.stop_gradient(time), index, dt, neurons, steps)
    handle_overflow(
        lost,
        on_overflow,
        f"two spikes of a neuron fall into one step of dt = {dt}, or a spike lies beyond the last "
        f"of steps = {steps}; lower dt or raise steps",
    )
    return raster


@compiled("dense_from_events", static_argnums=(3, 4))
def _count(
    time: Array, index: Array, dt: float | Array, neurons: int, steps: int
) -> tuple[Array, Array]:
    """The raster, and how many spikes of each sample are not on it."""

    def one_sample(time: Array, index: Array) -> tuple[Array, Array]:
        position = jnp.round(time / dt)
        inside = (position < steps) & (index >= 0) & (index < neurons)
        step = jnp.where(inside, position, steps).astype(jnp.int32)
        counts = jnp.zeros((steps, neurons), jnp.int32).at[step, index].add(1, mode="drop")
        drawn = counts > 0
        lost = jnp.sum(time < jnp.inf) - jnp.sum(drawn)
        # No comparison finds a time that is NaN: without one, a raster would show silence.
        drawn = jnp.where(jnp.any(jnp.isnan(time)), jnp.nan, drawn.astype(time.dtype))
        return drawn, lost.astype(jnp.int32)

    raster, lost = jnp.vectorize(one_sample, signature="(m),(m)->(s,n),()")(time, index)
    return jnp.moveaxis(raster, -2, 0), lost


@compiled("spike_times_from_dense", static_argnums=(2, 3))
def _read_spike_times(
    raster: Array, dt: float | Array, max_spikes: int, dtype: DTypeLike
) -> tuple[Array, Array]:
    spiking = jnp.moveaxis(raster.astype(bool), 0, -1)
    step, lost = _first(spiking, max_spikes)
    return _time_of(step, spiking.shape[-1], dt, dtype), lost


@compiled("events_from_dense", static_argnums=(2, 3))
def _read_events(
    raster: Array, dt: float | Array, max_events: int, dtype: DTypeLike
) -> tuple[Events, Array]:
    spiking = jnp.moveaxis(raster.astype(bool), 0, -2)
    steps, neurons = spiking.shape[-2:]
    cell, lost = _first(spiking.reshape(*spiking.shape[:-2], steps * neurons), max_events)
    per_step = max(neurons, 1)
    time = _time_of(cell // per_step, steps, dt, dtype)
    index = jnp.where(cell < steps * neurons, cell % per_step, -1)
    return Events(time, index.astype(jnp.int32)), lost


def _first(spiking: Array, room: int) -> tuple[Array, Array]:
    """Positions of the first ``room`` true entries (missing: the length), and how many are left."""
    length = spiking.shape[-1]
    find = partial(jnp.nonzero, size=room, fill_value=length)
    position = jnp.vectorize(lambda x: find(x)[0], signature="(m)->(k)")(spiking)
    return position, jnp.maximum(jnp.sum(spiking, axis=-1, dtype=jnp.int32) - room, 0)


def _time_of(step: Array, steps: int, dt: float | Array, dtype: DTypeLike) -> Array:
    return jnp.where(step < steps, step.astype(dtype) * dt, jnp.inf)


def _dtype(raster: Array, dtype: DTypeLike | None) -> DTypeLike:
    if dtype is not None:
        return dtype
    precise = raster.dtype in (jnp.float32, jnp.float64)
    return raster.dtype if precise else jnp.result_type(float)
