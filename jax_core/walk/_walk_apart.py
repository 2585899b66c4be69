"""The state of a layer's neurons, each at times of its own.

The walk goes along the input events, which all neurons share. Each neuron goes on from the event
before a time that it looks at, or from its own spike if that is later.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..neuron._kernel import propagator
from ._moments import Moments, merge, with_resets
from ._walk import Neurons, Quantity, State, along, by_groups, is_known


def walk_apart(
    time: Array,
    source: Array,
    weight: Array,
    own: Array | None,
    times: Array,
    neurons: Neurons,
    quantity: Quantity,
) -> Array:
    """`walk` with times of each neuron's own.

    **Arguments:** ``times``: ``(batch, out, T)``, any order; before 0 is the state at first. All
    others as in `walk`.

    **Returns:** ``(batch, out, T)``; NaN as in `walk`.
    """
    if own is not None and own.shape[-1] == 0:
        own = None
    if times.size == 0:
        return jnp.zeros(times.shape, weight.dtype)
    is_time = jnp.isfinite(times)
    looks = jnp.where(is_time, times, 0)
    found = by_groups(_walk_apart, time, source, weight, own, looks, neurons, quantity)
    return jnp.where(is_time & is_known(time, own), found, jnp.nan)


def _walk_apart(
    time: Array,
    source: Array,
    weight: Array,
    own: Array | None,
    times: Array,
    neurons: Neurons,
    quantity: Quantity,
) -> Array:
    """`walk_apart` of one group of samples."""
    fixed = lax.stop_gradient(times)
    end = jnp.maximum(jnp.max(fixed, axis=(1, 2)), 0)[:, None]
    moments, _, used = merge(time, source, weight.shape[1], end)
    if own is not None:
        moments = with_resets(moments, own, neurons.refractory, used)
    after = along(_states, moments, used, weight, neurons, quantity)
    count = jax.vmap(lambda at, x: jnp.searchsorted(at, x, side="right"))(moments.time.T, fixed)
    count = jnp.minimum(count, used[:, None, None])

    def last(x: Array, first: Array | float) -> Array:
        """Of values after the moments, the one that each look comes after."""
        x = jnp.pad(x, ((1, 0), *((0, 0),) * (x.ndim - 1))).at[0].set(first)
        return jnp.take_along_axis(jnp.moveaxis(x, 0, -1), count, axis=-1)

    before = jnp.pad(moments.time, ((1, 0), (0, 0))).T[:, None]
    before = jnp.take_along_axis(before, count, axis=-1)
    tau_mem, tau_syn, reset = (
        x[..., None] for x in (neurons.tau_mem, neurons.tau_syn, neurons.reset)
    )
    i = last(after.i, 0.0)

    def elapsed(start: Array) -> Array:
        return jnp.where(times < before, 0, times - start)

    if after.v is None:
        return jnp.exp(-elapsed(before) / tau_syn) * i
    v = last(after.v, neurons.start)
    if own is None:
        over = propagator(elapsed(before), tau_mem, tau_syn)
        return over.membrane * v + over.psp * i
    spike, has_spiked = _last_spike(own, fixed)
    release = spike if neurons.refractory is None else spike + neurons.refractory[..., None]
    is_free = release <= times
    resets = has_spiked & is_free & (release > before)
    start = jnp.where(resets, release, before)
    over = propagator(elapsed(start), tau_mem, tau_syn)
    i = jnp.exp(-(start - before) / tau_syn) * i
    found = over.membrane * jnp.where(resets, reset, v) + over.psp * i
    return found if neurons.refractory is None else jnp.where(has_spiked & ~is_free, reset, found)


def _states(after: State, chunk: Moments, neurons: Neurons) -> State:
    """Voltages and currents after the moments; holds are looked up with the neurons' spikes."""
    return after._replace(holding=None)


def _last_spike(own: Array, times: Array) -> tuple[Array, Array]:
    """Each neuron's last spike up to each time, and whether it has one."""
    find = jax.vmap(jax.vmap(lambda at, x: jnp.searchsorted(at, x, side="right")))
    count = find(lax.stop_gradient(own), times)
    has_spiked = count > 0
    spike = jnp.take_along_axis(own, jnp.maximum(count - 1, 0), axis=-1)
    return jnp.where(has_spiked, spike, 0), has_spiked
