"""The first threshold crossing after a given state, to float precision and never missed.

Between two events the voltage has at most one turning point, known in closed form. It splits the
interval into monotone pieces, so that comparing the voltage at their ends with the threshold
decides whether a crossing exists, and brackets it. No time grid is involved.

Voltages are measured from the leak potential here: ``threshold = v_threshold - v_leak``.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .._anywhere import anywhere
from ._kernel import Propagator, propagator

_MAX_ITERATIONS = 100


class Bracket(NamedTuple):
    """A crossing of the threshold from below, enclosed between two times after the state's."""

    exists: Array
    low: Array
    high: Array
    turn: Array
    """Time of the voltage's maximum, ``inf`` where it has none ahead."""


def advance(v: Array, i: Array, step: Propagator) -> tuple[Array, Array]:
    """The state after the time that ``step`` was made for, if no event falls into it."""
    return step.membrane * v + step.psp * i, step.synapse * i


class Turn(NamedTuple):
    """The voltage's one turning point after the state's time, if it has one."""

    u: Array
    """Its time; 0 where there is none."""
    v: Array
    """The voltage there."""
    is_maximum: Array
    is_minimum: Array
    rising: Array
    """Whether the voltage rises at first."""


def find_turn(v: Array, i: Array, tau_mem: Array, tau_syn: Array) -> Turn:
    """The turning point of the voltage after a state with voltage ``v`` and current ``i``."""
    # dV/du = 0 where exp(|d| u) = 1 + |ratio| relative, d = 1/tau_syn - 1/tau_mem. Two forms of
    # that equation: neither cancels on its side, and both have the limit of equal time constants.
    ratio = tau_mem / tau_syn - 1
    slope = i - v
    scale = jnp.where(ratio >= 0, ratio * v + i, tau_mem / tau_syn * i)
    rising = slope > 0
    is_maximum = rising & (i > 0) & (scale > 0)
    is_minimum = ~rising & (i < 0) & (scale < 0)
    has_turn = is_maximum | is_minimum
    relative = jnp.where(has_turn, slope, 0) / jnp.where(has_turn, scale, 1)
    size = jnp.abs(ratio)
    u = tau_mem * jnp.where(
        size == 0, relative, jnp.log1p(size * relative) / jnp.where(size == 0, 1, size)
    )
    # At a turning point V = I.
    return Turn(u, i * jnp.exp(-u / tau_syn), is_maximum, is_minimum, rising)


def bracket_within(turn: Turn, u_end: Array, v_end: Array, threshold: Array) -> Bracket:
    """`find_bracket`, with the turning point known."""
    turns = turn.u < u_end
    has_peak = turn.is_maximum & turns
    reaches = jnp.where(has_peak, turn.v >= threshold, v_end > threshold)
    return Bracket(
        exists=reaches & jnp.where(turn.is_minimum, turns, turn.rising),
        low=jnp.where(turn.is_minimum, turn.u, 0),
        high=jnp.where(has_peak, turn.u, u_end),
        turn=jnp.where(turn.is_maximum, turn.u, jnp.inf),
    )


def find_bracket(
    v: Array,
    i: Array,
    u_end: Array,
    v_end: Array,
    threshold: Array,
    tau_mem: Array,
    tau_syn: Array,
) -> Bracket:
    """Decide whether the voltage crosses the threshold within ``[0, u_end)``.

    **Arguments:**

    - ``v``, ``i``: voltage and current at time 0.
    - ``u_end``: length of the interval; ``inf`` when no further event comes.
    - ``v_end``: voltage at its end (0, the rest, at ``inf``).

    A crossing exactly at ``u_end`` is left to the next interval: arrivals come before crossings.
    """
    return bracket_within(find_turn(v, i, tau_mem, tau_syn), u_end, v_end, threshold)


def crosses_double(v: Array, i: Array, decay: Array, v_end: Array, threshold: Array) -> Array:
    """What `find_bracket` says of existence, for ``tau_mem = 2 tau_syn``, by arithmetic alone.

    There the voltage is a parabola in ``y = exp(-u/tau_mem)``, which falls from 1 to ``decay`` at
    the interval's end: ``V = (v + i) y - i y^2``, with its turning point at ``y = (v + i) / 2 i``.
    """
    total = v + i
    rising = i > v
    y = total / jnp.where(i == 0, 1, 2 * i)
    is_maximum = rising & (i > 0) & (total > 0)
    is_minimum = ~rising & (i < 0) & (total < 0)
    turns = y > decay
    reaches = jnp.where(is_maximum & turns, i * y * y >= threshold, v_end > threshold)
    return reaches & jnp.where(is_minimum, turns, rising)


