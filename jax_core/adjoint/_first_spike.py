"""Fast & Deep: the first spike as an explicit function of its causal inputs.

Given which inputs come before the spike (the causal set), the spike time solves

    v0 exp(-T/tau_mem) + sum_i w_i kappa(T - t_i) = v_threshold - v_leak,

in closed form for ``tau_mem = tau_syn`` (Lambert W) and ``tau_mem = 2 tau_syn`` (a quadratic), and
by the implicit function theorem for any ratio. Gradients follow by differentiating that expression;
they share nothing with the adjoint of `_eventprop` but the kernel.

Göltz et al. 2021, doi:10.1038/s42256-021-00388-x, eqs. 1-6 and methods.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..readout._state_at import state_at

_LAMBERT_ITERATIONS = 12


@jax.custom_jvp
def lambert_w(z: Array) -> Array:
    """The principal branch of Lambert's W for ``z >= -1/e``: ``W exp(W) = z``, ``W >= -1``.

    Halley's iteration, Corless et al. 1996, doi:10.1007/BF02124750, section 5.
    """
    z = jnp.maximum(z, -jnp.exp(-1.0).astype(z.dtype))
    near_branch_point = jnp.sqrt(jnp.maximum(2 * (jnp.e * z + 1), 0))
    w = jnp.where(
        z < 0.5,
        -1 + near_branch_point * (1 - near_branch_point / 3),
        jnp.log1p(jnp.maximum(z, 0)),
    )
    for _ in range(_LAMBERT_ITERATIONS):
        exponential = jnp.exp(w)
        excess = w * exponential - z
        above = w + 1
        safe = jnp.where(above > 0, above, 1)
        step = excess / (exponential * safe - (w + 2) * excess / (2 * safe))
        w = jnp.where(above > 0, w - step, w)
    return w


@lambert_w.defjvp
def _lambert_w_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (z,), (z_dot,) = primals, tangents
    w = lambert_w(z)
    slope = jnp.exp(w) * (1 + w)
    return w, z_dot / jnp.where(slope == 0, 1, slope)


def first_spike_time(
    time: Array,
    pre: Array,
    weight: Array,
    spike: Array,
    floor: Array,
    constants: Constants,
    ratio: int | None,
) -> Array:
    """The first spike time, differentiable with respect to all that it depends on.

    Its first and second derivatives are those of the spike time.

    **Arguments:**

    - ``time``: input times, ``(batch, M)``, first to last, ``inf`` where there is none.
    - ``pre``: the input neurons that they come from, ``(batch, M)``.
    - ``weight``: ``(out, in)``.
    - ``spike``: the simulated spike times ``(batch, out)``; they tell the causal sets, and serve
      as the origin of time that keeps the exponentials near 1.
    - ``floor``: ``(batch, out)``; where a spike grazes the threshold, the slope
      ``tau_mem dV/dt`` to divide by in place of its own, else 0.
    - ``ratio``: 1 or 2 where ``tau_mem`` is that multiple of ``tau_syn`` for every neuron, else
      ``None``.

    **Returns:** spike times ``(batch, out)``, ``inf`` where there is no spike.
    """
    is_spike = jnp.isfinite(spike)
    origin = lax.stop_gradient(jnp.where(is_spike, spike, 0))
    at = jnp.where(is_spike, origin, -jnp.inf)
    last = jax.vmap(partial(jnp.searchsorted, side="right"))(lax.stop_gradient(time), at) - 1
    taus = constants.tau_mem, constants.tau_syn
    from_input, i = state_at(origin, last.astype(jnp.int32), time, pre, weight, *taus)
    v = from_input + constants.start * jnp.exp(-origin / constants.tau_mem)
    # Neurons that are silent get harmless numbers: nothing of theirs may turn into NaN.
    if ratio == 1:
        shift = _equal_time_constants(from_input, v, i, is_spike, constants)
    elif ratio == 2:
        shift = _double_time_constant(v, i, is_spike, constants)
    else:
        shift = _any_time_constants(v, i, constants)
    # At the very peak the closed forms have no slope left that could be bounded.
    bounded = (
        -constants.tau_mem * change_of(v - constants.threshold) / jnp.where(floor > 0, floor, 1)
    )
    shift = jnp.where(floor > 0, bounded, shift)
    return jnp.where(is_spike, origin + jnp.where(is_spike, shift, 0), jnp.inf)


def _equal_time_constants(
    b: Array, v: Array, i: Array, is_spike: Array, constants: Constants
) -> Array:
    """The shift from the origin: ``(b + i s) exp(-s) = threshold``, with ``s`` the shift in ``tau``
    and ``b`` the voltage that the input has raised.

    Branch 0 is the earlier crossing, which rises if the threshold lies above the leak; tonically
    firing neurons may need the other branch, and get the implicit expression instead.
    """
    is_published = is_spike & (constants.threshold > 0)
    a = jnp.where(is_published, i, 1)
    b = jnp.where(is_published, b, 0)
    threshold = jnp.where(constants.threshold > 0, constants.threshold, 0)
    closed = -constants.tau_syn * (b / a + lambert_w(-threshold / a * jnp.exp(-b / a)))
    return jnp.where(is_published, closed, _any_time_constants(v, i, constants))


def _double_time_constant(v: Array, i: Array, is_spike: Array, constants: Constants) -> Array:
    """The shift from the origin: ``(v + i) y - i y^2 = threshold``, ``y = exp(-shift/tau_mem)``."""
    a = jnp.where(is_spike, v + i, 1)
    b = jnp.where(is_spike, i, 0)
    threshold = constants.threshold
    square = a * a - 4 * b * threshold
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    upper = (a + root) / jnp.where(b == 0, 1, 2 * b)
    denominator = a - root
    lower = 2 * threshold / jnp.where(denominator == 0, 1, denominator)
    y = jnp.where(a > 0, upper, lower)
    return -constants.tau_mem * jnp.log(jnp.where(is_spike & (y > 0), y, 1))


def _any_time_constants(v: Array, i: Array, constants: Constants) -> Array:
    """The shift from the origin: one step of Halley's method from the spike itself, whose value is
    0 and whose first and second derivatives are the spike's."""
    tau_mem, tau_syn = constants.tau_mem, constants.tau_syn
    change = change_of(v - constants.threshold)
    # tau_mem V' and tau_mem V'' at the origin, where the voltage is threshold + change.
    slope = i - constants.threshold - change
    rises = slope > 0
    slope = jnp.where(rises, slope, 1)
    bend = lax.stop_gradient(slope / tau_mem + i / tau_syn) / slope
    shift = -tau_mem * change / slope
    return jnp.where(rises, shift + bend * shift * shift / 2, 0)


def change_of(x: Array) -> Array:
    """0, with the derivatives of ``x``."""
    return x - lax.stop_gradient(x)
