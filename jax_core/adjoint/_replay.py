"""Derivatives of the spikes of any neuron: its motion, run again at known spike times.

Given when a neuron spikes, its state is a chain of closed forms, which JAX differentiates. A spike
time itself depends on the state through the threshold: where the state moves so that the voltage
exceeds it by ``e``, the spike comes ``e / (dV/dt)`` earlier (implicit function theorem), and all
that follows is counted from the moved time.

This needs nothing of a neuron but its motion, so it serves every model, and start and end states.
`_eventprop` has the same derivatives of CuBa-LIF neurons at a fraction of time and memory.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..neuron._protocol import Neuron
from ..simulate._events import Input
from ..simulate._start import Start, where
from ._eventprop import count_before

# States are kept at the begin of so many events and own spikes; between, they are computed again.
_STRIDE = 64


class Steps(NamedTuple):
    """What happens to each neuron, first to last: events, and spikes of its own.

    Shape ``(M + K, batch, out)``; what does not happen comes last.
    """

    place: Array
    """``m`` of an event, ``M + k`` of a spike."""
    rank: Array
    """The step of each spike, ``(batch, out, K)``."""


def replay(
    events: Input,
    weight: Array,
    neuron: Neuron,
    start: Start,
    spikes: Array,
    has_gradient: Array,
    t_max: Array | float,
    min_slope: Array | float,
) -> tuple[Array, Start]:
    """Spike times ``(batch, out, K)`` and states at ``t_max``, as functions of all that they
    depend on.

    **Arguments:** ``spikes``: the simulated or observed times; those without ``has_gradient``
    stand for themselves. ``min_slope``: as a fraction of `Neuron.scale`.
    """
    present = (events.time <= t_max) & jnp.isfinite(events.time)
    events = events._replace(time=jnp.where(present, events.time, jnp.inf))
    own = jnp.where(jnp.isfinite(spikes), lax.stop_gradient(spikes), jnp.inf)
    steps = _merge(lax.stop_gradient(events.time), own)
    floor = jnp.asarray(min_slope * lax.stop_gradient(neuron.scale))
    motion = Motion(neuron, floor)
    layer = _Layer(events, weight, motion, own, has_gradient)
    now = Now(jnp.zeros_like(start.hold), start.state, start.hold)
    now, time = layer.walk(now, steps.place)
    time = jnp.take_along_axis(jnp.moveaxis(time, 0, -1), steps.rank, axis=-1)
    return jnp.where(jnp.isfinite(own), time, spikes), motion.finish(now, t_max)


def _merge(events: Array, own: Array) -> Steps:
    """Put events ``(batch, M)`` and spikes ``(batch, out, K)`` in order; of equals events first."""
    batch, out, room = own.shape
    width = events.shape[1]
    at_event = jnp.arange(width, dtype=jnp.int32) + count_before(own, events, "left")
    before = jax.vmap(partial(jnp.searchsorted, side="right"))(
        events, own.reshape(batch, out * room)
    )
    rank = before.reshape(own.shape).astype(jnp.int32) + jnp.arange(room, dtype=jnp.int32)
    place = jnp.zeros((batch, out, width + room), jnp.int32)
    samples, neurons = jnp.arange(batch)[:, None, None], jnp.arange(out)[:, None]
    place = place.at[samples, neurons, at_event].set(jnp.arange(width, dtype=jnp.int32))
    place = place.at[samples, neurons, rank].set(jnp.arange(width, width + room, dtype=jnp.int32))
    return Steps(jnp.moveaxis(place, -1, 0), rank)


class Now(NamedTuple):
    """Neurons, each at a time of its own, ``(batch, out)``."""

    clock: Array
    state: Any
    hold: Array
    """When the refractory period ends."""


@dataclass(frozen=True, eq=False)
class Motion:
    """How neurons move from one known time to the next."""

    neuron: Neuron
    floor: Array
    """The least slope at a spike that gradients divide by."""

    @property
    def pause(self) -> Array | float:
        """For how long a neuron is held after a spike."""
        if self.neuron.once:
            return jnp.inf
        return self.neuron.refractory if self.neuron.pauses else 0.0

    def go_on(self, now: Now, time: Array) -> Now:
        """Move on to a time; while refractory, the voltage is held."""
        u = time - now.clock
        rest = jnp.where(now.hold > now.clock, now.hold - now.clock, 0)
        is_held = rest > 0
        # Of two that are equal the period, as a time of 0 has a derivative, too.
        pause = jnp.where(rest <= u, rest, u)
        moved = self.neuron.go(now.state, self.neuron.flow(pause))
        paused = self.neuron.held(now.state, moved, pause)
        state = where(is_held, paused, now.state)
        return now._replace(
            clock=jnp.broadcast_to(time, now.clock.shape),
            state=self.neuron.go(state, self.neuron.flow(u - pause)),
        )

    def spike(self, now: Now, spiking: Array, able: Array) -> Now:
        """Let neurons spike: at known times, which move with the state."""
        excess = self.neuron.excess(now.state)
        slope = jnp.maximum(self.neuron.slope(lax.stop_gradient(now.state)), self.floor)
        slope = lax.stop_gradient(slope)
        change = excess - lax.stop_gradient(excess)
        # Without a slope the derivative is infinite, as it should be; the value stays 0.
        slope = jnp.maximum(slope, jnp.finfo(slope.dtype).tiny)
        shift = jnp.where(spiking & able, -change / slope, 0)
        moved = self.neuron.go(now.state, self.neuron.flow(shift))
        clock = now.clock + shift
        return Now(
            clock,
            where(spiking, self.neuron.jump(moved), now.state),
            jnp.where(spiking, clock + self.pause, now.hold),
        )

    def finish(self, now: Now, t_max: Array | float) -> Start:
        """The state at ``t_max``, if that is finite; else there is none."""
        t_end = jnp.where(jnp.isfinite(t_max), t_max, now.clock).astype(now.clock.dtype)
        end = self.go_on(now, t_end)
        return Start(end.state, jnp.where(end.hold > t_end, end.hold - t_end, 0))


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer, its input and what it did, with the steps of going through it again."""

    events: Input
    weight: Array
    motion: Motion
    own: Array
    has_gradient: Array

    def walk(self, now: Now, places: Array) -> tuple[Now, Array]:
        """Through all steps; **returns** the last state, and the times of all steps."""
        return in_strides(self.step, now, places, -1)

    def step(self, now: Now, place: Array) -> tuple[Now, Array]:
        """Go on to the next event or spike of each neuron, and let it happen."""
        width = self.events.time.shape[1]
        is_event, is_spike = (place >= 0) & (place < width), place >= width
        m, k = jnp.where(is_event, place, 0), jnp.where(is_spike, place - width, 0)
        when = jnp.take_along_axis(self.own, k[..., None], axis=-1)[..., 0]
        if width > 0:
            arrival = jnp.take_along_axis(self.events.time, m, axis=1)
            when = jnp.where(is_event, arrival, when)
        happens = (place >= 0) & jnp.isfinite(when)
        is_spike &= happens
        able = jnp.take_along_axis(self.has_gradient, k[..., None], axis=-1)[..., 0]
        time = jnp.where(happens, when, now.clock)
        if self.motion.neuron.spikes_at_arrival:
            at_arrival = is_spike & (when == now.clock)
            time, able = jnp.where(at_arrival, now.clock, time), able & ~at_arrival
        now = self.motion.go_on(now, time)
        if width > 0:
            layer = self.events, self.weight, self.motion.neuron
            now = now._replace(state=arrive(*layer, now.state, m, is_event & happens))
        now = self.motion.spike(now, is_spike, able)
        return now, jnp.where(is_spike, now.clock, time)


