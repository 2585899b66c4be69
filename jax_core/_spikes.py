"""Spike-time tensors and events, and the way from one to the other."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ._events import Events
from ._validate import check_spike_times


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
    spikes = jnp.asarray(spikes)
    neurons, k = spikes.shape[-2:]
    time = spikes.reshape(*spikes.shape[:-2], neurons * k)
    neuron = jnp.repeat(jnp.arange(neurons, dtype=jnp.int32), k)
    index = jnp.where(jnp.isinf(time), -1, neuron)
    time, index = jax.lax.sort((time, index), num_keys=1, is_stable=True)
    return Events(time, index)
