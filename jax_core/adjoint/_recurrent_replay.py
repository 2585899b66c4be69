"""Derivatives of the spikes of a recurrent layer: its motion, run again in the known order.

As `_replay`, but the neurons of a sample go together from one thing that happens to the next: an
input event, a spike, or a spike's arrival, at all neurons or, with a delay for each connection, at
one of them. A spike arrives at the time that it has, as a function of all that came before.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..neuron._protocol import Neuron
from ..simulate._events import Input, Spikes
from ..simulate._recurrent_state import NEVER, Order
from ..simulate._start import Start, where
from ._replay import Motion, Now, in_strides


class _Now(NamedTuple):
    neurons: Now
    times: Array
    """Those of the spikes, as far as they have happened, ``(batch, out * K)``."""


def replay_recurrent(
    events: Input,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: Neuron,
    start: Start,
    spikes: Spikes,
    order: Order,
    t_max: Array | float,
    min_slope: Array | float,
) -> tuple[Array, Start, Array]:
    """Spike times ``(batch, out, K)``, states at ``t_max``, and when spikes that are on their way
    then will arrive, after it, ``inf`` for all others; as functions of all that they depend on.

    **Arguments:** ``delay``: ``None``, scalar, ``(out,)``, or of connections, ``(out, out)``, with
    which there is no telling what is on its way, and no room for it.
    """
    batch, out, room = spikes.time.shape
    present = (events.time <= t_max) & jnp.isfinite(events.time)
    events = events._replace(time=jnp.where(present, events.time, jnp.inf))
    own = jnp.where(jnp.isfinite(spikes.time), lax.stop_gradient(spikes.time), jnp.inf)
    steps = _merge(lax.stop_gradient(events.time), own, order, delay)
    floor = jnp.asarray(min_slope * lax.stop_gradient(neuron.scale))
    motion = Motion(neuron, floor)
    layer = _Layer(events, weight.T, recurrent_weight.T, delay, motion, room)
    now = _Now(
        Now(jnp.zeros_like(start.hold), start.state, start.hold), own.reshape(batch, out * room)
    )
    now, _ = in_strides(layer.step_if_any if layer.apart else layer.step, now, steps, -1)
    times = now.times.reshape(batch, out, room)
    if layer.apart:
        return times, motion.finish(now.neurons, t_max), times[..., :0]
    later = times if delay is None else times + jnp.broadcast_to(delay, (out,))[:, None]
    waits = jnp.isfinite(later) & (later > t_max)
    arrivals = jnp.where(waits, later - jnp.where(jnp.isfinite(t_max), t_max, 0), jnp.inf)
    return times, motion.finish(now.neurons, t_max), arrivals


def _merge(events: Array, own: Array, order: Order, delay: Array | None) -> Array:
    """All that happens, first to last, ``(M + 2 P, batch)``: ``m`` for an input event, ``M + p``
    for spike ``p`` of ``P = out * K``, ``M + P + p`` for its arrival, -1 for nothing.

    With delays of connections ``(M + P + P out, batch)``, and ``M + P + p out + j`` for the arrival
    at neuron ``j``.

    Spikes and arrivals are in the order that the simulation found; an input comes before what
    happens at its time.
    """
    width = events.shape[1]
    count = own.shape[1] * own.shape[2]
    happened = jnp.isfinite(own)
    apart = delay is not None and delay.ndim == 2
    arrives = (happened[..., None] if apart else happened) & (order.heard != NEVER)
    # Within a moment all neurons spike before any of the spikes arrives.
    moments = (
        jnp.where(happened, 2 * order.emitted, NEVER),
        jnp.where(arrives, 2 * order.heard + 1, NEVER),
    )
    moment = jnp.concatenate([_by_sample(x) for x in moments], axis=1)
    later = own
    if delay is not None:
        later = own[..., None] + delay.T[:, None] if apart else own + delay[..., None]
    time = jnp.concatenate([_by_sample(x) for x in (own, later)], axis=1)
    by_moment = jnp.argsort(moment, axis=1, stable=True)
    moment, time = (jnp.take_along_axis(x, by_moment, axis=1) for x in (moment, time))
    time = jnp.where(moment == NEVER, jnp.inf, time)
    place = jnp.where(moment == NEVER, -1, width + by_moment.astype(jnp.int32))
    # Times of own events ascend but for rounding, which must not change their order.
    time = lax.cummax(time, axis=1)
    numbers = jnp.broadcast_to(jnp.arange(width, dtype=jnp.int32), events.shape)
    numbers = jnp.where(jnp.isfinite(events), numbers, -1)
    merged = jnp.concatenate([numbers, place], axis=1)
    by_time = jnp.argsort(jnp.concatenate([events, time], axis=1), axis=1, stable=True)
    assert merged.shape[1] == width + count * (1 + (own.shape[1] if apart else 1))
    return jnp.take_along_axis(merged, by_time, axis=1).T


def _by_sample(x: Array) -> Array:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


@dataclass(frozen=True, eq=False)
class _Layer:
    """A recurrent layer and its input, with the step of going through what happened again."""

    events: Input
    columns: Array
    recurrent_columns: Array
    delay: Array | None
    motion: Motion
    room: int

    def step(self, now: _Now, place: Array) -> tuple[_Now, None]:
        """Go on to what happens next in each sample, and let it happen."""
        neurons, times = now
        width, count = self.events.time.shape[1], times.shape[1]
        samples = jnp.arange(place.shape[0])
        is_input = (place >= 0) & (place < width)
        is_spike = (place >= width) & (place < width + count)
        is_arrival = place >= width + count
        p = jnp.where(is_spike, place - width, 0)
        arrives, target = self.arrival(jnp.maximum(place - width - count, 0))
        p = jnp.where(is_arrival, arrives, p)
        n = p // self.room
        when = times[samples, p]
        if self.delay is not None:
            when = when + jnp.where(is_arrival, self.delay_of(n, target), 0)
        m = jnp.where(is_input, place, 0)
        if width > 0:
            when = jnp.where(is_input, self.events.time[samples, m], when)
        is_spiking = is_spike
        if self.motion.neuron.spikes_at_arrival:
            clock = neurons.clock[samples, n]
            at_arrival = is_spike & (when == clock)
            when, is_spiking = jnp.where(at_arrival, clock, when), is_spike & ~at_arrival
        happens = place >= 0
        until = jnp.where(happens, when, 0)[:, None]
        neurons = self.go_on(neurons, until, happens[:, None])
        hears = is_arrival[:, None]
        if target is not None:
            hears &= jnp.arange(self.columns.shape[1], dtype=target.dtype) == target[:, None]
        drive = jnp.where(hears, self.recurrent_columns[n], 0)
        if width > 0:
            drive = drive + self.input(m, is_input)
        moved = self.motion.neuron.receive(neurons.state, drive, jnp.int32(0))
        heard = (is_input | is_arrival)[:, None]
        neurons = neurons._replace(state=where(heard, moved, neurons.state))
        neuron = jnp.arange(self.columns.shape[1], dtype=n.dtype)
        spiking = is_spike[:, None] & (neuron == n[:, None])
        neurons = self.motion.spike(neurons, spiking, is_spiking[:, None])
        value = jnp.where(is_spike, neurons.clock[samples, n], times[samples, p])
        return _Now(neurons, times.at[samples, p].set(value)), None

    def step_if_any(self, now: _Now, place: Array) -> tuple[_Now, None]:
        """The same, done where something happens in a sample: most slots for arrivals are empty."""
        return lax.cond(jnp.any(place >= 0), self.step, lambda now, _: (now, None), now, place)

    @property
    def apart(self) -> bool:
        return self.delay is not None and self.delay.ndim == 2

    def arrival(self, number: Array) -> tuple[Array, Array | None]:
        """Which spike an arrival is of, and at which neuron; ``None`` for all."""
        out = self.columns.shape[1]
        return (number // out, number % out) if self.apart else (number, None)

    def delay_of(self, n: Array, target: Array | None) -> Array:
        """The delays of spikes of neurons ``n``, ``(batch,)``."""
        assert self.delay is not None
        if target is not None:
            return self.delay[target, n]
        return jnp.broadcast_to(self.delay, self.columns.shape[1:])[n]

    def go_on(self, neurons: Now, time: Array, happens: Array) -> Now:
        # A spike's own neuron may be where rounding has it a little later.
        time = jnp.where(happens, time, neurons.clock)
        return self.motion.go_on(neurons, time)

    def input(self, m: Array, is_input: Array) -> Array:
        """What input events add to the currents, ``(batch, out)``."""
        inputs = self.columns.shape[0]
        source = self.events.pre[jnp.arange(m.shape[0]), m]
        known = is_input & (source >= 0) & (source < inputs)
        if inputs == 0:
            return jnp.zeros(self.columns.shape[1:], self.columns.dtype)
        return jnp.where(known[:, None], self.columns[jnp.clip(source, 0, inputs - 1)], 0)
