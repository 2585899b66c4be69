"""Linear response of a layer to its input spikes: a kernel per spike, summed over the synapses.

Where all neurons share their time constants, the kernel is computed once per spike, and the sum
over synapses is a matrix product. Where they differ, it is computed per spike and neuron. Large
problems are cut into pieces, whose intermediate results are computed anew for the gradient.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._events import Events

# Largest number of kernel values held at once; about ten arrays of this size exist in a gradient.
_LARGEST_PIECE = 2**22

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


def respond(kernel: Kernel, inputs: Inputs, weight: Array, tau_mem: Array, tau_syn: Array) -> Array:
    """Weighted sum of the kernel over all spikes, shape ``(batch, out)``."""
    if tau_mem.ndim == 0 and tau_syn.ndim == 0:
        per_input = _sum_by_input(kernel(inputs.time, tau_mem, tau_syn), inputs, weight.shape[1])
        # GPUs would otherwise round the factors to 10 bits.
        return jnp.matmul(per_input, weight.T, precision=jax.lax.Precision.HIGHEST)

    def neuron(weight: Array, tau_mem: Array, tau_syn: Array) -> Array:
        return jnp.sum(kernel(inputs.time, tau_mem, tau_syn) * weight[inputs.pre], axis=-1)

    per_neuron = (weight, *(jnp.broadcast_to(tau, weight.shape[:1]) for tau in (tau_mem, tau_syn)))
    return map_in_pieces(neuron, per_neuron, inputs.time.size).T


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
