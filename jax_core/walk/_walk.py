"""The state of a layer's neurons at given times, in one walk along its input.

Input events and the times to look at are merged into one sequence of moments. From one moment to
the next a neuron's state follows a linear recursion whose coefficients are known in closed form, as
its own spikes are known: only the last release from reset in between matters. So the cost is that
of the number of moments, not of events times looks, forwards as backwards.

The sequence is cut into chunks, which bounds the memory of gradients; chunks that hold nothing but
padding are left out.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..neuron._kernel import propagator
from ._moments import Moments, merge, with_resets

Quantity = Literal["voltage", "current"]
T = TypeVar("T")

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


class State(NamedTuple):
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
    looks = jnp.where(is_time, times, 0)
    found = by_groups(_walk, time, source, weight, own, looks, neurons, quantity)
    return jnp.where(is_time[:, None] & is_known(time, own), found, jnp.nan)


def is_known(time: Array, own: Array | None) -> Array:
    """Of which samples and neurons no spike is at NaN, ``(batch, 1 or out, 1)``."""
    known = ~jnp.any(jnp.isnan(time), axis=-1)[:, None, None]
    return known if own is None else known & ~jnp.any(jnp.isnan(own), axis=-1, keepdims=True)


def by_groups(
    walk: Callable[..., Array],
    time: Array,
    source: Array,
    weight: Array,
    own: Array | None,
    times: Array,
    neurons: Neurons,
    quantity: Quantity,
) -> Array:
    """``walk`` for one group of samples after the other, which bounds the memory."""
    batch, out, count = time.shape[0], weight.shape[0], times.shape[-1]
    moments = time.shape[-1] + count
    group = max(_GROUP_SIZE // (out * moments), 1)

    def of_group(sample: tuple[Array, Array, Array | None, Array]) -> Array:
        time, source, own, times = sample
        return walk(time, source, weight, own, times, neurons, quantity)

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
    """`walk` of one group of samples."""
    moments, place, used = merge(time, source, weight.shape[1], times)
    if own is not None:
        moments = with_resets(moments, own, neurons.refractory, used)
    found = along(_look, moments, used, weight, neurons, quantity)
    return jnp.moveaxis(found[place, jnp.arange(len(place))[:, None]], 1, 2)


def along(
    seen: Callable[[State, Moments, Neurons], T],
    moments: Moments,
    used: Array,
    weight: Array,
    neurons: Neurons,
    quantity: Quantity,
) -> T:
    """Go along moments, from chunk to chunk.

    **Arguments:** ``seen``: what to return of the states after the moments of a chunk, arrays
    ``(moments, batch, out)``; ``used``: how many moments of each sample are to be looked at.

    **Returns:** that of all moments, zeros after those that are to be looked at.
    """
    batch, out = moments.time.shape[1], weight.shape[0]
    columns = jnp.pad(weight.T, ((0, 1), (0, 0)))
    count = moments.time.shape[0]
    chunks = -(-count * batch * out // _CHUNK_SIZE)
    length = -(-count // chunks)

    def split(x: Array) -> Array:
        missing = ((0, chunks * length - count), *((0, 0),) * (x.ndim - 1))
        return jnp.pad(x, missing, mode="edge").reshape(chunks, length, *x.shape[1:])

    zero = jnp.zeros((batch, out), weight.dtype)
    start = State(
        None if quantity == "current" else zero + neurons.start,
        zero,
        None if moments.holds is None else jnp.zeros((batch, out), jnp.int32),
    )

    @jax.checkpoint
    def go_on(state: State, chunk: Moments) -> tuple[State, T]:
        state, after = _follow(state, chunk, columns, neurons)
        return state, seen(after, chunk, neurons)

    chunked = jax.tree.map(split, moments)
    of_one = jax.eval_shape(go_on, start, jax.tree.map(lambda x: x[0], chunked))[1]

    def skip(state: State, chunk: Moments) -> tuple[State, T]:
        return state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), of_one)

    def step(state: State, x: tuple[Array, Moments]) -> tuple[State, T]:
        return lax.cond(x[0], go_on, skip, state, x[1])

    needed = jnp.arange(chunks, dtype=jnp.int32) * length < jnp.max(used)
    _, found = lax.scan(step, start, (needed, chunked))
    return jax.tree.map(lambda x: x.reshape(chunks * length, batch, out), found)


def _look(after: State, chunk: Moments, neurons: Neurons) -> Array:
    """Voltages or currents at the moments, shifted as they are."""
    shift = chunk.shift[..., None]
    if after.v is None:
        return jnp.exp(-shift / neurons.tau_syn) * after.i
    ahead = propagator(shift, neurons.tau_mem, neurons.tau_syn)
    found = ahead.membrane * after.v + ahead.psp * after.i
    return found if after.holding is None else jnp.where(after.holding > 0, neurons.reset, found)


def _follow(state: State, chunk: Moments, columns: Array, neurons: Neurons) -> tuple[State, State]:
    """Go along a chunk; **returns** the state after it, and those after each moment."""
    tau_mem, tau_syn = neurons.tau_mem, neurons.tau_syn
    before, time, shift = (x[..., None] for x in (chunk.before, chunk.time, chunk.shift))
    keep = jnp.exp(-(time - before) / tau_syn)
    weight = columns[chunk.source]
    if state.v is None:

        def follow_current(i: Array, x: tuple[Array, Array]) -> tuple[Array, Array]:
            i = x[0] * i + x[1]
            return i, i

        i, found = lax.scan(follow_current, state.i, (keep, jnp.exp(shift / tau_syn) * weight))
        return state._replace(i=i), State(None, found, None)
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

    def follow(state: State, x: tuple) -> tuple[State, State]:
        of_v, of_i, added, keep, to_v, to_i, holds = x
        v, i, holding = state
        v = of_v * v + of_i * i + added + to_v
        if holds is not None:
            holding = holding + holds
            v = jnp.where(holding > 0, neurons.reset, v)
        after = State(v, keep * i + to_i, holding)
        return after, after

    coefficients = of_v, of_i, added, keep, back.psp * weight, back.synapse * weight, chunk.holds
    return lax.scan(follow, state, coefficients)
