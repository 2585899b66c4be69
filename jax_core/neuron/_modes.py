"""How a linear system of two variables moves under an exponential drive, oscillating or not.

The system ``x' = A x`` has the eigenvalues ``center +- sqrt(gap)``, complex where ``gap < 0``; the
drive decays with ``exp(rate u)``. All that can happen in a time ``u`` is made of

    E = exp(center u) cosh(sqrt(gap) u)         F = exp(center u) sinh(sqrt(gap) u) / sqrt(gap)
    P = int_0^u F(u - r) exp(rate r) dr         e = exp(rate u)

such as ``exp(A u) = E + F (A - center)``. ``F`` and ``P`` are divided differences of ``exp(x u)``
at two and at three points. Each is computed to rounding in a form that does not cancel, whichever
of the three rates are close or equal.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._kernel import relative_decay

_TERMS = 20


class Modes(NamedTuple):
    """``E``, ``F``, ``P`` and ``e``."""

    even: Array
    odd: Array
    driven: Array
    drive: Array


@jax.custom_jvp
def modes(u: Array, center: Array, gap: Array, rate: Array) -> Modes:
    """``E``, ``F``, ``P`` and ``e`` after a time ``u >= 0``; arguments broadcast.

    No exponent may grow: ``center + sqrt(gap) <= 0`` and ``rate <= 0``.
    """
    return _modes(u, center, gap, rate)


# A neuron looks ahead at a dozen places of its program; compiled functions are traced once.
@jax.jit
def _modes(u: Array, center: Array, gap: Array, rate: Array) -> Modes:
    root = jnp.sqrt(jnp.abs(gap))
    even, odd = _pair(u, center, gap, root)
    offset, drive = rate - center, jnp.exp(rate * u)
    is_small = (jnp.abs(offset) + root) * u <= 1
    scale = jnp.where(is_small, u, 0)
    series = u * u * jnp.exp(center * u) * _driven_series(gap * scale * scale, offset * scale)
    product = offset * offset - gap
    complex_ = (drive - even - offset * odd) / jnp.where(gap < 0, product, 1)
    driven = jnp.where(gap < 0, complex_, _of_three(u, center + root, center - root, rate))
    return Modes(even, odd, jnp.where(is_small, series, driven), drive)


def _pair(u: Array, center: Array, gap: Array, root: Array) -> tuple[Array, Array]:
    """``E`` and ``F``."""
    slow, turn = jnp.exp((center + root) * u), root * u
    decay = jnp.exp(center * u)
    wave = jnp.where(turn == 0, 1, jnp.sin(turn) / jnp.where(turn == 0, 1, turn))
    is_real = gap >= 0
    even = jnp.where(is_real, slow * (1 + jnp.exp(-2 * turn)) / 2, decay * jnp.cos(turn))
    odd = jnp.where(is_real, slow * relative_decay(2 * turn), decay * wave)
    return even, u * odd


def _of_three(u: Array, first: Array, second: Array, third: Array) -> Array:
    """The divided difference of ``exp(x u)`` at three points of which two are far from each other;
    ``first >= second``."""
    high, low = jnp.maximum(first, third), jnp.minimum(second, third)
    middle = jnp.maximum(jnp.minimum(first, third), second)

    def of_two(upper: Array, lower: Array) -> Array:
        return u * jnp.exp(upper * u) * relative_decay((upper - lower) * u)

    spread = high - low
    return (of_two(high, middle) - of_two(middle, low)) / jnp.where(spread == 0, 1, spread)


def _driven_series(square: Array, offset: Array) -> Array:
    """``sum_n h_n / (n + 2)!`` with the complete symmetric polynomials ``h_n`` of
    ``+-sqrt(square)`` and ``offset``, which are at most about 1."""
    total = jnp.zeros(jnp.broadcast_shapes(square.shape, offset.shape), square.dtype)
    h, power = jnp.zeros_like(total), jnp.ones_like(square)
    for n in range(_TERMS):
        h = offset * h + (power if n % 2 == 0 else 0)
        power = power * square if n % 2 == 0 else power
        total = total + h / float(math.factorial(n + 2))
    return total


def _by_doubling(u: Array, center: Array, gap: Array, rate: Array) -> tuple[Array, Array]:
    """``F`` and ``P`` from those of a short time, which is doubled: less exact where there are many
    time constants in ``u``, but with derivatives wherever rates are equal."""
    offset = rate - center
    size = lax.stop_gradient((jnp.abs(offset) + jnp.sqrt(jnp.abs(gap))) * u)
    doublings = jnp.ceil(jnp.log2(jnp.maximum(size, 1))).astype(jnp.int32)
    u = u * jnp.exp2(-doublings.astype(u.dtype))
    square, decay = gap * u * u, jnp.exp(center * u)
    even = sum(square**n / float(math.factorial(2 * n)) for n in range(_TERMS // 2))
    odd = sum(square**n / float(math.factorial(2 * n + 1)) for n in range(_TERMS // 2))
    shape = jnp.broadcast_shapes(u.shape, offset.shape, gap.shape)
    start = (
        decay * even,
        u * decay * odd,
        u * u * decay * _driven_series(square, offset * u),
        jnp.exp(rate * u),
    )

    def double(state: tuple) -> tuple:
        count, (even, odd, driven, drive) = state
        more = (
            even * even + gap * odd * odd,
            2 * even * odd,
            (even + offset * odd + drive) * driven + odd * odd,
            drive * drive,
        )
        now = (even, odd, driven, drive)
        goes_on = count < doublings
        return count + 1, tuple(jnp.where(goes_on, x, y) for x, y in zip(more, now, strict=True))

    most = jnp.max(doublings, initial=0)
    begin = jnp.int32(0), tuple(jnp.broadcast_to(x, shape) for x in start)
    _, (_, odd, driven, _) = lax.while_loop(lambda state: state[0] < most, double, begin)
    return odd, driven


@modes.defjvp
def _modes_jvp(primals: tuple, tangents: tuple) -> tuple[Modes, Modes]:
    u, center, gap, rate = primals
    of_u, of_center, of_gap, of_rate = tangents
    found = modes(*primals)
    even, odd, driven, drive = found
    odd_by_gap, driven_by_gap, driven_by_rate = _slopes(*primals)
    # Moving all rates by the same multiplies by exp(u ...).
    driven_by_center = u * driven - driven_by_rate
    return found, Modes(
        (center * even + gap * odd) * of_u + u * even * of_center + u * odd / 2 * of_gap,
        (even + center * odd) * of_u + u * odd * of_center + odd_by_gap * of_gap,
        (odd + rate * driven) * of_u
        + driven_by_center * of_center
        + driven_by_gap * of_gap
        + driven_by_rate * of_rate,
        drive * (rate * of_u + u * of_rate),
    )


@jax.jit
def _slopes(u: Array, center: Array, gap: Array, rate: Array) -> tuple[Array, Array, Array]:
    """``F`` by ``gap``, ``P`` by ``gap``, and ``P`` by ``rate``."""

    def doubled(gap: Array, rate: Array) -> tuple[Array, Array]:
        return _by_doubling(u, center, gap, rate)

    at = gap, rate
    one, none = (jnp.ones_like(x) for x in at), (jnp.zeros_like(x) for x in at)
    (one_gap, one_rate), (no_gap, no_rate) = one, none
    _, (odd_by_gap, driven_by_gap) = jax.jvp(doubled, at, (one_gap, no_rate))
    _, (_, driven_by_rate) = jax.jvp(doubled, at, (no_gap, one_rate))
    return odd_by_gap, driven_by_gap, driven_by_rate
