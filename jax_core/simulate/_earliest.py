"""The earliest threshold crossing in a population of neurons that are all at the same time.

Whether a neuron crosses the threshold before a given time is decided in closed form for all of
them; the time itself is solved for only where it matters. The neuron that a first guess puts
earliest is solved for first; from then on only those that cross even earlier are of interest,
mostly none.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..neuron._crossing import (
    Turn,
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
    neurons = _Neurons.of(population, now, end, constants, is_double)
    able, _ = neurons.crosses(neurons.u_end)
    no = jnp.zeros(able.shape, bool)
    start = _Search(jnp.full(able.shape, jnp.inf, population.v.dtype), no, able, no)
    crossing, _, _, touches = lax.while_loop(
        lambda search: jnp.any(search.wanted), partial(neurons.solve, able), start
    )
    first, until = neurons.first_of(crossing)
    return jnp.where(touches | (crossing <= until), first, jnp.inf)


@dataclass(frozen=True, eq=False)
class _Neurons:
    """All neurons in the interval to look at, with the steps of the search."""

    population: Population
    now: Array
    u_end: Array
    """From now to the interval's end, ``(batch, 1)``."""
    constants: Constants
    is_double: bool
    turn: Turn | None
    guess: Array
    """When about each would cross, if it does."""

    @classmethod
    def of(
        cls, population: Population, now: Array, end: Array, constants: Constants, is_double: bool
    ) -> "_Neurons":
        v, i, wait, _ = population
        c = constants
        if is_double:
            turn = None
            guess = double_time_constant_root(v, i, c.threshold, c.tau_mem)
        else:
            turn = find_turn(v, i, c.tau_mem, c.tau_syn)
            peak = jnp.where(turn.is_maximum, turn.u, jnp.inf)
            guess = first_guess(v, i, peak, c.threshold, c.tau_mem, c.tau_syn)
        # Finite, so that the least of those that cross is one of them.
        guess = jnp.minimum(wait + guess, jnp.finfo(v.dtype).max)
        return cls(population, now, (end - now)[:, None], c, is_double, turn, guess)

    def crosses(self, limit: Array) -> tuple[Array, Array]:
        """Whether neurons cross before ``limit``; whether they rise through the threshold there, as
        far as rounding of the voltage lets one know."""
        v, i, wait, able = self.population
        c, threshold = self.constants, self.constants.threshold
        u = limit - wait
        is_finite = (u > 0) & jnp.isfinite(u)
        step = propagator(jnp.where(is_finite, u, 0), c.tau_mem, c.tau_syn)
        v_end, i_end = advance(v, i, step)
        rounding, _ = advance(jnp.abs(v), jnp.abs(i), step)
        rounding = _VOLTAGE_ROUNDING * jnp.finfo(v.dtype).eps * (rounding + jnp.abs(threshold))
        touches = is_finite & (jnp.abs(v_end - threshold) <= rounding) & (i_end > v_end)
        v_end = jnp.where(is_finite, v_end, 0)
        if self.turn is None:
            decay = jnp.exp(-jnp.maximum(u, 0) / c.tau_mem)
            exists = crosses_double(v, i, decay, v_end, threshold)
        else:
            exists = bracket_within(self.turn, u, v_end, threshold).exists
        return able & (u > 0) & exists, touches

    def first_of(self, crossing: Array) -> tuple[Array, Array]:
        """The first crossing, and until when others are one moment with it."""
        first = jnp.min(crossing, axis=1, initial=jnp.inf, keepdims=True)
        eps = jnp.finfo(crossing.dtype).eps
        return first, first + 4 * eps * (self.now[:, None] + first)

    def solve(self, able: Array, search: _Search) -> _Search:
        """Solve for the wanted crossing that a guess puts earliest, of those that are ``able``."""
        crossing, solved, wanted, _ = search
        n = jnp.argmin(jnp.where(wanted, self.guess, jnp.inf), axis=1)
        chosen = jnp.any(wanted, axis=1)
        begin, u = self.crossing_of(n, chosen)
        here = chosen[:, None] & (jnp.arange(wanted.shape[1]) == n[:, None])
        crossing = jnp.where(here, (begin + u)[:, None], crossing)
        solved |= here
        _, until = self.first_of(crossing)
        earlier, touches = self.crosses(jnp.minimum(until, self.u_end))
        return _Search(crossing, solved, earlier & ~solved, touches & able)

    def crossing_of(self, n: Array, exists: Array) -> tuple[Array, Array]:
        """Of neuron ``n``, ``(batch,)``: when its state holds, and the time from then on."""
        v, i, wait, _ = self.population
        c = self.constants
        samples = jnp.arange(v.shape[0])

        def one(x: Array) -> Array:
            return jnp.broadcast_to(x, v.shape)[samples, n]

        begin = one(wait)
        state = one(v), one(i), one(c.threshold), one(c.tau_mem), one(c.tau_syn)
        return begin, _crossing_of_one(*state, self.u_end[:, 0] - begin, exists, self.is_double)


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
