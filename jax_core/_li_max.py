"""The maximum over time of a leaky integrator's voltage.

Between events the voltage has at most one interior maximum, known in closed form. The voltage also
peaks at an event, where an inhibitory spike arrives while it rises, and at the ends of the window.
A scan over the sorted events finds where; the voltage there is then a sum over the input spikes, as
at any other time.

The gradient is that sum's own dependence: moving the time of an interior maximum changes nothing in
first order, and has a term of its own in second order. A peak at an event, though, moves together
with it, so there the event's time has the gradient ``dV/dt`` just before the event.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ._kernel import propagator
from ._li_response import Inputs, in_order, map_in_pieces, sum_over_events
from ._simulate import column


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
    time, index = in_order(inputs)
    if time.shape[-1] == 0:
        absent = ((0, 0), (0, 1))
        time, index = jnp.pad(time, absent, constant_values=jnp.inf), jnp.pad(index, absent)
    fixed = lax.stop_gradient((time, index, weight, tau_mem, tau_syn))
    peak, undefined = _find(*fixed, t_max)
    value = _value_at(peak, time, index, weight, tau_mem, tau_syn)
    return value + jnp.where(undefined, jnp.nan, 0).astype(value.dtype)


def _value_at(
    peak: Peak, time: Array, index: Array, weight: Array, tau_mem: Array, tau_syn: Array
) -> Array:
    """The voltage at the peak, differentiable; its time is that of the event if it moves."""
    position = lax.broadcasted_iota(jnp.int32, time.shape, 1)

    def neuron(
        weight: Array,
        tau_mem: Array,
        tau_syn: Array,
        at: Array,
        event: Array,
        moves: Array,
        is_interior: Array,
    ) -> Array:
        moving = jnp.take_along_axis(time, jnp.maximum(event, 0)[:, None], axis=-1)[:, 0]
        at = jnp.where(moves, moving, at)

        def of_events(time: Array, position: Array, index: Array) -> tuple[Array, Array]:
            arrived = (position <= event[:, None]) & (time < jnp.inf)
            since = jnp.where(arrived, at[:, None] - jnp.where(arrived, time, 0), 0)
            over = propagator(since, tau_mem, tau_syn)
            v = jnp.sum(jnp.where(arrived, over.psp * weight[index], 0), axis=-1)
            i = jnp.sum(jnp.where(arrived, over.synapse * weight[index], 0), axis=-1)
            return v, i

        v, i = sum_over_events(of_events, time, position, index)
        return v + _rise_by_moving(i - v, is_interior, i, tau_mem, tau_syn)

    taus = (jnp.broadcast_to(tau, weight.shape[:1]) for tau in (tau_mem, tau_syn))
    arguments = (weight, *taus, peak.time.T, peak.event.T, peak.moves.T, peak.is_interior.T)
    return map_in_pieces(neuron, arguments, time.size).T


def _rise_by_moving(
    slope: Array, is_interior: Array, i: Array, tau_mem: Array, tau_syn: Array
) -> Array:
    """What an interior maximum gains as it moves: 0, up to its second derivatives.

    The top of a parabola of slope ``V'`` and curvature ``V'' = -i / (tau_mem tau_syn)`` lies
    ``-V'^2 / (2 V'')`` higher. ``slope`` is ``tau_mem V'``.
    """
    flat = lax.stop_gradient(is_interior & (i > 0))
    factor = lax.stop_gradient(tau_syn / (2 * tau_mem * jnp.where(flat, i, 1)))
    change = slope - lax.stop_gradient(slope)
    return jnp.where(flat & jnp.isfinite(factor), factor, 0) * change * change


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

    def step(loop: tuple[Array, _State]) -> tuple[Array, _State]:
        position, state = loop
        start, end, duration, index, present = (column(x, position) for x in by_event)
        v, i, peak = _over_segment(
            state, start[:, None], duration[:, None], position - 1, tau_mem, tau_syn
        )
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
    state: _State, start: Array, duration: Array, event: Array, tau_mem: Array, tau_syn: Array
) -> _State:
    """Propagate to the next event and note an interior maximum on the way.

    The voltage has an interior maximum exactly if it rises at the start and not at the end.
    """
    v, i, peak = state
    over = propagator(duration, tau_mem, tau_syn)
    v_end, i_end = over.membrane * v + over.psp * i, over.synapse * i
    turns = (i > v) & (i_end <= v_end)
    u = jnp.clip(_time_to_maximum(v, i, tau_mem, tau_syn), 0, duration)
    return _State(v_end, i_end, _interior(peak, turns, v, i, u, start, event, tau_mem, tau_syn))


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
        v, i, peak = _over_segment(state, last, end - last, event, tau_mem, tau_syn)
        return _higher(peak, i > v, _peak(v, end, event))
    v, i, peak = state
    u = _time_to_maximum(v, i, tau_mem, tau_syn)
    exists = (i > v) & (u < jnp.inf)
    u = jnp.where(exists, u, 0)
    return _interior(peak, exists, v, i, u, last, event, tau_mem, tau_syn)


def _interior(
    peak: Peak,
    exists: Array,
    v: Array,
    i: Array,
    u: Array,
    start: Array,
    event: Array,
    tau_mem: Array,
    tau_syn: Array,
) -> Peak:
    top = propagator(u, tau_mem, tau_syn)
    value = top.membrane * v + top.psp * i
    return _higher(peak, exists, _peak(value, start + u, event, is_interior=True))


def _peak(
    value: Array, time: Array, event: Array, *, moves: bool = False, is_interior: bool = False
) -> Peak:
    return Peak(value, time, event, jnp.asarray(moves), jnp.asarray(is_interior))


def _higher(peak: Peak, exists: Array, other: Peak) -> Peak:
    """The higher of two peaks, the earlier one if they are equal."""
    higher = exists & (other.value > peak.value)
    return Peak(*(jnp.where(higher, new, old) for new, old in zip(other, peak, strict=True)))


def _time_to_maximum(v: Array, i: Array, tau_mem: Array, tau_syn: Array) -> Array:
    """Time from the state ``v``, ``i`` to the voltage's interior maximum, ``inf`` if there is none.

    With ``d = 1/tau_syn - 1/tau_mem`` it is ``log(i / (tau_syn x)) / d = log(1 + d r) / d``, where
    ``x = i/tau_mem + d v`` and ``r = (i - v) / x``; it exists for ``i > v``, ``i > 0``, ``x > 0``.
    """
    d = 1 / tau_syn - 1 / tau_mem
    x = i / tau_mem + d * v
    exists = (i > v) & (i > 0) & (x > 0)
    x = jnp.where(exists, x, 1)
    r = jnp.where(exists, i - v, 0) / x
    change = d * r
    is_near = jnp.abs(change) < 0.5
    near = jnp.log1p(jnp.where(is_near, change, 0))
    far = jnp.log(jnp.where(is_near, 1, i / (tau_syn * x)))
    # r is the limit for equal time constants, where the logarithm and d vanish together.
    u = jnp.where(change == 0, r, jnp.where(is_near, near, far) / jnp.where(d == 0, 1, d))
    return jnp.where(exists, u, jnp.inf)
