"""Connections one by one: neurons with lists of inputs of their own, and a delay on each."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._validate import (
    check_connection_delays,
    check_integer,
    check_weight,
)
from ._protocol import Connections


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["pre", "place", "delay", "post", "post_place"],
    meta_fields=["inputs", "connections"],
)
@dataclasses.dataclass(frozen=True)
class Sparse:
    """A fixed list of connections, each with a weight and, if wanted, a delay.

    Made by `Sparse.of`. Spikes have the shape ``(..., in, k)``, weights ``(connections,)``. Every
    neuron's list has the length of the longest, so cost and memory grow with ``out`` times that.
    """

    pre: Array | np.ndarray
    """Input neurons that each neuron sees, int32 ``(out, longest)``."""
    place: Array | np.ndarray
    """Which connections these are, int32, same shape; ``connections`` for none."""
    delay: Array | None
    """Seconds, >= 0, shape ``(connections,)``."""
    inputs: int
    connections: int
    post: Array | np.ndarray | None = None
    """Neurons that hear each input, int32 ``(in, longest of these)``; ``out`` for none."""
    post_place: Array | np.ndarray | None = None
    """Which connections these are, as ``place``. `recurrent_lif` alone looks at these two."""

    @classmethod
    def of(
        cls,
        connections: np.ndarray,
        inputs: int,
        outputs: int,
        delay: Array | np.ndarray | None = None,
        *,
        hearers: bool = False,
    ) -> "Sparse":
        """Connections from their ends.

        **Arguments:**

        - ``connections``: neuron and input of each, whole numbers, shape ``(connections, 2)``, as
          ``np.argwhere`` gives them of a mask ``(out, in)``; none twice.
        - ``inputs``, ``outputs``: how many input neurons and neurons there are.
        - ``delay``: seconds, >= 0, shape ``(connections,)``.
        - ``hearers``: whether to list those that hear each input, too, by which `recurrent_lif`
          can simulate a layer.
        """
        check_integer(inputs, "inputs", 0)
        check_integer(outputs, "outputs", 0)
        pairs = _checked_pairs(np.asarray(connections), inputs, outputs)
        post, source = pairs.T
        pre, place = _lists(post, source, outputs, absent=0)
        later = None if delay is None else jnp.asarray(delay)
        both = _lists(source, post, inputs, absent=outputs) if hearers else ()
        return cls(pre, place, later, inputs, len(pairs), *both)

    @property
    def axes(self) -> int:
        return 1

    def check(self, spikes: Array, weight: Array, validate: bool) -> None:
        if spikes.shape[-2] != self.inputs:
            raise ValueError(
                f"spikes of shape {tuple(spikes.shape)} come from {spikes.shape[-2]} neurons, but "
                f"the connections are from {self.inputs}"
            )
        if weight.shape != (self.connections,):
            raise ValueError(
                f"weight must have one value per connection, shape ({self.connections},), got "
                f"{tuple(weight.shape)}"
            )
        check_connection_delays(self.delay, weight, values=validate)

    def neurons(self, weight: Array) -> int:
        return self.pre.shape[0]

    def lists(self, spikes: Array) -> Array:
        absent = self.place >= self.connections
        found = spikes[:, self.pre]
        if self.delay is not None:
            found = found + at_place(self.delay, self.place)[..., None]
        found = jnp.where(absent[..., None], jnp.inf, found)
        return jnp.moveaxis(found, 1, 0)

    def rows(self, weight: Array) -> Array:
        return at_place(weight, self.place)[:, None]

    def dense(self, weight: Array) -> Array:
        """The weights as a matrix ``(out, in)``, 0 where there is no connection."""
        matrix = jnp.zeros((self.pre.shape[0], self.inputs), weight.dtype)
        rows = jnp.arange(self.pre.shape[0])[:, None]
        return matrix.at[rows, self.pre].add(at_place(weight, self.place))


@partial(jax.tree_util.register_dataclass, data_fields=["delay"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class SynapticDelays:
    """All-to-all connections, each with a delay of its own.

    Spikes have the shape ``(..., in, k)``, weights and delays ``(out, in)``.
    """

    delay: Array
    """Seconds, >= 0, ``(out, in)``."""

    @property
    def axes(self) -> int:
        return 1

    def check(self, spikes: Array, weight: Array, validate: bool) -> None:
        check_weight(weight, spikes.shape[-2], spikes.dtype, values=validate)
        check_connection_delays(self.delay, weight, values=validate)

    def neurons(self, weight: Array) -> int:
        return weight.shape[0]

    def lists(self, spikes: Array) -> Array:
        return spikes + self.delay[:, None, :, None]

    def rows(self, weight: Array) -> Array:
        return weight[:, None]


def check_nothing_lost(connections: Connections | None, return_state: bool) -> None:
    """Check that no spikes are on their way at an end from which a run is to go on."""
    if return_state and getattr(connections, "delay", None) is not None:
        raise ValueError(
            "return_state=True does not go with delays of connections: spikes on their way at "
            "t_max would be lost. LIF and the like of torch_api keep them; elsewhere, add the "
            "delays to the spikes, with one input for each connection, and give those that arrive "
            "after t_max to the next piece"
        )


def _lists(
    owner: np.ndarray, other: np.ndarray, owners: int, absent: int
) -> tuple[np.ndarray, np.ndarray]:
    """Connections as a list for each at one end: the other ends, and which connections."""
    count = np.bincount(owner, minlength=owners)
    order = np.argsort(owner, kind="stable")
    begin = np.cumsum(count) - count
    rank = np.arange(len(owner)) - begin[owner[order]]
    shape = owners, int(count.max(initial=0))
    ends, place = np.full(shape, absent, np.int32), np.full(shape, len(owner), np.int32)
    ends[owner[order], rank] = other[order]
    place[owner[order], rank] = order
    return ends, place


def at_place(values: Array, place: Array | np.ndarray) -> Array:
    """``values[place]``, and 0 beyond their end."""
    return values.at[place].get(mode="fill", fill_value=0)


def _checked_pairs(pairs: np.ndarray, inputs: int, outputs: int) -> np.ndarray:
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(
            f"connections must be whole numbers of shape (connections, 2), neuron and input of "
            f"each, got {pairs.dtype} of shape {pairs.shape}; of a mask: np.argwhere(mask)"
        )
    wrong = (pairs < 0) | (pairs >= (outputs, inputs))
    if wrong.any():
        at = int(np.argwhere(wrong)[0, 0])
        raise ValueError(
            f"connections[{at}] = {tuple(pairs[at].tolist())} lies outside of {outputs} neurons "
            f"and {inputs} inputs"
        )
    unique, first = np.unique(pairs, axis=0, return_index=True)
    if len(unique) < len(pairs):
        at = int(np.setdiff1d(np.arange(len(pairs)), first)[0])
        raise ValueError(
            f"connections[{at}] = {tuple(pairs[at].tolist())} is there twice; each pair of neurons "
            f"has one connection, add up the weights"
        )
    return pairs.astype(np.int64)
