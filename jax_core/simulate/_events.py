"""What a simulation is given, and what it finds."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .._events import Events
from ..neuron._constants import Constants
from ..neuron._protocol import TRIAL_END, Neuron
from ..spikes._sort import sort_times


class Input(NamedTuple):
    """Sorted input events of a batch."""

    time: Array
    """Times of the events, shape ``(batch, M)``, ascending, ``inf`` where there is none."""
    pre: Array
    """Neurons that they come from, int32, same shape; any value where there is none."""
    ports: Array | None = None
    """The synapses through which each input neuron acts, int32 ``(in,)``; ``None`` for 0."""


class Spikes(NamedTuple):
    """What the neurons did: all that the gradient needs to know."""

    time: Array
    """Spike times ``(batch, out, K)``, ascending, ``inf`` where there is no spike; NaN for a neuron
    whose voltage is NaN."""
    current: Any
    """Synaptic current at each spike, same shape; of any neuron what is marked."""
    release_current: Any
    """The same at the end of each spike's refractory period."""
    overflow: Array
    """Whether a neuron would have spiked more than ``K`` times, bool ``(batch, out)``."""
    has_gradient: Array
    """Whether the spike's time has a derivative, bool ``(batch, out, K)``: all spikes found by
    simulation have one; observed ones do not where the model's voltage falls."""


def sort_input(events: Events, weight: Array) -> tuple[Input, Array | None]:
    """Order events by time; a spike-time tensor's place tells the neuron.

    **Returns:** the events, and the place that each had before, ``None`` if the same.
    """
    if events.index is not None:
        # Sorted by contract, checked where values are known.
        return Input(events.time, events.index), None
    time, place = sort_times(events.time)
    per_neuron = max(events.time.shape[-1] // max(weight.shape[1], 1), 1)
    return Input(time, place // per_neuron), place


def sorted_input(events: Events, weight: Array, ports: Array | np.ndarray | None = None) -> Input:
    """Events in order, whose times have a derivative."""
    order, place = sort_input(Events(lax.stop_gradient(events.time), events.index), weight)
    time = events.time if place is None else jnp.take_along_axis(events.time, place, axis=1)
    return order._replace(time=time, ports=ports)


def with_trial_end(order: Input, weight: Array, t_max: Array | float) -> tuple[Input, Array]:
    """Input and weights with one more input neuron, which tells neurons that the trial ends.

    Its port is `TRIAL_END`, its weight 0; of equal times it comes last.
    """
    batch, inputs = order.time.shape[0], weight.shape[1]
    end = jnp.broadcast_to(jnp.asarray(t_max, order.time.dtype), (batch, 1))
    time = jnp.concatenate([order.time, lax.stop_gradient(end)], axis=1)
    pre = jnp.concatenate([order.pre, jnp.full((batch, 1), inputs, order.pre.dtype)], axis=1)
    place = jnp.argsort(lax.stop_gradient(time), axis=1, stable=True)
    ports = jnp.zeros(inputs, jnp.int32) if order.ports is None else order.ports
    ordered = Input(
        jnp.take_along_axis(time, place, axis=1),
        jnp.take_along_axis(pre, place, axis=1),
        jnp.append(jnp.asarray(ports), jnp.int32(TRIAL_END)),
    )
    return ordered, jnp.pad(weight, ((0, 0), (0, 1)))


class Intervals(NamedTuple):
    """The times between events, one more than there are events; the last ends at ``t_max``."""

    begin: Array
    """Shape ``(batch, M + 1)``; at its begin an interval's event arrives, none at the first's."""
    end: Array
    pre: Array
    weight: Array
    used: Array
    ports: Array | None = None

    def port_of(self, pre: Array) -> Array:
        """The synapses through which inputs ``pre``, ``(batch,)``, act, ``(batch, 1)``."""
        if self.ports is None:
            return jnp.zeros((), jnp.int32)
        return self.ports[pre][:, None]


def intervals_between(events: Input, weight: Array, t_max: Array | float) -> Intervals:
    """Cut off what comes after ``t_max`` and give absent events a weight of zero."""
    inputs = weight.shape[1]
    present = (events.time <= t_max) & jnp.isfinite(events.time)
    time = jnp.minimum(events.time, t_max)
    left, right = ((0, 0), (1, 0)), ((0, 0), (0, 1))
    return Intervals(
        begin=jnp.pad(time, left),
        end=jnp.pad(time, right, constant_values=t_max),
        pre=jnp.pad(jnp.where(present, events.pre, inputs), left, constant_values=inputs),
        weight=jnp.pad(weight.T, ((0, 1), (0, 0))),
        used=jnp.max(jnp.sum(present, axis=1, dtype=jnp.int32), initial=0) + 1,
        ports=None if events.ports is None else jnp.pad(events.ports, (0, 1)),
    )


def undefined_neurons(events: Input, neuron: Neuron | Constants, state: Any) -> Array:
    """Where there is no telling what a neuron does, ``(batch, out)``, given its last state.

    NaN compares as False, so that a search for spikes would take it for silence.
    """
    total = sum(jax.tree.leaves(state))
    for constant in jax.tree.leaves(neuron):
        total = jnp.where(jnp.isnan(constant), jnp.nan, total)
    return jnp.isnan(total) | jnp.any(jnp.isnan(events.time), axis=1, keepdims=True)


def column(x: Array, k: Array) -> Array:
    """``x[:, k]`` for a ``k`` that is known at run time only."""
    return lax.dynamic_index_in_dim(x, k, axis=1, keepdims=False)
