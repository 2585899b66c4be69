"""The input spikes that single neurons of a layer with connections see."""

from jax import Array
from torch import Tensor

from ...jax_core import Connections
from ._layer import call_as_is


def lists_of(spikes: Tensor, connections: Connections) -> Tensor:
    """Lists of input spikes, differentiable, ``(groups, samples and places, inputs, k)``.

    **Arguments:** ``spikes``: ``(..., *input neurons, k)``; ``connections``: with tensors in it.
    """
    return call_as_is(lists, spikes, connections=connections)


def lists(spikes: Array, *, connections: Connections) -> Array:
    """`lists_of` in JAX."""
    neurons = spikes.shape[-1 - connections.axes :]
    found = connections.lists(spikes.reshape(-1, *neurons))
    return found.reshape(found.shape[0], -1, *found.shape[-2:])
