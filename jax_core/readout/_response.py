"""Linear response of a layer to its input spikes: a kernel per spike, summed over the synapses.

Where all neurons share their time constants, the kernel is computed once per spike, and the sum
over synapses is a matrix product. Where they differ, it is computed per spike and neuron. Large
problems are cut into pieces, whose intermediate results are computed anew for the gradient.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .._events import Events
from ..spikes._sort import sort_times

# Largest number of kernel values held at once; about ten arrays of this size exist in a gradient.
_LARGEST_PIECE = 2**22
# Slots for events are looked at all together if they are so few, otherwise so many at a time.
_FEW_SLOTS, _CHUNK = 64, 32

Kernel = Callable[[Array, Array, Array], Array]
"""``kernel(time, tau_mem, tau_syn)``: response to each spike, 0 for those at ``inf``."""


class Inputs(NamedTuple):
    """Input spikes of a batch, in no particular order."""

    time: Array
    """Shape ``(batch, M)``, ``inf`` where there is no spike."""
    pre: Array
    """Input neuron of each spike, shape ``(batch, M)``."""
    per_input: int | None
    """How many spikes each input neuron has, if they come neuron by neuron."""


def inputs_of(spikes: Array | Events) -> tuple[Inputs, tuple[int, ...]]:
    """Flatten spike times or events; returns them and the leading batch dimensions."""
    if isinstance(spikes, Events):
        batch, events = spikes.time.shape[:-1], spikes.time.shape[-1:]
        rows = _size(batch)
        time, index = (jnp.reshape(x, (rows, *events)) for x in spikes)
        return Inputs(time, jnp.maximum(index, 0), None), batch
    *batch, neurons, k = spikes.shape
    time = jnp.reshape(spikes, (_size(batch), neurons * k))
    index = jnp.repeat(jnp.arange(neurons, dtype=jnp.int32), k)
    index = jnp.broadcast_to(index, time.shape)
    return Inputs(time, index, k if neurons else None), tuple(batch)


def undefined(time: Array) -> Array:
    """0, or NaN for samples ``(rows, 1)`` with a time that is NaN: no comparison would find it."""
    return jnp.sum(jnp.where(jnp.isnan(time), time, 0), axis=-1, keepdims=True)


def with_undefined(x: Array) -> Array:
    """``x``, with derivatives that are NaN where it is."""
    return x * jnp.where(jnp.isnan(x), jnp.nan, 1).astype(x.dtype)


def respond(kernel: Kernel, inputs: Inputs, weight: Array, tau_mem: Array, tau_syn: Array) -> Array:
    """Weighted sum of the kernel over all spikes, shape ``(batch, out)``."""
    if tau_mem.ndim == 0 and tau_syn.ndim == 0:
        per_input = _sum_by_input(kernel(inputs.time, tau_mem, tau_syn), inputs, weight.shape[1])
        # GPUs would otherwise round the factors to 10 bits.
        return jnp.matmul(per_input, weight.T, precision=jax.lax.Precision.HIGHEST)

    time, pre = in_order(inputs)

    def neuron(weight: Array, tau_mem: Array, tau_syn: Array) -> Array:
        def of_events(time: Array, pre: Array) -> Array:
            return jnp.sum(kernel(time, tau_mem, tau_syn) * weight[pre], axis=-1)

        return sum_over_events(of_events, time, pre)

    per_neuron = (weight, *(jnp.broadcast_to(tau, weight.shape[:1]) for tau in (tau_mem, tau_syn)))
    return map_in_pieces(neuron, per_neuron, inputs.time.size).T


def in_order(inputs: Inputs) -> tuple[Array, Array]:
    """Times and neurons of the input spikes, first to last, absent ones at the end."""
    _, place = sort_times(jax.lax.stop_gradient(inputs.time))
    time = jnp.take_along_axis(inputs.time, place, axis=-1)
    return time, jnp.take_along_axis(inputs.pre, place, axis=-1)


def sum_over_events(function: Callable[..., Any], time: Array, *others: Array) -> Any:
    """The sum of ``function(time, *others)`` over all events, without looking at those absent.

    **Arguments:** ``function``: takes arrays of some of the events, ``(batch, m)``, and sums over
    them, into any pytree; ``time``: times of the events, ``(batch, M)``, absent ones last; further
    arrays of the same shape.
    """
    samples, slots = time.shape
    if slots <= _FEW_SLOTS:
        return function(time, *others)
    # Two levels: what is skipped costs a derivative as much as zeros of all that ``function``
    # closes over, so that one step should skip many chunks.
    chunks = -(-slots // _CHUNK)
    inner = math.isqrt(chunks)
    outer = -(-chunks // inner)
    to_width = ((0, 0), (0, outer * inner * _CHUNK - slots))

    def cut(x: Array, absent: float) -> Array:
        padded = jnp.pad(x, to_width, constant_values=absent)
        return jnp.moveaxis(padded.reshape(samples, outer, inner, _CHUNK), 0, 2)

    cut_up = cut(time, jnp.inf), *(cut(x, 0) for x in others)
    sums = jax.eval_shape(function, *(x[0, 0] for x in cut_up))
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), sums)
    once_more = jax.checkpoint(lambda chunk: function(*chunk))

    def add_up(part: Callable[[tuple], Any], parts: tuple) -> Any:
        def add(total: Any, one: tuple) -> tuple[Any, None]:
            # Not infinite, so that NaN is not overlooked.
            some = ~jnp.all(jnp.isinf(one[0]))
            found = jax.lax.cond(some, part, lambda _: zero, one)
            return jax.tree.map(jnp.add, total, found), None

        return jax.lax.scan(add, zero, parts)[0]

    return add_up(partial(add_up, once_more), cut_up)


def map_in_pieces(function: Callable[..., Array], arguments: Any, values: int) -> Array:
    """Map ``function`` over the leading axis of ``arguments``, a tuple of arrays.

    **Arguments:** ``values`` is how many kernel values one call of ``function`` holds.
    """
    rows = arguments[0].shape[0]
    piece = max(1, _LARGEST_PIECE // max(1, values))
    if rows <= piece:
        return jax.vmap(function)(*arguments)
    once_more = jax.checkpoint(lambda row: function(*row))
    return jax.lax.map(once_more, arguments, batch_size=piece)


def _sum_by_input(values: Array, inputs: Inputs, pre: int) -> Array:
    rows = values.shape[0]
    if inputs.per_input is not None:
        return jnp.sum(values.reshape(rows, pre, inputs.per_input), axis=-1)
    total = jnp.zeros((rows, pre), values.dtype)
    return total.at[jnp.arange(rows)[:, None], inputs.pre].add(values)


def _size(shape: Any) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