def first_guess(
    v: Array, i: Array, turn: Array, threshold: Array, tau_mem: Array, tau_syn: Array
) -> Array:
    """A start for Newton's method, below the crossing wherever the voltage has a maximum.

    ``turn`` is the maximum's time, ``inf`` where there is none.

    Up to its maximum the voltage is concave. Both its tangent at 0 and the parabola that
    osculates it at the maximum lie above it there, so they reach the threshold too early.
    """
    tangent = tau_mem * (threshold - v) / jnp.where(i > v, i - v, 1)
    has_turn = jnp.isfinite(turn)
    turn = jnp.where(has_turn, turn, 0)
    v_turn = jnp.where(has_turn, i * jnp.exp(-turn / tau_syn), 1)
    excess = jnp.maximum(1 - threshold / jnp.where(v_turn == 0, 1, v_turn), 0)
    parabola = turn - jnp.sqrt(2 * tau_mem * tau_syn * excess)
    return jnp.maximum(tangent, jnp.where(has_turn, parabola, 0))


def double_time_constant_root(v: Array, i: Array, threshold: Array, tau_mem: Array) -> Array:
    """The crossing for ``tau_mem = 2 tau_syn``, where it solves a quadratic in ``exp(-u/tau_mem)``.

    Göltz et al. 2021, doi:10.1038/s42256-021-00388-x, methods.
    """
    total = v + i
    root = jnp.sqrt(jnp.maximum(total * total - 4 * i * threshold, 0))
    # Two forms of the same root, each free of cancellation on its side.
    upper = (total + root) / jnp.where(i == 0, 1, 2 * i)
    denominator = total - root
    lower = 2 * threshold / jnp.where(denominator == 0, 1, denominator)
    y = jnp.where(total > 0, upper, lower)
    return -tau_mem * jnp.log(jnp.where(y > 0, y, 1))


def _latest_crossing(v: Array, i: Array, threshold: Array, tau_mem: Array, tau_syn: Array) -> Array:
    """A time by which a voltage that only its leak drives over a negative threshold has crossed.

    Beyond it ``|V|``, bounded by the envelope of its two exponentials, stays below ``|threshold|``.
    """
    slow = jnp.maximum(tau_mem, tau_syn)
    # kappa(u) <= (u/tau_mem) exp(-u/slow) <= 2 slow/(e tau_mem) exp(-u/(2 slow)), and 2/e < 1.
    envelope = jnp.abs(v) + jnp.abs(i) * slow / tau_mem
    size = jnp.where(threshold < 0, -threshold, 1)
    return 2 * slow * jnp.log(jnp.maximum(envelope / size, 1)) + slow


def solve_crossing(
    v: Array,
    i: Array,
    bracket: Bracket,
    threshold: Array,
    tau_mem: Array,
    tau_syn: Array,
    is_double: bool,
) -> Array:
    """The time of the bracketed crossing by safeguarded Newton iteration; 0 where none exists.

    ``is_double`` states that ``tau_mem = 2 tau_syn`` for every neuron, which has a closed form.
    """
    latest = bracket.low + _latest_crossing(v, i, threshold, tau_mem, tau_syn)
    high = jnp.where(jnp.isfinite(bracket.high), bracket.high, latest)
    low, high = (jnp.where(bracket.exists, x, 0) for x in (bracket.low, high))
    if is_double:
        guess = double_time_constant_root(v, i, threshold, tau_mem)
    else:
        guess = first_guess(v, i, bracket.turn, threshold, tau_mem, tau_syn)
    eps = jnp.finfo(v.dtype).eps

    def is_running(state: tuple) -> Array:
        iteration, *_, running = state
        return (iteration < _MAX_ITERATIONS) & anywhere(jnp.any(running))

    def iterate(state: tuple) -> tuple:
        iteration, u, low, high, running = state
        step = propagator(u, tau_mem, tau_syn)
        v_u, i_u = advance(v, i, step)
        # The rounding error of the voltage: no iteration gets below it.
        size, _ = advance(jnp.abs(v), jnp.abs(i), step)
        noise = 2 * eps * (size + jnp.abs(threshold))
        excess = v_u - threshold
        low = jnp.where(running & (excess < 0), u, low)
        high = jnp.where(running & (excess >= 0), u, high)
        slope = i_u - v_u
        newton = u - tau_mem * excess / jnp.where(slope > 0, slope, 1)
        inside = (slope > 0) & (newton >= low) & (newton <= high)
        arrived = inside & (jnp.abs(excess) <= noise)
        # Where the voltage grazes the threshold, its slope is noise and a step may lead anywhere.
        wild = arrived & ((newton - u) ** 2 > eps * tau_mem * tau_syn)
        following = jnp.where(wild, u, jnp.where(inside, newton, (low + high) / 2))
        settled = arrived | (jnp.abs(following - u) <= 2 * eps * u)
        return iteration + 1, jnp.where(running, following, u), low, high, running & ~settled

    start = jnp.clip(guess, low, high)
    _, u, *_ = lax.while_loop(
        is_running, iterate, (jnp.asarray(0), start, low, high, bracket.exists)
    )
    return u
