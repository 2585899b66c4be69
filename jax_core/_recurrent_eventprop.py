"""EventProp in a recurrent layer: how spikes depend on each other, and recurrent weights.

A spike of neuron n at time t arrives at all neurons j then. To the gradient with respect to t that
the loss has, the arrivals add ``sum_j w_jn (lv_j - li_j)(t)``. With these total gradients of all
spikes every neuron is one of a feed-forward layer again, with the population's spikes among its
input. They are found by going through all spikes of a sample backwards, last to first.

Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z; docs/gradients.md has the derivation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._constants import Constants
from ._eventprop import (
    adjoint_at_spikes,
    before_spike,
    count_before,
    find_segments,
    sensitivity,
    slope_floor,
    step_back,
)
from ._simulate import Spikes, column

# Arrays (samples, out, own spikes) have about this size at most.
_GROUP_SIZE = 1 << 22


class _Merged(NamedTuple):
    """All spikes of a sample, first to last, ``(batch, out * K)``; absent ones come first."""

    place: Array
    """``n * K + k`` for spike ``k`` of neuron ``n``."""
    moment: Array
    """-1 where there is no spike."""
    time: Array
    current: Array
    release_current: Array
    gradient: Array


class _State(NamedTuple):
    back: Array
    """How many spikes lie behind."""
    clock: Array
    moment: Array
    v: Array
    """``lv`` at the clock or, if that is later, at the last release, ``(batch, out)``."""
    i: Array
    """``li`` at that time."""
    release: Array
    """When the refractory period of the spike before the clock ends, ``-inf`` without one."""
    v_heard: Array
    """``lv`` through which spikes of the present moment act: that after the moment."""
    total: Array
    weight: Array


def merge(spikes: Spikes, moment: Array, gradient: Array) -> _Merged:
    """Sort the population's spikes by the order in which they happened."""
    batch, out, room = spikes.time.shape
    flat = (batch, out * room)
    key = jnp.where(jnp.isfinite(spikes.time), moment, -1).reshape(flat)
    place = lax.broadcasted_iota(jnp.int32, flat, 1)
    key, place = lax.sort((key, place), num_keys=1, is_stable=True)

    def in_order(x: Array) -> Array:
        return jnp.take_along_axis(x.reshape(flat), place, axis=1)

    return _Merged(
        place,
        key,
        in_order(spikes.time),
        in_order(spikes.current),
        in_order(spikes.release_current),
        in_order(gradient),
    )