def arrive(
    events: Input, weight: Array, neuron: Neuron, state: Any, m: Array, is_event: Array
) -> Any:
    """The state after input event ``m`` of each sample has arrived, ``(batch, out)``."""
    drive, port, known = driven(events, weight, m, is_event)
    return where(known, neuron.receive(state, drive, port), state)


def driven(events: Input, weight: Array, m: Array, is_event: Array) -> tuple[Array, Array, Array]:
    """The weight with which event ``m`` of each sample acts, 0 where it does not; through which
    synapses; and where it does."""
    inputs = weight.shape[1]
    source = jnp.take_along_axis(events.pre, m, axis=1)
    known = is_event & (source >= 0) & (source < inputs)
    source = jnp.clip(source, 0, max(inputs - 1, 0))
    neurons = jnp.arange(weight.shape[0])
    drive = jnp.where(known, weight[neurons, source] if inputs else 0, 0)
    return drive, jnp.int32(0) if events.ports is None else events.ports[source], known


def in_strides(step: Any, start: Any, steps: Any, absent: int) -> tuple[Any, Any]:
    """`lax.scan`, of which only the state at the begin of each stride is kept for derivatives.

    **Arguments:** ``absent``: what fills up ``steps``, int32, to whole strides.
    """
    count = jax.tree.leaves(steps)[0].shape[0]
    strides = -(-count // _STRIDE)

    def cut(x: Array) -> Array:
        more = jnp.full((strides * _STRIDE - count, *x.shape[1:]), absent, x.dtype)
        return jnp.concatenate([x, more]).reshape(strides, _STRIDE, *x.shape[1:])

    run = jax.checkpoint(lambda state, steps: lax.scan(step, state, steps))
    state, found = lax.scan(run, start, jax.tree.map(cut, steps))
    return state, jax.tree.map(lambda x: x.reshape(strides * _STRIDE, *x.shape[2:]), found)
