"""The maximum over time of a leaky integrator's voltage.

Between events the voltage has at most one interior maximum, known in closed form. The voltage also
peaks at an event, where an inhibitory spike arrives while it rises, and at the ends of the window.
A scan over the sorted events finds where; the voltage there is then a sum over the input spikes, as
at any other time.

The gradient is that sum's own dependence: moving the time of an interior maximum changes nothing in
first order, and has a term of its own in second order. A peak at an event, though, moves together
with it, so there the event's time has the gradient ``dV/dt`` just before the event.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..neuron._crossing import advance, find_turn
from ..neuron._kernel import Propagator, propagator
from ..simulate._events import column
from ._response import Inputs, in_order
from ._state_at import state_at


class Peak(NamedTuple):
    """Where the voltage of each neuron is largest, fields of shape ``(batch, out)``."""

    value: Array
    """Voltage there, measured from the leak potential."""
    time: Array
    """Time, seconds."""
    event: Array
    """Position of the last event that has arrived, -1 if none has, int32."""
    moves: Array
    """Whether the peak is at that event and so moves with it."""
    is_interior: Array
    """Whether the voltage is flat there."""


class _State(NamedTuple):
    v: Array
    i: Array
    peak: Peak


def maximum(
    inputs: Inputs, weight: Array, tau_mem: Array, tau_syn: Array, t_max: Array | None
) -> Array:
    """Largest voltage in ``[0, t_max]``, measured from the leak potential, ``(batch, out)``.

    ``t_max = None`` stands for infinity.
    """
    return _highest(inputs, weight, tau_mem, tau_syn, t_max, _value)


def maximum_with_time(
    inputs: Inputs, weight: Array, tau_mem: Array, tau_syn: Array, t_max: Array | None
) -> tuple[Array, Array]:
    """`maximum`, and the earliest time of it."""

    def both(top: "_Top", tau_mem: Array, tau_syn: Array) -> Array:
        parts = _value(top, tau_mem, tau_syn), _time(top, tau_mem, tau_syn)
        return jnp.stack(parts, axis=-1)

    found = _highest(inputs, weight, tau_mem, tau_syn, t_max, both)
    return found[..., 0], found[..., 1]


class _Top(NamedTuple):
    """The state at the peak, differentiable for a fixed time, fields of shape ``(batch,)``."""

    v: Array
    i: Array
    at: Array
    """The time; that of the event if it moves."""
    is_interior: Array


_Quantity = Callable[[_Top, Array, Array], Array]
"""What is wanted of a neuron's peak, given ``tau_mem`` and ``tau_syn``, ``(batch, ...)``."""


def _highest(
    inputs: Inputs,
    weight: Array,
    tau_mem: Array,
    tau_syn: Array,
    t_max: Array | None,
    quantity: _Quantity,
) -> Array:
    """A quantity of the peaks, ``(batch, out, ...)``."""
    time, index = in_order(inputs)
    if time.shape[-1] == 0:
        absent = ((0, 0), (0, 1))
        time, index = jnp.pad(time, absent, constant_values=jnp.inf), jnp.pad(index, absent)
    fixed = lax.stop_gradient((time, index, weight, tau_mem, tau_syn))
    peak, undefined = _find(*fixed, t_max)
    found = _at_peak(quantity, peak, time, index, weight, tau_mem, tau_syn)
    undefined = jnp.where(undefined, jnp.nan, 0).astype(found.dtype)
    return found + undefined.reshape(*undefined.shape, *(1 for _ in found.shape[2:]))


def _at_peak(
    quantity: _Quantity,
    peak: Peak,
    time: Array,
    index: Array,
    weight: Array,
    tau_mem: Array,
    tau_syn: Array,
) -> Array:
    """A quantity of the state at the peak, differentiable; a peak at an event moves with it."""
    moving = jnp.take_along_axis(time, jnp.maximum(peak.event, 0), axis=-1)
    at = jnp.where(peak.moves, moving, peak.time)
    v, i = state_at(at, peak.event, time, index, weight, tau_mem, tau_syn)
    return quantity(_Top(v, i, at, peak.is_interior), tau_mem, tau_syn)


def _value(top: _Top, tau_mem: Array, tau_syn: Array) -> Array:
    """The voltage at the peak, with derivatives up to the second.

    Moving the time of an interior maximum changes nothing in first order. The top of a parabola of
    slope ``V'`` and curvature ``V'' = -i / (tau_mem tau_syn)`` lies ``-V'^2 / (2 V'')`` higher.
    """
    flat = lax.stop_gradient(top.is_interior & (top.i > 0))
    factor = lax.stop_gradient(tau_syn / (2 * tau_mem * jnp.where(flat, top.i, 1)))
    slope = top.i - top.v
    change = slope - lax.stop_gradient(slope)
    return top.v + jnp.where(flat & jnp.isfinite(factor), factor, 0) * change * change