def total_gradients(
    spikes: Spikes,
    moment: Array,
    recurrent_weight: Array,
    constants: Constants,
    gradient: Array,
    min_slope: float,
    is_refractory: bool,
) -> tuple[Array, Array]:
    """What spikes do to the loss, by themselves and through the spikes that they influence.

    **Arguments:** ``moment``: order of the spikes, ``(batch, out, K)``; ``gradient``: dL/d(spike
    times) as it comes from outside, same shape; the others as in `eventprop`.

    **Returns:** total dL/d(spike times), and the gradient of ``recurrent_weight``.
    """
    batch, out, room = spikes.time.shape
    shape, dtype = (batch, out), spikes.time.dtype
    if out == 0:
        return gradient, jnp.zeros_like(recurrent_weight)
    samples = jnp.arange(batch)
    tau_mem, tau_syn, refractory = constants.tau_mem, constants.tau_syn, constants.refractory
    floor = slope_floor(constants, min_slope)
    merged = merge(spikes, moment, gradient)
    count = jnp.max(jnp.sum(merged.moment >= 0, axis=1, dtype=jnp.int32), initial=0)
    columns, time = recurrent_weight.T, spikes.time.reshape(batch, out * room)

    def at(constant: Array, n: Array) -> Array:
        return constant[n] if constant.ndim else constant

    def elapsed(state: _State, clock: Array) -> Array:
        before, after = state.clock[:, None], clock[:, None]
        if not is_refractory:
            return before - after
        return jnp.where(state.release > before, 0, before - jnp.maximum(after, state.release))

    def walk(state: _State) -> _State:
        spike = jax.tree.map(lambda x: column(x, out * room - 1 - state.back), merged)
        is_spike = spike.moment >= 0
        n, slot = spike.place // room, spike.place
        clock = jnp.where(is_spike, spike.time, state.clock)
        v, i = step_back(state.v, state.i, elapsed(state, clock), tau_mem, tau_syn)
        v_heard, i_heard = v, i
        if is_refractory:
            rest = jnp.maximum(state.release - clock[:, None], 0)
            v_heard = jnp.where(rest > 0, 0, v)
            i_heard = i * jnp.exp(-rest / tau_syn)
        is_same_moment = (spike.moment == state.moment)[:, None]
        v_heard = jnp.where(is_same_moment, state.v_heard, v_heard)
        influence = jnp.sum(columns[n] * (v_heard - i_heard), axis=1)
        gradient = jnp.where(is_spike, spike.gradient + influence, 0)

        v_release, i_release = v[samples, n], i[samples, n]
        slopes = (
            spike.current - at(constants.threshold, n),
            spike.release_current - at(constants.reset, n),
        )
        v_spike = before_spike(v_release, gradient, *slopes, at(floor, n))
        release = state.release
        if is_refractory:
            pause = at(refractory, n)
            i_spike = i_release * jnp.exp(-pause / at(tau_syn, n))
            i = i.at[samples, n].set(jnp.where(is_spike, i_spike, i_release))
            before = time[samples, jnp.maximum(slot - 1, 0)] + pause
            before = jnp.where(slot % room > 0, before, -jnp.inf)
            release = release.at[samples, n].set(jnp.where(is_spike, before, release[samples, n]))
        heard = jnp.where(is_spike[:, None], -tau_syn * i_heard, 0)
        return _State(
            back=state.back + 1,
            clock=clock,
            moment=spike.moment,
            v=v.at[samples, n].set(jnp.where(is_spike, v_spike, v_release)),
            i=i,
            release=release,
            v_heard=v_heard,
            total=state.total.at[samples, slot].set(gradient),
            weight=state.weight.at[n].add(heard),
        )

    last = jnp.max(jnp.where(jnp.isfinite(time), time, 0), axis=1, initial=0)
    last_release = jnp.max(
        jnp.where(jnp.isfinite(spikes.time), spikes.time + refractory[..., None], -jnp.inf),
        axis=2,
        initial=-jnp.inf,
    )
    zero = jnp.zeros(shape, dtype)
    final = lax.while_loop(
        lambda state: state.back < count,
        walk,
        _State(
            back=jnp.int32(0),
            clock=last,
            moment=jnp.full(batch, -1, jnp.int32),
            v=zero,
            i=zero,
            release=last_release,
            v_heard=zero,
            total=jnp.zeros_like(time),
            weight=jnp.zeros_like(columns),
        ),
    )
    return final.total.reshape(spikes.time.shape), final.weight.T


def time_constant_gradients(
    spikes: Spikes,
    moment: Array,
    recurrent_weight: Array,
    constants: Constants,
    gradient: Array,
    min_slope: float,
    is_refractory: bool,
) -> tuple[Array, Array]:
    """Gradients of ``(tau_mem, tau_syn)`` through the population's own spikes as its input.

    **Arguments:** as in `total_gradients`, but ``gradient`` are the total gradients found there.
    """
    batch, out, room = spikes.time.shape
    event_weight = jnp.repeat(recurrent_weight, room, axis=1)[None]

    def of_samples(part: tuple[Spikes, Array, Array]) -> tuple[Array, Array]:
        spikes, moment, gradient = jax.tree.map(lambda x: x[None], part)
        adjoint = adjoint_at_spikes(spikes, gradient, constants, min_slope)
        order = jnp.where(jnp.isfinite(spikes.time), moment, jnp.iinfo(jnp.int32).max)
        following = count_before(order, order.reshape(1, -1), "right")
        segments = find_segments(
            spikes.time.reshape(1, -1), spikes, adjoint, constants, is_refractory, following
        )
        return sensitivity(
            jnp.zeros_like(event_weight),
            event_weight,
            segments.u,
            segments.v,
            segments.i,
            constants,
        )

    parts = spikes, moment, gradient
    group = max(_GROUP_SIZE // max(out * out * room, 1), 1)
    if group >= batch:
        found = jax.vmap(of_samples)(parts)
    else:
        found = lax.map(of_samples, parts, batch_size=group)
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), found)
