"""Event-driven simulation of neurons that may spike several times, in continuous time.

All (sample, neuron) pairs walk through their sample's sorted input events in lockstep. Within an
interval between events every pair goes on by itself, from spike to spike, until it reaches the
interval's end, so the cost grows with the number of events and spikes, not with the simulated time.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..neuron._crossing import advance, find_bracket, solve_crossing
from ..neuron._kernel import propagator
from ._events import Input, Intervals, Spikes, column, intervals_between, undefined_neurons


def all_spikes(
    events: Input,
    weight: Array,
    constants: Constants,
    max_spikes: int,
    t_max: Array | float,
    is_double: bool,
    is_refractory: bool,
) -> Spikes:
    """Simulate neurons; a pair that has overflowed is not followed further.

    **Arguments:** ``is_double``: whether ``tau_mem = 2 tau_syn`` for all, which has closed forms.
    """
    intervals = intervals_between(events, weight, t_max)
    layer = _Layer(intervals, constants, max_spikes, is_double, is_refractory)
    start = jnp.int32(0), layer.start(events.time.shape[0], weight)
    _, final = lax.while_loop(layer.is_running, layer.walk, start)
    undefined = undefined_neurons(events, constants, final.v, final.i)
    time = jnp.where(undefined[..., None], jnp.nan, final.time)
    return Spikes(
        time,
        final.current,
        final.release_current if is_refractory else final.current,
        final.fired > max_spikes,
        jnp.isfinite(time),
    )


class _State(NamedTuple):
    clock: Array
    v: Array
    i: Array
    hold: Array
    """Until when the voltage is held at reset."""
    fired: Array
    time: Array
    """Of spikes, ``(batch, out, max_spikes)``."""
    current: Array
    release_current: Array
    at_end: Array
    """Whether the end of the interval is reached."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer and its input, with the steps of their simulation."""

    intervals: Intervals
    constants: Constants
    max_spikes: int
    is_double: bool
    is_refractory: bool

    def start(self, batch: int, weight: Array) -> _State:
        shape, dtype = (batch, weight.shape[0]), weight.dtype
        zero = jnp.zeros(shape, dtype)
        none = jnp.zeros((*shape, self.max_spikes), dtype)
        return _State(
            clock=zero,
            v=jnp.broadcast_to(self.constants.start, shape).astype(dtype),
            i=zero,
            hold=zero,
            fired=jnp.zeros(shape, jnp.int32),
            time=jnp.full_like(none, jnp.inf),
            current=none,
            release_current=none,
            at_end=jnp.zeros(shape, bool),
        )

    def is_running(self, loop: tuple[Array, _State]) -> Array:
        k, state = loop
        return (k < self.intervals.used) & ~jnp.all(state.fired > self.max_spikes)

    def walk(self, loop: tuple[Array, _State]) -> tuple[Array, _State]:
        """Go through one interval."""
        k, state = loop
        end = column(self.intervals.end, k)[:, None]
        arriving = self.intervals.weight[column(self.intervals.pre, k)]
        state = state._replace(i=state.i + arriving, at_end=jnp.zeros_like(state.at_end))
        state = lax.while_loop(
            lambda state: ~jnp.all(state.at_end), lambda state: self.step(state, end), state
        )
        return k + 1, state

    def step(self, state: _State, end: Array) -> _State:
        """Go on to the next spike or release, or to the end of the interval."""
        c = self.constants
        u_end = end - state.clock
        is_finite = jnp.isfinite(u_end)
        to_end = propagator(jnp.where(is_finite, u_end, 0), c.tau_mem, c.tau_syn)
        v_end, i_end = advance(state.v, state.i, to_end)
        rest = jnp.where(is_finite, v_end, 0)
        bracket = find_bracket(state.v, state.i, u_end, rest, c.threshold, c.tau_mem, c.tau_syn)
        held = state.clock < state.hold if self.is_refractory else jnp.zeros_like(state.at_end)
        spiking = bracket.exists & ~held & (state.fired <= self.max_spikes)
        crossing = state.v, state.i, bracket._replace(exists=spiking)
        u = solve_crossing(*crossing, c.threshold, c.tau_mem, c.tau_syn, self.is_double)
        released = held & (state.hold < end)
        u = jnp.where(released, state.hold - state.clock, u)
        stops = spiking | released
        clock = jnp.where(stops, state.clock + u, jnp.where(is_finite, end, state.clock))
        i = jnp.where(stops, state.i * jnp.exp(-u / c.tau_syn), i_end)
        return _State(
            clock=jnp.where(released, state.hold, clock),
            v=jnp.where(spiking | held, c.reset, v_end),
            i=i,
            hold=jnp.where(spiking, clock + c.refractory, state.hold),
            fired=state.fired + spiking.astype(jnp.int32),
            time=self.record(state.time, state.fired, clock, spiking),
            current=self.record(state.current, state.fired, i, spiking),
            release_current=self.release(state, i, spiking, held & (state.hold <= end)),
            at_end=~stops,
        )

    def record(self, store: Array, slot: Array, value: Array, when: Array) -> Array:
        slot = jnp.where(when, slot, self.max_spikes)
        samples, neurons = jnp.arange(store.shape[0])[:, None], jnp.arange(store.shape[1])
        return store.at[samples, neurons, slot].set(value, mode="drop")

    def release(self, state: _State, i: Array, spiking: Array, released: Array) -> Array:
        if not self.is_refractory:
            return state.release_current
        # A refractory period of zero ends with the spike, others overwrite this later.
        store = self.record(state.release_current, state.fired, i, spiking)
        return self.record(store, state.fired - 1, i, released)
