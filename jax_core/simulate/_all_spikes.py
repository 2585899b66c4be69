"""Event-driven simulation of neurons that may spike several times, in continuous time.

All (sample, neuron) pairs walk through their sample's sorted input events in lockstep. Within an
interval between events every pair goes on by itself, from spike to spike, until it reaches the
interval's end, so the cost grows with the number of events and spikes, not with the simulated time.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._anywhere import anywhere
from ..neuron._protocol import Neuron
from ._events import Input, Intervals, Spikes, column, intervals_between, undefined_neurons
from ._start import Mark, Start, where


def all_spikes(
    events: Input,
    weight: Array,
    neuron: Neuron,
    max_spikes: int,
    t_max: Array | float,
    mark: Mark,
    start: Start | None = None,
) -> Spikes:
    """Simulate neurons, from rest or from ``start``; a pair that has overflowed is not followed
    further.

    **Arguments:** ``mark``: what to write down of each spike.
    """
    shape, dtype = (events.time.shape[0], weight.shape[0]), weight.dtype
    if start is None:
        start = Start.at_rest(neuron, shape, dtype)
    layer = _Layer(intervals_between(events, weight, t_max), neuron, max_spikes, mark)
    loop = jnp.int32(0), layer.start(start)
    _, final = lax.while_loop(layer.is_running, layer.walk, loop)
    undefined = undefined_neurons(events, neuron, final.state)
    time = jnp.where(undefined[..., None], jnp.nan, final.time)
    return Spikes(
        time,
        final.mark,
        final.release_mark if neuron.pauses else final.mark,
        final.fired > max_spikes,
        jnp.isfinite(time),
    )


class _State(NamedTuple):
    clock: Array
    state: Any
    hold: Array
    """Until when the voltage is held at reset."""
    fired: Array
    time: Array
    """Of spikes, ``(batch, out, max_spikes)``."""
    mark: Any
    """Of spikes, and of their releases."""
    release_mark: Any
    at_end: Array
    """Whether the end of the interval is reached."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer and its input, with the steps of their simulation."""

    intervals: Intervals
    neuron: Neuron
    max_spikes: int
    mark: Mark

    def start(self, start: Start) -> _State:
        shape, dtype = start.hold.shape, start.hold.dtype
        room = (*shape, self.max_spikes)
        none = jax.tree.map(lambda x: jnp.zeros(room, x.dtype), self.mark(start.state))
        return _State(
            clock=jnp.zeros(shape, dtype),
            state=start.state,
            hold=start.hold,
            fired=jnp.zeros(shape, jnp.int32),
            time=jnp.full(room, jnp.inf, dtype),
            mark=none,
            release_mark=none,
            at_end=jnp.zeros(shape, bool),
        )

    def is_running(self, loop: tuple[Array, _State]) -> Array:
        k, state = loop
        return anywhere((k < self.intervals.used) & ~jnp.all(state.fired > self.max_spikes))

    def walk(self, loop: tuple[Array, _State]) -> tuple[Array, _State]:
        """Go through one interval."""
        k, state = loop
        end, pre = column(self.intervals.end, k)[:, None], column(self.intervals.pre, k)
        arriving, port = self.intervals.weight[pre], self.intervals.port_of(pre)
        state = state._replace(
            state=self.neuron.receive(state.state, arriving, port),
            at_end=jnp.zeros_like(state.at_end),
        )
        state = lax.while_loop(
            lambda state: anywhere(~jnp.all(state.at_end)),
            lambda state: self.step(state, end),
            state,
        )
        return k + 1, state

    def step(self, now: _State, end: Array) -> _State:
        """Go on to the next spike or release, or to the end of the interval."""
        neuron = self.neuron
        u_end = end - now.clock
        is_finite = jnp.isfinite(u_end)
        to_end = neuron.flow(jnp.where(is_finite, u_end, 0))
        found = neuron.find(now.state, u_end, to_end)
        held = now.clock < now.hold if neuron.pauses else jnp.zeros_like(now.at_end)
        spiking = found.exists & ~held & (now.fired <= self.max_spikes)
        u = neuron.solve(now.state, found._replace(exists=spiking))
        released = held & (now.hold < end)
        u = jnp.where(released, now.hold - now.clock, u)
        stops = spiking | released
        clock = jnp.where(stops, now.clock + u, jnp.where(is_finite, end, now.clock))
        after = neuron.after(now.state, to_end, found)
        state = where(stops, neuron.at(now.state, u), after)
        mark = self.mark(state)
        if neuron.pauses:
            passed = jnp.where(stops, u, jnp.where(is_finite, u_end, 0))
            state = where(held, neuron.held(now.state, state, passed), state)
        return _State(
            clock=jnp.where(released, now.hold, clock),
            state=where(spiking, neuron.jump(state), state),
            hold=jnp.where(spiking, clock + neuron.refractory, now.hold),
            fired=now.fired + spiking.astype(jnp.int32),
            time=self.record(now.time, now.fired, clock, spiking),
            mark=self.record(now.mark, now.fired, mark, spiking),
            release_mark=self.release(now, mark, spiking, held & (now.hold <= end)),
            at_end=~stops,
        )

    def record(self, store: Any, slot: Array, value: Any, when: Array) -> Any:
        slot = jnp.where(when, slot, self.max_spikes)
        samples, neurons = jnp.arange(slot.shape[0])[:, None], jnp.arange(slot.shape[1])
        at = samples, neurons, slot
        return jax.tree.map(lambda x, y: x.at[at].set(y, mode="drop"), store, value)

    def release(self, now: _State, mark: Any, spiking: Array, released: Array) -> Any:
        if not self.neuron.pauses:
            return now.release_mark
        # A refractory period of zero ends with the spike, others overwrite this later.
        store = self.record(now.release_mark, now.fired, mark, spiking)
        return self.record(store, now.fired - 1, mark, released)