def _time(top: _Top, tau_mem: Array, tau_syn: Array) -> Array:
    """The time of the peak, with derivatives up to the second.

    An interior maximum is where ``s = i - v``, the slope times ``tau_mem``, is 0: one step of
    Halley's method from there has its derivatives.
    """
    flat = top.is_interior & (top.i > 0)
    i = jnp.where(flat, top.i, 1)
    v = jnp.where(flat, top.v, 1)
    s = i - v
    s = s - lax.stop_gradient(s)
    falling = -i / tau_syn - s / tau_mem
    bend = i / tau_syn**2 - falling / tau_mem
    shift = -2 * s * falling / (2 * falling * falling - s * bend)
    return top.at + jnp.where(flat, shift, 0)


def _find(
    time: Array, index: Array, weight: Array, tau_mem: Array, tau_syn: Array, t_max: Array | None
) -> tuple[Peak, Array]:
    """Go through the sorted events for the peak of every neuron.

    **Returns:** the peaks, and where there is none to know, as the voltage is NaN.
    """
    present = time < jnp.inf if t_max is None else (time <= t_max) & (time < jnp.inf)
    last = jnp.max(time, axis=-1, initial=0, where=present)
    # Absent events go with weight 0 to the end of the others, where they change nothing.
    time = jnp.where(present, time, last[:, None])
    duration = jnp.diff(time, axis=-1, prepend=0)
    by_input = weight.T
    shape = (time.shape[0], weight.shape[0])
    zero = jnp.zeros(shape, weight.dtype)
    no = jnp.zeros(shape, bool)
    peak = Peak(zero, zero, jnp.full(shape, -1, jnp.int32), no, no)

    # Where all neurons share their time constants, what happens between events is computed for
    # all at once, outside of the loop.
    is_shared = tau_mem.ndim == tau_syn.ndim == 0
    steps = propagator(duration, tau_mem, tau_syn) if is_shared else None

    def step(loop: tuple[Array, _State]) -> tuple[Array, _State]:
        position, state = loop
        start, end, length, index, present = (column(x, position) for x in by_event)
        start, length = start[:, None], length[:, None]
        if steps is None:
            over = propagator(length, tau_mem, tau_syn)
        else:
            over = Propagator(*(column(x, position)[:, None] for x in steps))
        v, i, peak = _over_segment(state, start, length, over, position - 1, tau_mem, tau_syn)
        jump = jnp.where(present[:, None], by_input[index], 0)
        turns = (i > v) & (i + jump <= v) & present[:, None]
        peak = _higher(peak, turns, _peak(v, end[:, None], position, moves=True))
        return position + 1, _State(v, i + jump, peak)

    start = jnp.concatenate([jnp.zeros_like(time[:, :1]), time[:, :-1]], axis=-1)
    by_event = (start, time, duration, index, present)
    used = jnp.max(jnp.sum(present, axis=-1, dtype=jnp.int32), initial=0)
    at_start = jnp.int32(0), _State(zero, zero, peak)
    _, state = lax.while_loop(lambda loop: loop[0] < used, step, at_start)
    arrived = jnp.sum(present, axis=-1, dtype=jnp.int32)[:, None] - 1
    undefined = jnp.isnan(state.v + state.i + tau_mem + tau_syn)
    peak = _after_last(state, last[:, None], arrived, tau_mem, tau_syn, t_max)
    # All events, so that the gradients are undefined as well.
    return peak._replace(event=jnp.where(undefined, time.shape[-1] - 1, peak.event)), undefined


def _over_segment(
    state: _State,
    start: Array,
    duration: Array,
    over: Propagator,
    event: Array,
    tau_mem: Array,
    tau_syn: Array,
) -> _State:
    """Propagate to the next event and note an interior maximum on the way.

    The voltage has an interior maximum exactly if it rises at the start and not at the end.
    """
    v, i, peak = state
    v_end, i_end = advance(v, i, over)
    turns = (i > v) & (i_end <= v_end)
    turn = find_turn(v, i, tau_mem, tau_syn)
    at = start + jnp.clip(turn.u, 0, duration)
    peak = _higher(peak, turns, _peak(turn.v, at, event, is_interior=True))
    return _State(v_end, i_end, peak)


def _after_last(
    state: _State,
    last: Array,
    event: Array,
    tau_mem: Array,
    tau_syn: Array,
    t_max: Array | None,
) -> Peak:
    """Look for the peak after the last event, up to and including ``t_max``."""
    if t_max is not None:
        end = jnp.full_like(last, t_max)
        over = propagator(end - last, tau_mem, tau_syn)
        v, i, peak = _over_segment(state, last, end - last, over, event, tau_mem, tau_syn)
        return _higher(peak, i > v, _peak(v, end, event))
    v, i, peak = state
    turn = find_turn(v, i, tau_mem, tau_syn)
    highest = _peak(turn.v, last + turn.u, event, is_interior=True)
    return _higher(peak, turn.is_maximum, highest)


def _peak(
    value: Array, time: Array, event: Array, *, moves: bool = False, is_interior: bool = False
) -> Peak:
    return Peak(value, time, event, jnp.asarray(moves), jnp.asarray(is_interior))


def _higher(peak: Peak, exists: Array, other: Peak) -> Peak:
    """The higher of two peaks, the earlier one if they are equal."""
    higher = exists & (other.value > peak.value)
    return Peak(*(jnp.where(higher, new, old) for new, old in zip(other, peak, strict=True)))
