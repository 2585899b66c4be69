"""Closed-form propagation of the membrane and the synaptic current between events.

With the voltage measured from the leak potential, a neuron obeys between two events

    tau_mem dV/dt = -V + I        tau_syn dI/dt = -I

and therefore ``V(u) = V(0) exp(-u/tau_mem) + I(0) kappa(u)`` with the postsynaptic potential

    kappa(u) = tau_syn / (tau_mem - tau_syn) (exp(-u/tau_mem) - exp(-u/tau_syn)).

That difference cancels where the two constants are close. Written with the slower constant
``tau_slow`` and the difference of the rates ``d = |1/tau_syn - 1/tau_mem|`` it is

    kappa(u) = (u/tau_mem) exp(-u/tau_slow) g(d u),        g(x) = (1 - exp(-x)) / x,

which is accurate to rounding for every ratio, equality included, and never overflows.
Only ratios of times enter, so the unit of time has no influence on accuracy.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

# Below this argument Taylor series replace closed forms, which cancel. With this many terms they
# are exact to rounding there.
SERIES_BELOW = 0.5
_DOUBLE_TERMS, _SINGLE_TERMS = 17, 9

DECAY_SERIES = [(-1) ** n / math.factorial(n + 1) for n in range(_DOUBLE_TERMS)]
"""Coefficients of `relative_decay` at 0."""
_SLOPE_SERIES = [n * coefficient for n, coefficient in enumerate(DECAY_SERIES)][1:]


def power_series(coefficients: list[float], x: Array) -> Array:
    """``sum_n coefficients[n] x**n``, to rounding for ``0 <= x <= SERIES_BELOW``."""
    total = jnp.zeros_like(x)
    for coefficient in reversed(coefficients[: _SINGLE_TERMS if x.dtype == jnp.float32 else None]):
        total = total * x + coefficient
    return total


@jax.custom_jvp
def relative_decay(x: ArrayLike) -> Array:
    """``g(x) = (1 - exp(-x)) / x`` for ``x >= 0``, with ``g(0) = 1``."""
    x = jnp.asarray(x)
    is_small = x < SERIES_BELOW
    # Closer than expm1(-x) / -x, which rounds twice, and faster.
    series = power_series(DECAY_SERIES, jnp.where(is_small, x, SERIES_BELOW))
    return jnp.where(is_small, series, (1 - jnp.exp(-x)) / jnp.where(is_small, 1, x))


def relative_decay_slope(x: Array) -> Array:
    """``g'(x) = (exp(-x) - g(x)) / x``, ``g'(0) = -1/2``."""
    is_small = x < SERIES_BELOW
    series = power_series(_SLOPE_SERIES, jnp.where(is_small, x, SERIES_BELOW))
    large = jnp.where(is_small, SERIES_BELOW, x)
    return jnp.where(is_small, series, (jnp.exp(-large) - relative_decay(large)) / large)


@relative_decay.defjvp
def _relative_decay_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (x_dot,) = primals, tangents
    return relative_decay(x), relative_decay_slope(x) * x_dot


class Propagator(NamedTuple):
    """How the state changes over a time ``u``: ``V <- membrane V + psp I``, ``I <- synapse I``."""

    membrane: Array
    """``exp(-u/tau_mem)``."""
    synapse: Array
    """``exp(-u/tau_syn)``."""
    psp: Array
    """``kappa(u)``."""


def propagator(u: Array, tau_mem: Array, tau_syn: Array) -> Propagator:
    """The closed-form propagation over a time ``u >= 0`` (finite; mask ``inf`` before the call).

    **Arguments:** ``u``, ``tau_mem`` and ``tau_syn`` broadcast against each other and share a
    unit of time.
    """
    difference = 1 / tau_syn - 1 / tau_mem
    # Not abs(): its derivative at 0 would drop one of the two one-sided derivatives, which agree.
    membrane_is_slow = difference >= 0
    gap = jnp.where(membrane_is_slow, difference, -difference) * u
    slow = jnp.exp(-u / jnp.where(membrane_is_slow, tau_mem, tau_syn))
    decay = relative_decay(gap)
    fast = slow * jnp.exp(-gap)
    return Propagator(
        membrane=jnp.where(membrane_is_slow, slow, fast),
        synapse=jnp.where(membrane_is_slow, fast, slow),
        psp=u / tau_mem * slow * decay,
    )
