"""The EventProp adjoint: exact gradients from spike times and currents at spikes alone.

With ``lv = -(1/tau_mem) dL/dV`` and ``li = -(1/tau_syn) dL/dI``, backwards in time

    tau_mem lv' = -lv        tau_syn li' = -li + lv

and at an own spike ``lv`` jumps. Between own spikes these equations do not see the input, so a
recursion over the own spikes suffices (`adjoint_at_spikes`); what each input event contributes is
then read off in closed form, for all events at once (`find_segments`).

Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z; docs/gradients.md has the derivation with
reset, refractoriness, and the gradients of the neuron constants.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..neuron._kernel import propagator
from ..simulate._events import Spikes

# Of so few own spikes per neuron the one wanted is found by comparing with each.
_FEW_SPIKES = 8


class Adjoint(NamedTuple):
    """Adjoint state at every own spike, shapes ``(batch, out, K)``, 0 where there is no spike."""

    v: Array
    """``lv`` just before the spike."""
    i: Array
    """``li`` at the spike."""
    v_release: Array
    """``lv`` at the end of the refractory period."""
    i_release: Array
    """``li`` at the end of the refractory period."""


class OfEvents(NamedTuple):
    """Gradients of the loss through input events."""

    time: Array
    """With respect to their times, ``(batch, M)``."""
    weight: Array
    """With respect to the weights through which they act, ``(batch, out, M)``."""
    tau: tuple[Array, Array]
    """What they contribute to the gradients of ``(tau_mem, tau_syn)``."""


def slope_floor(constants: Constants, min_slope: Array | float) -> Array:
    """The least value of ``tau_mem dV/dt`` at a spike that the gradients divide by.

    It is a fraction of the drive that holds a voltage at the threshold, which unlike the distance
    from the reset says what an ordinary slope is: a deep reset must not bound ordinary spikes.
    """
    return min_slope * jnp.abs(constants.threshold)


def slope_at_spike(current: Array, constants: Constants) -> Array:
    """``tau_mem dV/dt`` just before a spike; ``current`` has shape ``(batch, out, K)``."""
    return current - _per_neuron(constants.threshold)


def _per_neuron(constant: Array) -> Array:
    """Let a constant, scalar or ``(out,)``, broadcast against ``(batch, out, K)``."""
    return constant[..., None]


def step_back(v: Array, i: Array, u: Array, tau_mem: Array, tau_syn: Array) -> tuple[Array, Array]:
    """The adjoint state a time ``u`` earlier."""
    step = propagator(u, tau_mem, tau_syn)
    return step.membrane * v, step.synapse * i + step.psp * (tau_mem / tau_syn) * v


def before_spike(
    v_release: Array, gradient: Array, slope_before: Array, slope_after: Array, floor: Array
) -> Array:
    """``lv`` just before a spike, given ``lv`` at its release and dL/d(spike time).

    The slopes are ``tau_mem dV/dt`` just before the spike, and at the release.
    """
    pull = slope_after * v_release + gradient
    slope = jnp.maximum(slope_before, floor)
    return pull / jnp.where((slope == 0) & (pull == 0), 1, slope)


def adjoint_at_spikes(
    spikes: Spikes, gradient: Array, constants: Constants, min_slope: Array | float
) -> Adjoint:
    """The recursion over own spikes, last to first; ``gradient`` is dL/d(spike times)."""
    tau_mem, tau_syn = constants.tau_mem, constants.tau_syn
    refractory = constants.refractory
    floor = slope_floor(constants, min_slope)

    def jump(later: tuple, spike: tuple) -> tuple:
        t_later, v_later, i_later = later
        t, current, release_current, has_gradient, upstream = spike
        t_release = t + refractory
        # Observed spikes may violate the refractory period.
        u = jnp.maximum(jnp.where(jnp.isfinite(t_later), t_later - t_release, 0), 0)
        v_release, i_release = step_back(v_later, i_later, u, tau_mem, tau_syn)
        i = i_release * jnp.exp(-refractory / tau_syn)
        slopes = current - constants.threshold, release_current - constants.reset
        pull = jnp.where(has_gradient, upstream, 0)
        v = before_spike(jnp.where(has_gradient, v_release, 0), pull, *slopes, floor)
        return (t, v, i), Adjoint(v, i, v_release, i_release)

    sequence = (
        spikes.time,
        spikes.current,
        spikes.release_current,
        spikes.has_gradient,
        gradient,
    )
    sequence = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), sequence)
    silence = jnp.full_like(sequence[0][0], jnp.inf)
    start = (silence, jnp.zeros_like(silence), jnp.zeros_like(silence))
    _, adjoint = lax.scan(jump, start, sequence, reverse=True)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), adjoint)


class Segments(NamedTuple):
    """What an input event, ``(batch, out, M)``, acts upon: the own spike that follows it."""

    u: Array
    """Time from the event to the spike, or to the release if the neuron is refractory."""
    v: Array
    """``lv`` at that spike; 0 if refractory, when the voltage does not listen."""
    i: Array
    """``li`` at that spike, or at the release."""


def count_before(own: Array, events: Array, side: Literal["left", "right"]) -> Array:
    """How many of a neuron's spikes, ``(batch, out, K)``, precede each event ``(batch, M)``.

    Equal ones precede for ``side = "right"``. **Returns** ``(batch, out, M)``, int32.
    """
    method = "compare_all" if own.shape[-1] <= _FEW_SPIKES else "scan_unrolled"

    def search(own: Array, events: Array) -> Array:
        return jnp.searchsorted(own, events, side=side, method=method)

    return jax.vmap(jax.vmap(search, in_axes=(0, None)))(own, events)


def find_segments(
    time: Array,
    spikes: Spikes,
    adjoint: Adjoint,
    constants: Constants,
    is_refractory: bool,
    following: Array | None = None,
) -> Segments:
    """Find, for each input event and neuron, the own spike at or after the event.

    Where times do not tell, ``following``, int32 ``(batch, out, M)``, has the number of that spike.
    """
    event = time[:, None, :]
    if spikes.time.shape[-1] == 1 and not is_refractory and following is None:
        follows = (event <= spikes.time) & jnp.isfinite(spikes.time)
        return Segments(
            u=jnp.where(follows, spikes.time - jnp.where(follows, event, 0), 0),
            v=jnp.where(follows, adjoint.v, 0),
            i=jnp.where(follows, adjoint.i, 0),
        )
    at_next, at_previous = _lookups(time, spikes.time, following)
    t_next = at_next(spikes.time, jnp.inf)
    follows = jnp.isfinite(t_next) & jnp.isfinite(event)
    u = jnp.where(follows, t_next - jnp.where(follows, event, 0), 0)
    v = jnp.where(follows, at_next(adjoint.v, 0), 0)
    i = jnp.where(follows, at_next(adjoint.i, 0), 0)
    if not is_refractory:
        return Segments(u, v, i)
    release = at_previous(spikes.time + _per_neuron(constants.refractory), -jnp.inf)
    held = (event < release) & jnp.isfinite(event)
    returns = held & jnp.isfinite(release)
    return Segments(
        u=jnp.where(held, jnp.where(returns, release - jnp.where(held, event, 0), 0), u),
        v=jnp.where(held, 0, v),
        i=jnp.where(held, jnp.where(returns, at_previous(adjoint.i_release, 0), 0), i),
    )


_Lookup = Callable[[Array, float], Array]
"""Values ``(batch, out, M)`` of those given at own spikes, and another where there is no spike."""


def _lookups(events: Array, own: Array, following: Array | None) -> tuple[_Lookup, _Lookup]:
    """What is given at the own spike at or after, and at that before, each of the events."""
    rooms = range(own.shape[-1])
    if following is None and len(rooms) <= _FEW_SPIKES:
        follows = [events[:, None, :] <= own[..., k, None] for k in rooms]

        def at_next(x: Array, absent: float) -> Array:
            found = jnp.full((), absent, x.dtype)
            for k in reversed(rooms):
                found = jnp.where(follows[k], x[..., k, None], found)
            return found

        def at_previous(x: Array, absent: float) -> Array:
            found = jnp.full((), absent, x.dtype)
            for k in rooms:
                found = jnp.where(follows[k], found, x[..., k, None])
            return found

        return at_next, at_previous
    k = count_before(own, events, "left") if following is None else following

    def look_up(x: Array, absent: float, widths: tuple[int, int]) -> Array:
        padded = jnp.pad(x, ((0, 0), (0, 0), widths), constant_values=absent)
        return jnp.take_along_axis(padded, k, axis=-1)

    return partial(look_up, widths=(0, 1)), partial(look_up, widths=(1, 0))


def _sum_over_neurons(x: Array) -> Array:
    """The sum over the middle axis, as a product: XLA would compute ``x`` along columns for it,
    three times slower than along rows."""
    ones = jnp.ones(x.shape[1], x.dtype)
    return jnp.einsum("o,bom->bm", ones, x, precision=lax.Precision.HIGHEST)


def sensitivity(
    v: Array, i: Array, u: Array, adjoint_v: Array, adjoint_i: Array, constants: Constants
) -> tuple[Array, Array]:
    """Gradients of ``(tau_mem, tau_syn)`` through the propagation of states ``v, i`` over ``u``.

    The state arrives at an own spike, where ``dL/dV = -tau_mem lv`` and ``dL/dI = -tau_syn li``.
    """
    to_v = -_per_neuron(constants.tau_mem) * adjoint_v
    to_i = -_per_neuron(constants.tau_syn) * adjoint_i

    def arrive(tau_mem: Array, tau_syn: Array) -> Array:
        step = propagator(u, tau_mem[..., None], tau_syn[..., None])
        return jnp.sum(to_v * (step.membrane * v + step.psp * i) + to_i * step.synapse * i)

    return jax.grad(arrive, argnums=(0, 1))(constants.tau_mem, constants.tau_syn)


def _time_constant_gradients(
    spikes: Spikes, adjoint: Adjoint, constants: Constants, is_refractory: bool
) -> tuple[Array, Array]:
    """Gradients of ``(tau_mem, tau_syn)`` through the states in which segments start."""
    is_spike = jnp.isfinite(spikes.time)
    span = segment_lengths(spikes, constants)
    reset = jnp.broadcast_to(_per_neuron(constants.reset), spikes.time.shape)
    start = jnp.broadcast_to(_per_neuron(constants.start), spikes.time.shape)[..., :1]
    v_start = jnp.concatenate([start, reset[..., 1:]], axis=-1)
    i_start = jnp.pad(spikes.release_current[..., :-1], ((0, 0), (0, 0), (1, 0)))
    parts = [
        sensitivity(
            jnp.where(is_spike, v_start, 0),
            jnp.where(is_spike, i_start, 0),
            span,
            adjoint.v,
            adjoint.i,
            constants,
        ),
    ]
    if is_refractory:
        pause = jnp.where(jnp.isfinite(constants.refractory), constants.refractory, 0)
        parts.append(
            sensitivity(
                jnp.zeros_like(spikes.current),
                spikes.current,
                _per_neuron(pause),
                jnp.zeros_like(adjoint.i_release),
                adjoint.i_release,
                constants,
            )
        )
    return jax.tree.map(lambda *terms: sum(terms), *parts)


def segment_lengths(spikes: Spikes, constants: Constants) -> Array:
    """Time from the start (the last release) to each own spike; 0 where there is no spike."""
    release = spikes.time[..., :-1] + _per_neuron(constants.refractory)
    start = jnp.pad(release, ((0, 0), (0, 0), (1, 0)))
    is_spike = jnp.isfinite(spikes.time)
    return jnp.maximum(jnp.where(is_spike, spikes.time - jnp.where(is_spike, start, 0), 0), 0)


def of_neurons(
    spikes: Spikes, adjoint: Adjoint, constants: Constants, is_refractory: bool
) -> Constants:
    """Gradients of all neuron constants, without what input events contribute."""
    tau = _time_constant_gradients(spikes, adjoint, constants, is_refractory)
    tau_mem = _per_neuron(constants.tau_mem)
    span = segment_lengths(spikes, constants)
    integral = -tau_mem * jnp.expm1(-span / tau_mem) * adjoint.v
    at_start = tau_mem * jnp.exp(-span / tau_mem)[..., :1] * adjoint.v[..., :1]
    slope_after = spikes.release_current - _per_neuron(constants.reset)
    at_rest = _per_neuron(constants.starts_at_rest)
    gradients = Constants(
        tau_mem=tau[0],
        tau_syn=tau[1],
        v_threshold=tau_mem * adjoint.v,
        v_leak=-integral - jnp.pad(jnp.where(at_rest, at_start, 0), _to_width(spikes)),
        v_reset=-tau_mem * adjoint.v_release
        - jnp.pad(jnp.where(at_rest, 0, at_start), _to_width(spikes)),
        refractory=slope_after * adjoint.v_release,
    )
    axes = (0, 2)
    return Constants(
        gradients.tau_mem,
        gradients.tau_syn,
        *(
            jnp.sum(gradient, axis=axes if constant.ndim else None)
            for gradient, constant in zip(gradients[2:], constants[2:], strict=True)
        ),
    )


def _to_width(spikes: Spikes) -> tuple:
    return ((0, 0), (0, 0), (0, spikes.time.shape[-1] - 1))


def of_events(
    time: Array,
    event_weight: Array,
    spikes: Spikes,
    adjoint: Adjoint,
    constants: Constants,
    is_refractory: bool,
) -> OfEvents:
    """What input events contribute to the gradients.

    **Arguments:**

    - ``time``: their times, any order, ``(batch, M)``, ``inf`` where there is none.
    - ``event_weight``: weights through which they act, ``(batch or 1, out, M)``.
    - ``spikes``: what the neurons did, simulated or observed; ``adjoint``: at these spikes.
    - ``is_refractory``: whether any neuron has a refractory period and may spike again.
    """
    segment = find_segments(time, spikes, adjoint, constants, is_refractory)
    tau_mem, tau_syn = _per_neuron(constants.tau_mem), _per_neuron(constants.tau_syn)
    v, i = step_back(segment.v, segment.i, segment.u, tau_mem, tau_syn)
    nothing = jnp.zeros_like(event_weight)
    return OfEvents(
        time=_sum_over_neurons(event_weight * (v - i)),
        weight=-tau_syn * i,
        tau=sensitivity(nothing, event_weight, segment.u, segment.v, segment.i, constants),
    )
