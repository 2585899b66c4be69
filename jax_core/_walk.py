"""The state of a layer's neurons at given times, in one walk along its input.

Input events and the times to look at are merged into one sequence of moments. From one moment to
the next a neuron's state follows a linear recursion whose coefficients are known in closed form, as
its own spikes are known: only the last release from reset in between matters. So the cost is that
of the number of moments, not of events times looks, forwards as backwards.

The sequence is cut into chunks, which bounds the memory of gradients; chunks that hold nothing but
padding are left out.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._kernel import propagator
from ._moments import Moments, merge, with_resets

Quantity = Literal["voltage", "current"]

# Most values (moments, samples, neurons) of one chunk, and of one group of samples.
_CHUNK_SIZE, _GROUP_SIZE = 1 << 15, 1 << 22


class Neurons(NamedTuple):
    """A layer's constants, scalars or of shape ``(out,)``; voltages are measured from leak."""

    tau_mem: Array
    tau_syn: Array
    start: Array
    reset: Array
    refractory: Array | None
    """``None`` where no neuron has a refractory period."""


class _State(NamedTuple):
    """Voltages from leak (none if they are not asked for), currents, and running holds."""

    v: Array | None
    i: Array
    holding: Array | None


def check_quantity(quantity: str) -> None:
    """Check what is asked for."""
    if quantity not in ("voltage", "current"):
        raise ValueError(
            f'quantity must be "voltage" or "current" (the synaptic current), got {quantity!r}'
        )


def walk(
    time: Array,
    source: Array,
    weight: Array,
    own: Array | None,
    times: Array,
    neurons: Neurons,
    quantity: Quantity,
) -> Array:
    """Voltages, measured from leak, or currents of neurons at ``times``.

    **Arguments:**

    - ``time``, ``source``: when input events arrive, ``(batch, M)``, any order, ``inf`` for none,
      and from which input.
    - ``weight``: ``(out, in)``.
    - ``own``: the neurons' own spikes, ``(batch, out, K)``, ascending; ``None`` for no spikes.
    - ``times``: ``(batch, T)``, any order. Events and spikes at such a time have happened.

    **Returns:** ``(batch, out, T)``; NaN at times that are not finite, and for samples and neurons
    with a spike at NaN.
    """
    batch, out, count = time.shape[0], weight.shape[0], times.shape[-1]
    if batch * out * count == 0:
        return jnp.zeros((batch, out, count), weight.dtype)
    is_time = jnp.isfinite(times)
    found = _by_groups(time, source, weight, own, jnp.where(is_time, times, 0), neurons, quantity)
    is_known = is_time[:, None] & ~jnp.any(jnp.isnan(time), axis=-1)[:, None, None]
    if own is not None:
        is_known &= ~jnp.any(jnp.isnan(own), axis=-1, keepdims=True)
    return jnp.where(is_known, found, jnp.nan)


