"""The first rise of a voltage through the threshold, along pieces on which it is monotone."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ._protocol import Neuron
from ._root import root_between


class Rise(NamedTuple):
    """Between which times the voltage rises through the threshold."""

    exists: Array
    low: Array
    high: Array


class Pieces(NamedTuple):
    """How far the search is."""

    rise: Rise
    begin: Array
    """Of the next piece."""
    v: Array
    """The voltage there."""


def no_rise(v: Array, end: Array) -> Pieces:
    """Before the first piece, which begins with voltage ``v`` at time 0."""
    zero = jnp.zeros(v.shape, v.dtype)
    return Pieces(Rise(jnp.zeros(v.shape, bool), zero, end), zero, v)


def look_at_piece(
    pieces: Pieces, turn: Array, v_turn: Array, end: Array, threshold: Array
) -> Pieces:
    """Go through the piece up to ``turn``; at the very ``end`` a crossing is left to the next
    interval."""
    (exists, low, high), begin, v_begin = pieces
    over = (v_turn > threshold) | ((v_turn == threshold) & (turn < end))
    # Where it begins over the threshold, if only by rounding, a rise crosses at once.
    here = ~exists & over & (v_turn > v_begin)
    low, high = jnp.where(here, begin, low), jnp.where(here, turn, high)
    return Pieces(Rise(exists | here, low, high), turn, v_turn)


def crossing_of(neuron: Neuron[Any], state: Any, found: Rise) -> Array:
    """When the voltage rises through the threshold, 0 where it does not."""

    def function(u: Array) -> tuple[Array, Array]:
        there = neuron.go(state, neuron.flow(u))
        return neuron.excess(there), neuron.slope(there)

    u = root_between(function, found.low, found.high, found.exists, rises=True)
    return jnp.where(found.exists, u, 0)


def highest_of(neuron: Neuron[Any], state: Any, points: list[Array]) -> Array:
    """That of time 0 and some others, ascending, at which the excess is highest; the first of
    equal ones."""
    most = neuron.excess(state)
    at = jnp.zeros_like(most)
    for point in points:
        there = neuron.excess(neuron.go(state, neuron.flow(point)))
        at = jnp.where(there > most, point, at)
        most = jnp.maximum(there, most)
    return at
