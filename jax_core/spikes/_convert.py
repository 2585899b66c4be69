"""Spike-time tensors and events, and the way from one to the other."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from .._compiled import compiled
from .._events import Events
from .._overflow import OnOverflow, handle_overflow
from .._validate import check_events, check_integer, check_spike_times
from ._sort import sort_times


def events_from_spike_times(spikes: ArrayLike, *, validate: bool = True) -> Events:
    """Merge the spikes of all neurons into one stream of events.

    Events at equal times come in the order of their neurons. Differentiable with respect to the
    times.

    **Arguments:**

    - ``spikes``: spike times, seconds, shape ``(..., neurons, k)``, ascending, ``inf`` where there
      is no spike.
    - ``validate``: whether to check the values (shape and dtype are always checked).

    **Returns:** `Events` of shape ``(..., neurons * k)``; no spike becomes ``inf`` / ``-1``.
    """
    check_spike_times(spikes, values=validate)
    return _merge(jnp.asarray(spikes))


def spike_times_from_events(
    events: Events,
    neurons: int,
    max_spikes: int,
    *,
    on_overflow: OnOverflow = "error",
    validate: bool = True,
) -> Array:
    """Sort the events of a stream by the neurons that they come from.

    Differentiable with respect to the times.

    **Arguments:**

    - ``events``: `Events` of shape ``(..., M)``, times in seconds.
    - ``neurons``: number of neurons.
    - ``max_spikes``: room for this many spikes per neuron.
    - ``on_overflow``: what to do about lost spikes: ``"error"``, ``"warn"`` or ``"truncate"``.
    - ``validate``: whether to check the values (shape and dtype are always checked).

    **Returns:** spike times, shape ``(..., neurons, max_spikes)``, ``inf`` where there is no
    spike.

    **Raises:** ``ValueError`` for a neuron with more than ``max_spikes`` spikes (``"truncate"``
    keeps the first ones); under ``jit`` the computation fails with a
    ``jax.errors.JaxRuntimeError``.
    """
    check_integer(neurons, "neurons", 0)
    check_integer(max_spikes, "max_spikes", 1)
    check_events(events, neurons, values=validate)

    spikes, lost = _distribute(
        jnp.asarray(events.time), jnp.asarray(events.index, jnp.int32), neurons, max_spikes
    )
    handle_overflow(
        lost, on_overflow, f"a neuron has more than max_spikes = {max_spikes} spikes; raise it"
    )
    return spikes


@compiled("events_from_spike_times")
def _merge(spikes: Array) -> Events:
    neurons, k = spikes.shape[-2:]
    time = _without_gradient_of_inf(spikes).reshape(*spikes.shape[:-2], neurons * k)
    _, place = sort_times(jax.lax.stop_gradient(time))
    time = jnp.take_along_axis(time, place, axis=-1)
    return Events(time, jnp.where(jnp.isinf(time), -1, place // max(k, 1)))


@compiled("spike_times_from_events", static_argnums=(2, 3))
def _distribute(time: Array, index: Array, neurons: int, max_spikes: int) -> tuple[Array, Array]:
    """Spike times, and how many spikes of each sample have no room."""

    def one_sample(time: Array, index: Array) -> tuple[Array, Array]:
        inside = (index >= 0) & (index < neurons)
        neuron, time = jax.lax.sort(
            (jnp.where(inside, index, neurons), time), num_keys=1, is_stable=True
        )
        first = jnp.searchsorted(neuron, neuron)
        rank = jnp.arange(neuron.shape[0], dtype=first.dtype) - first
        placed = (neuron < neurons) & (rank < max_spikes)
        slot = jnp.where(placed, neuron * max_spikes + rank, neurons * max_spikes)
        spikes = jnp.full(neurons * max_spikes, jnp.inf, time.dtype).at[slot].set(time, mode="drop")
        lost = jnp.sum(~placed & (time < jnp.inf), dtype=jnp.int32)
        return spikes.reshape(neurons, max_spikes), lost

    of_samples = jnp.vectorize(one_sample, signature="(m),(m)->(n,k),()")
    return of_samples(_without_gradient_of_inf(time), index)


def _without_gradient_of_inf(time: Array) -> Array:
    """The same times; what is not a spike has gradient 0, whatever comes from above."""
    return jnp.where(jnp.isinf(time), jnp.inf, time)