def _by_groups(
    time: Array,
    source: Array,
    weight: Array,
    own: Array | None,
    times: Array,
    neurons: Neurons,
    quantity: Quantity,
) -> Array:
    """`_walk` for one group of samples after the other, which bounds the memory."""
    batch, out, count = time.shape[0], weight.shape[0], times.shape[-1]
    moments = time.shape[-1] + count
    group = max(_GROUP_SIZE // (out * moments), 1)

    def of_group(sample: tuple[Array, Array, Array | None, Array]) -> Array:
        time, source, own, times = sample
        return _walk(time, source, weight, own, times, neurons, quantity)

    samples = time, source, own, times
    if group >= batch:
        return of_group(samples)
    groups = -(-batch // group)

    def split(x: Array) -> Array:
        missing = ((0, groups * group - batch), *((0, 0),) * (x.ndim - 1))
        return jnp.pad(x, missing, mode="edge").reshape(groups, group, *x.shape[1:])

    found = lax.map(jax.checkpoint(of_group), jax.tree.map(split, samples))
    return found.reshape(groups * group, out, count)[:batch]


def _walk(
    time: Array,
    source: Array,
    weight: Array,
    own: Array | None,
    times: Array,
    neurons: Neurons,
    quantity: Quantity,
) -> Array:
    """`walk` of one group of samples, from chunk to chunk."""
    batch, out = time.shape[0], weight.shape[0]
    moments, place, used = merge(time, source, weight.shape[1], times)
    if own is not None:
        moments = with_resets(moments, own, neurons.refractory, used)
    columns = jnp.pad(weight.T, ((0, 1), (0, 0)))
    count = moments.time.shape[0]
    chunks = -(-count * batch * out // _CHUNK_SIZE)
    length = -(-count // chunks)

    def split(x: Array) -> Array:
        missing = ((0, chunks * length - count), *((0, 0),) * (x.ndim - 1))
        return jnp.pad(x, missing, mode="edge").reshape(chunks, length, *x.shape[1:])

    zero = jnp.zeros((batch, out), weight.dtype)
    start = _State(
        None if quantity == "current" else zero + neurons.start,
        zero,
        None if moments.holds is None else jnp.zeros((batch, out), jnp.int32),
    )

    @jax.checkpoint
    def go_on(state: _State, chunk: Moments) -> tuple[_State, Array]:
        return _follow(state, chunk, columns, neurons)

    def skip(state: _State, chunk: Moments) -> tuple[_State, Array]:
        return state, jnp.zeros((length, batch, out), weight.dtype)

    def step(state: _State, x: tuple[Array, Moments]) -> tuple[_State, Array]:
        return lax.cond(x[0], go_on, skip, state, x[1])

    needed = jnp.arange(chunks, dtype=jnp.int32) * length < jnp.max(used)
    _, found = lax.scan(step, start, (needed, jax.tree.map(split, moments)))
    found = found.reshape(chunks * length, batch, out)
    return jnp.moveaxis(found[place, jnp.arange(batch)[:, None]], 1, 2)


def _follow(
    state: _State, chunk: Moments, columns: Array, neurons: Neurons
) -> tuple[_State, Array]:
    """Go along a chunk; **returns** the state after it, and what is asked for at each moment."""
    tau_mem, tau_syn = neurons.tau_mem, neurons.tau_syn
    before, time, shift = (x[..., None] for x in (chunk.before, chunk.time, chunk.shift))
    keep = jnp.exp(-(time - before) / tau_syn)
    weight = columns[chunk.source]
    if state.v is None:

        def follow_current(i: Array, x: tuple[Array, Array]) -> tuple[Array, Array]:
            i = x[0] * i + x[1]
            return i, i

        i, found = lax.scan(follow_current, state.i, (keep, jnp.exp(shift / tau_syn) * weight))
        return state._replace(i=i), jnp.exp(-shift / tau_syn) * found
    if chunk.release is None:
        over = propagator(time - before, tau_mem, tau_syn)
        of_v, of_i, added = over.membrane, over.psp, jnp.zeros_like(over.psp)
    else:
        resets = chunk.release >= 0
        start = jnp.where(resets, chunk.release, before)
        over = propagator(time - start, tau_mem, tau_syn)
        of_v = jnp.where(resets, 0, over.membrane)
        of_i = jnp.exp(-(start - before) / tau_syn) * over.psp
        added = jnp.where(resets, neurons.reset * over.membrane, 0)
    back = propagator(-shift, tau_mem, tau_syn)

    def follow(state: _State, x: tuple) -> tuple[_State, tuple[Array, Array, Array | None]]:
        of_v, of_i, added, keep, to_v, to_i, holds = x
        v, i, holding = state
        v = of_v * v + of_i * i + added + to_v
        if holds is not None:
            holding = holding + holds
            v = jnp.where(holding > 0, neurons.reset, v)
        i = keep * i + to_i
        return _State(v, i, holding), (v, i, holding)

    coefficients = of_v, of_i, added, keep, back.psp * weight, back.synapse * weight, chunk.holds
    state, (v, i, holding) = lax.scan(follow, state, coefficients)
    ahead = propagator(shift, tau_mem, tau_syn)
    found = ahead.membrane * v + ahead.psp * i
    return state, found if holding is None else jnp.where(holding > 0, neurons.reset, found)
