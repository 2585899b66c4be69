"""The highest voltage of neurons of any model, had they no threshold, and what drove them there.

Between events a model says when its voltage is highest (`Neuron.highest`). A search without
derivatives finds between which events, and when, that is the case over all; going through the
events once more gives the voltage there as a function of all that it depends on. The time of a peak
at which the voltage is flat need not move with it (envelope theorem); one at an event does.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._anywhere import anywhere
from ..adjoint._replay import driven, in_strides
from ..neuron._protocol import Neuron
from ..simulate._events import Input, Intervals, column, intervals_between, undefined_neurons
from ..simulate._start import Start, where


class Peak(NamedTuple):
    """The highest voltage of each neuron, had it no threshold, each field ``(..., out)``."""

    voltage: Array
    time: Array
    """When that is, for the first time, seconds."""
    height: Array
    """From 0, the voltage at the beginning, to 1, the threshold, and beyond."""
    drive: Array
    """The summed weights of all input up to ``t_max``."""


class _Place(NamedTuple):
    """Where a peak is, ``(batch, out)``."""

    excess: Array
    piece: Array
    """How many events have arrived, int32."""
    u: Array
    """How long after the last of them."""
    at_end: Array
    """Whether that is when the next one arrives, or at the end."""


def peaks(events: Input, weight: Array, neuron: Neuron, t_max: Array | float) -> Peak:
    """Peaks of voltages up to ``t_max``, which is finite, given sorted events."""
    shape, dtype = (events.time.shape[0], weight.shape[0]), weight.dtype
    start = Start.at_rest(neuron, shape, dtype).state
    present = (events.time <= t_max) & jnp.isfinite(events.time)
    end = jnp.asarray(t_max, events.time.dtype)
    events = events._replace(time=jnp.where(present, events.time, end))
    fixed = lax.stop_gradient((events, weight, neuron, start))
    place, undefined = _find(*fixed, present, end)
    before, drive = _Layer(events, present, weight, neuron, place).go_there(start)
    unknown = jnp.where(undefined, jnp.nan, 0)
    found = _at_peak(events, neuron, start, end, place, before, drive)
    return jax.tree.map(lambda x: x + unknown, found)


def _find(
    events: Input, weight: Array, neuron: Neuron, start: Any, present: Array, end: Array
) -> tuple[_Place, Array]:
    """Go through the events for the peak of each neuron.

    **Returns:** the peaks, and where there is none to know.
    """
    absent = events._replace(time=jnp.where(present, events.time, jnp.inf))
    intervals = intervals_between(absent, weight, end)
    shape = jax.tree.leaves(start)[0].shape

    def walk(loop: tuple[Array, Any, _Place]) -> tuple[Array, Any, _Place]:
        k, state, best = loop
        state, length = _arrived(intervals, neuron, state, k)
        u = neuron.highest(state, length)
        excess = neuron.excess(neuron.go(state, neuron.flow(u)))
        # Of events at one time the last one counts, as it does for spikes.
        higher = (length > 0) & (excess > best.excess)
        here = _Place(excess, jnp.broadcast_to(k, shape), u, u == length)
        return k + 1, neuron.go(state, neuron.flow(length)), where(higher, here, best)

    none = jnp.zeros(shape, jnp.int32)
    first = neuron.excess(start)
    best = _Place(first, none, jnp.zeros_like(first), jnp.zeros(shape, bool))
    loop = jnp.int32(0), start, best
    _, state, best = lax.while_loop(lambda loop: anywhere(loop[0] < intervals.used), walk, loop)
    return best, undefined_neurons(absent, neuron, state)


def _arrived(intervals: Intervals, neuron: Neuron, state: Any, k: Array) -> tuple[Any, Array]:
    """The state at the begin of an interval, and for how long that lasts, ``(batch, out)``."""
    pre = column(intervals.pre, k)
    state = neuron.receive(state, intervals.weight[pre], intervals.port_of(pre))
    length = column(intervals.end, k) - column(intervals.begin, k)
    return state, jnp.broadcast_to(length[:, None], jax.tree.leaves(state)[0].shape)


class _Now(NamedTuple):
    clock: Array
    state: Any
    drive: Array
    """The summed weights of what has arrived."""
    before: Any
    """The state after the last event before the peak."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer, its input, and where its neurons' peaks are."""

    events: Input
    """Those that are not ``present`` come at the end."""
    present: Array
    weight: Array
    neuron: Neuron
    place: _Place

    def go_there(self, start: Any) -> tuple[Any, Array]:
        """The state after the last event before the peak, and the drive of all events."""
        zero = jnp.zeros_like(self.place.excess)
        now = _Now(jnp.zeros_like(self.events.time[:, :1]), start, zero, start)
        count = self.events.time.shape[1]
        if count > 0 and self.weight.shape[1] > 0:
            now, _ = in_strides(self.step, now, jnp.arange(count, dtype=jnp.int32), -1)
        return now.before, now.drive

    def step(self, now: _Now, m: Array) -> tuple[_Now, None]:
        """Go on to event ``m`` of each sample, and let it arrive."""
        m, happens = jnp.maximum(m, 0), m >= 0
        time = jnp.where(happens, column(self.events.time, m)[:, None], now.clock)
        happens &= column(self.present, m)[:, None]
        state = self.neuron.go(now.state, self.neuron.flow(time - now.clock))
        at = jnp.broadcast_to(m, (len(time), 1))
        drive, port, known = driven(self.events, self.weight, at, happens)
        state = where(known, self.neuron.receive(state, drive, port), state)
        before = where(happens & (self.place.piece == m + 1), state, now.before)
        return _Now(time, state, now.drive + drive, before), None


def _at_peak(
    events: Input,
    neuron: Neuron,
    start: Any,
    end: Array,
    place: _Place,
    before: Any,
    drive: Array,
) -> Peak:
    """What there is at the peaks, as functions of all that they depend on."""
    bounds = jnp.pad(events.time, ((0, 0), (1, 0)))
    begin = jnp.take_along_axis(bounds, place.piece, axis=1)
    bounds = jnp.concatenate([bounds, jnp.broadcast_to(end, (len(bounds), 1))], axis=1)
    following = jnp.take_along_axis(bounds, place.piece + 1, axis=1)
    u = jnp.where(place.at_end, following - begin, place.u)
    state = neuron.go(before, neuron.flow(u))
    excess, first = neuron.excess(state), neuron.excess(start)
    below = first < 0
    height = jnp.where(below, 1 - excess / jnp.where(below, first, 1), 0)
    is_interior = (place.u > 0) & ~place.at_end
    time = begin + u + jnp.where(is_interior, _moved(neuron, state), 0)
    voltage = jnp.broadcast_to(neuron.voltage(state), excess.shape)
    return Peak(voltage, time, jnp.where(excess > first, height, 0), drive)


def _moved(neuron: Neuron, state: Any) -> Array:
    """How a time at which the voltage is flat moves with the state there: 0, with a derivative."""
    slope, fixed = neuron.slope(state), lax.stop_gradient((neuron, state))

    def later(u: Array) -> Array:
        there, now = fixed
        return there.slope(there.go(now, there.flow(u)))

    zero = jnp.zeros_like(slope)
    bend = lax.stop_gradient(jax.jvp(later, (zero,), (jnp.ones_like(zero),))[1])
    change = slope - lax.stop_gradient(slope)
    return jnp.where(bend < 0, -change / jnp.where(bend < 0, bend, 1), 0)
