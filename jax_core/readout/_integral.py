"""The integral of a postsynaptic potential over a window, with an exponential weight.

With the rates ``a = 1/tau_mem``, ``b = 1/tau_syn`` and ``c = 1/tau_weight``, a spike ``U`` before
the end of the window contributes, times ``exp(-c t_spike)``,

    int_0^U kappa(u) exp(-c u) du = a / (b - a) [F(a + c) - F(b + c)],
    F(r) = (1 - exp(-r U)) / r.

The difference cancels for close rates and for short windows. With ``p`` the smaller and ``q`` the
larger of ``a + c`` and ``b + c`` it is

    a / q [ rise(p U) / p + U exp(-p U) lag((q - p) U) ],
    rise(x) = 1 - (1 + x) exp(-x),     lag(x) = 1 - (1 - exp(-x)) / x,

a sum of positive terms.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ..neuron._kernel import (
    DECAY_SERIES,
    SERIES_BELOW,
    power_series,
    relative_decay,
    relative_decay_slope,
)


@jax.custom_jvp
def rise(x: Array) -> Array:
    """``1 - (1 + x) exp(-x)`` for finite ``x >= 0``."""
    return -x * x * relative_decay_slope(x)


@rise.defjvp
def _rise_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (x_dot,) = primals, tangents
    return rise(x), x * jnp.exp(-x) * x_dot


@jax.custom_jvp
def lag(x: Array) -> Array:
    """``1 - (1 - exp(-x)) / x`` for finite ``x >= 0``, with ``lag(0) = 0``."""
    # 1 - g(x) loses digits where g(x) is near 1.
    small = jnp.minimum(x, SERIES_BELOW)
    series = -small * power_series(DECAY_SERIES[1:], small)
    return jnp.where(x < SERIES_BELOW, series, 1 - relative_decay(x))


@lag.defjvp
def _lag_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (x_dot,) = primals, tangents
    return lag(x), -relative_decay_slope(x) * x_dot


def psp_integral(
    time: Array,
    tau_mem: Array,
    tau_syn: Array,
    *,
    t_max: Array | None,
    tau_weight: Array | None,
) -> Array:
    """``int kappa(t - time) exp(-t/tau_weight) dt`` over ``[time, t_max]``; 0 for later spikes.

    ``None`` stands for infinity.
    """
    a, b = 1 / tau_mem, 1 / tau_syn
    c = 0 if tau_weight is None else 1 / tau_weight
    counts = time < jnp.inf if t_max is None else (time <= t_max) & (time < jnp.inf)
    time = jnp.where(counts, time, 0)
    membrane_is_slow = b >= a
    gap = jnp.where(membrane_is_slow, b - a, a - b)
    p = jnp.where(membrane_is_slow, a, b) + c
    q = p + gap
    if t_max is None:
        integral = a / (p * q)
    else:
        u = jnp.where(counts, t_max - time, 0)
        integral = a / q * (rise(p * u) / p + u * jnp.exp(-p * u) * lag(gap * u))
    return jnp.where(counts, integral * jnp.exp(-c * time), 0)


def weight_integral(t_max: Array | None, tau_weight: Array | None) -> Any:
    """``int_0^t_max exp(-t / tau_weight) dt``; ``None`` stands for infinity, in one of them."""
    if tau_weight is None or t_max is None:
        return tau_weight if t_max is None else t_max
    return -tau_weight * jnp.expm1(-t_max / tau_weight)
