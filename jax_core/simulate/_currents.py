"""The synaptic current at given times, as at spikes that hardware was seen to emit."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .._anywhere import anywhere
from ._events import Input, column, intervals_between


def currents_at(events: Input, weight: Array, tau_syn: Array, times: Array) -> Array:
    """Synaptic currents at ``times``, ``(batch, out, Q)``, any order; 0 at ``inf``.

    An input event at one of the times has arrived by then. The neuron's own spikes do not touch
    its current.
    """
    batch, out, _ = times.shape
    intervals = intervals_between(events, weight, jnp.inf)
    tau = jnp.broadcast_to(tau_syn, (1, out) if tau_syn.ndim else (1, 1))

    class State(NamedTuple):
        k: Array
        clock: Array
        i: Array
        last: Array
        i_last: Array

    def walk(state: State) -> State:
        begin = column(intervals.begin, state.k)[:, None]
        is_event = jnp.isfinite(begin)
        clock = jnp.where(is_event, begin, state.clock)
        arriving = intervals.weight[column(intervals.pre, state.k)]
        i = state.i * jnp.exp(-(clock - state.clock) / tau) + arriving
        arrived = is_event[..., None] & (clock[..., None] <= times)
        return State(
            k=state.k + 1,
            clock=clock,
            i=i,
            last=jnp.where(arrived, clock[..., None], state.last),
            i_last=jnp.where(arrived, i[..., None], state.i_last),
        )

    def decay(state: State) -> Array:
        is_time = jnp.isfinite(times)
        age = jnp.where(is_time, times, state.last) - state.last
        return jnp.where(is_time, state.i_last * jnp.exp(-age / tau[..., None]), 0)

    none = jnp.zeros_like(times)
    start = State(
        jnp.int32(0),
        jnp.zeros((batch, 1), times.dtype),
        jnp.zeros((batch, out), times.dtype),
        none,
        none,
    )
    final = lax.while_loop(lambda state: anywhere(state.k < intervals.used), walk, start)
    return lax.cond(anywhere(jnp.any(jnp.isfinite(times))), decay, lambda state: none, final)
