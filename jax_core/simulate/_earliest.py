"""The earliest threshold crossing in a population of neurons that are all at the same time.

Whether a neuron crosses the threshold before a given time is decided in closed form for all of
them; the time itself is solved for only where it matters. The neuron that a first guess puts
earliest is solved for first; from then on only those that cross even earlier are of interest,
mostly none.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..neuron._crossing import (
    advance,
    bracket_within,
    crosses_double,
    double_time_constant_root,
    find_bracket,
    find_turn,
    first_guess,
    solve_crossing,
)
from ..neuron._kernel import propagator

# The error of a voltage that comes about through several events, in units of rounding.
_VOLTAGE_ROUNDING = 16


class Population(NamedTuple):
    """The state of all neurons, ``(batch, out)`` each, voltages measured from the leak."""

    v: Array
    i: Array
    wait: Array
    """Time from now until the state holds: the rest of the refractory period, mostly 0."""
    able: Array
    """Whether the neuron may spike."""


class _Search(NamedTuple):
    """How far the search for the first crossing is, ``(batch, out)`` each."""

    crossing: Array
    """``inf`` where it is not solved for."""
    solved: Array
    wanted: Array
    """Which may still be the first."""
    touches: Array
    """Which cross in the moment of the first as far as rounding lets one know."""


def earliest_crossings(
    population: Population, now: Array, end: Array, constants: Constants, is_double: bool
) -> Array:
    """When from ``now`` on the first neurons spike, ``(batch, out)``; ``inf`` for all others.

    Crossings within floating-point rounding of the first, of time or of the voltage, are one moment
    with it: equal neurons spike together, however close they graze the threshold.

    **Arguments:** ``now``, ``end``: the interval to look at, ``(batch,)``; a crossing at its end
    is left to the next. ``is_double`` states that ``tau_mem = 2 tau_syn``.
    """
    v, i, wait, able = population
    shape, dtype = v.shape, v.dtype
    tau_mem, tau_syn, threshold = constants.tau_mem, constants.tau_syn, constants.threshold
    samples, neurons = jnp.arange(shape[0]), jnp.arange(shape[1])
    u_end = (end - now)[:, None]
    turn = None if is_double else find_turn(v, i, tau_mem, tau_syn)
    if turn is None:
        guess = double_time_constant_root(v, i, threshold, tau_mem)
    else:
        peak = jnp.where(turn.is_maximum, turn.u, jnp.inf)
        guess = first_guess(v, i, peak, threshold, tau_mem, tau_syn)
    # Finite, so that the least of those that cross is one of them.
    guess = jnp.minimum(wait + guess, jnp.finfo(dtype).max)

    def crosses(limit: Array) -> tuple[Array, Array]:
        """Whether neurons cross before ``limit``; whether they rise through the threshold there, as
        far as rounding of the voltage lets one know."""
        u = limit - wait
        is_finite = (u > 0) & jnp.isfinite(u)
        step = propagator(jnp.where(is_finite, u, 0), tau_mem, tau_syn)
        v_end, i_end = advance(v, i, step)
        rounding, _ = advance(jnp.abs(v), jnp.abs(i), step)
        rounding = _VOLTAGE_ROUNDING * jnp.finfo(dtype).eps * (rounding + jnp.abs(threshold))
        touches = is_finite & (jnp.abs(v_end - threshold) <= rounding) & (i_end > v_end)
        v_end = jnp.where(is_finite, v_end, 0)
        if turn is None:
            exists = crosses_double(v, i, jnp.exp(-jnp.maximum(u, 0) / tau_mem), v_end, threshold)
        else:
            exists = bracket_within(turn, u, v_end, threshold).exists
        return able & (u > 0) & exists, touches

    def first_of(crossing: Array) -> tuple[Array, Array]:
        """The first crossing, and until when others are one moment with it."""
        first = jnp.min(crossing, axis=1, initial=jnp.inf, keepdims=True)
        return first, first + 4 * jnp.finfo(dtype).eps * (now[:, None] + first)

    able_to_cross, _ = crosses(u_end)

    def solve(loop: _Search) -> _Search:
        crossing, solved, wanted, _ = loop
        n = jnp.argmin(jnp.where(wanted, guess, jnp.inf), axis=1)
        chosen = jnp.any(wanted, axis=1)

        def one(x: Array) -> Array:
            return jnp.broadcast_to(x, shape)[samples, n]

        begin = one(wait)
        u = _crossing_of_one(
            one(v),
            one(i),
            one(threshold),
            one(tau_mem),
            one(tau_syn),
            end - now - begin,
            chosen,
            is_double,
        )
        here = chosen[:, None] & (neurons == n[:, None])
        crossing = jnp.where(here, (begin + u)[:, None], crossing)
        solved |= here
        _, until = first_of(crossing)
        earlier, touches = crosses(jnp.minimum(until, u_end))
        return _Search(crossing, solved, earlier & ~solved, touches & able_to_cross)

    no = jnp.zeros(shape, bool)
    start = _Search(jnp.full(shape, jnp.inf, dtype), no, able_to_cross, no)
    crossing, _, _, touches = lax.while_loop(lambda loop: jnp.any(loop.wanted), solve, start)
    first, until = first_of(crossing)
    return jnp.where(touches | (crossing <= until), first, jnp.inf)


def _crossing_of_one(
    v: Array,
    i: Array,
    threshold: Array,
    tau_mem: Array,
    tau_syn: Array,
    u_end: Array,
    exists: Array,
    is_double: bool,
) -> Array:
    """The crossing of one neuron per sample, ``(batch,)``, where one is known to exist."""
    is_finite = jnp.isfinite(u_end)
    v_end, _ = advance(v, i, propagator(jnp.where(is_finite, u_end, 0), tau_mem, tau_syn))
    rest = jnp.where(is_finite, v_end, 0)
    bracket = find_bracket(v, i, u_end, rest, threshold, tau_mem, tau_syn)
    # All neurons together decided; another rounding here must not undo it.
    bracket = bracket._replace(exists=exists)
    return solve_crossing(v, i, bracket, threshold, tau_mem, tau_syn, is_double)
