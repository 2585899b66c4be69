"""Roots of functions that are monotone between known points, for all neurons at once."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from .._anywhere import anywhere

_MAX_ITERATIONS = 100

Function = Callable[[Array], tuple[Array, Array]]
"""Value and derivative at a point."""


def root_between(
    function: Function, low: Array, high: Array, wanted: Array, rises: Array | bool
) -> Array:
    """The root of a function that is monotone from ``low`` to ``high``, to rounding.

    Newton's method from the middle, kept within the bracket by bisection.

    **Arguments:** ``wanted``: where the function has different signs at the ends, and its root is
    of interest; elsewhere the result is ``high``. ``rises``: where it grows from ``low`` to
    ``high``.
    """
    low, high = jnp.broadcast_arrays(low, high)
    eps = jnp.finfo(low.dtype).eps

    def iterate(state: tuple) -> tuple:
        count, u, below, above, running = state
        value, slope = function(u)
        is_below = (value < 0) == rises
        below, above = jnp.where(is_below, u, below), jnp.where(is_below, above, u)
        newton = u - value / jnp.where(slope == 0, 1, slope)
        inside = (slope != 0) & (newton > below) & (newton < above)
        following = jnp.where(inside, newton, (below + above) / 2)
        running &= (jnp.abs(following - u) > eps * u) & (value != 0)
        return count + 1, jnp.where(running, following, u), below, above, running

    start = jnp.int32(0), jnp.where(wanted, (low + high) / 2, high), low, high, wanted
    final = lax.while_loop(
        lambda state: (state[0] < _MAX_ITERATIONS) & anywhere(jnp.any(state[-1])), iterate, start
    )
    return final[1]


def roots_of_exponentials(
    factors: list[Array], rates: list[Array], end: Array, wanted: Array
) -> list[Array]:
    """Points in ``[0, end]``, ascending, among which are all roots of a sum of exponentials there.

    ``sum_k factors[k] exp(-rates[k] u)`` has one root less than terms at most: times
    ``exp(rates[0] u)``, its derivative is such a sum with one term less (Rolle).
    """
    if len(factors) < 2:
        return []
    relative = [rate - rates[0] for rate in rates[1:]]
    turns = roots_of_exponentials(
        [factor * rate for factor, rate in zip(factors[1:], relative, strict=True)],
        relative,
        end,
        wanted,
    )

    def scaled(u: Array) -> tuple[Array, Array]:
        # Scaled by what keeps all exponents below 0, so that nothing overflows.
        slowest = rates[0]
        for rate in rates[1:]:
            slowest = jnp.minimum(slowest, rate)
        terms = [f * jnp.exp((slowest - r) * u) for f, r in zip(factors, rates, strict=True)]
        slopes = [(rates[0] - r) * term for r, term in zip(rates, terms, strict=True)]
        value, slope = terms[0], slopes[0]
        for term, change in zip(terms[1:], slopes[1:], strict=True):
            value, slope = value + term, slope + change
        return value, slope

    return roots_between_turns(scaled, turns, end, wanted)


def roots_between_turns(
    function: Function, turns: list[Array], end: Array, wanted: Array
) -> list[Array]:
    """A function's roots in ``[0, end]``, ascending: one at most before, between and after its
    ``turns``; ``end`` of such a piece in place of an absent one."""
    low = jnp.zeros_like(end)
    below = function(low)[0] < 0
    found = []
    for high in [*turns, end]:
        below_then = function(high)[0] < 0
        changes = wanted & (below != below_then)
        found.append(root_between(function, low, high, changes, rises=below))
        low, below = high, below_then
    return found
