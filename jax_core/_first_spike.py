"""Fast & Deep: the first spike as an explicit function of its causal inputs.

Given which inputs come before the spike (the causal set), the spike time solves

    v0 exp(-T/tau_mem) + sum_i w_i kappa(T - t_i) = v_threshold - v_leak,

in closed form for ``tau_mem = tau_syn`` (Lambert W) and ``tau_mem = 2 tau_syn`` (a quadratic), and
by the implicit function theorem for any ratio. Gradients follow by differentiating that expression;
they share nothing with the adjoint of `_eventprop` but the kernel.

Göltz et al. 2021, doi:10.1038/s42256-021-00388-x, eqs. 1-6 and methods.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._constants import Constants
from ._kernel import propagator

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
    event_weight: Array,
    spike: Array,
    floor: Array,
    constants: Constants,
    ratio: int | None,
) -> Array:
    """The first spike time, differentiable with respect to all that it depends on.

    Its first and second derivatives are those of the spike time.

    **Arguments:**

    - ``time``: input times, ``(batch, M)``, any order, ``inf`` where there is none.
    - ``event_weight``: their weights, ``(batch or 1, out, M)``.
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
    event = time[:, None, :]
    is_causal = (event <= origin[..., None]) & is_spike[..., None]
    age = jnp.where(is_causal, origin[..., None] - jnp.where(is_causal, event, 0), 0)
    weight = jnp.where(is_causal, event_weight, 0)
    solve = {1: _equal_time_constants, 2: _double_time_constant, None: _any_time_constants}[ratio]
    # Neurons that are silent get harmless numbers: nothing of theirs may turn into NaN.
    shift, v = solve(age, weight, origin, is_spike, constants)
    # At the very peak the closed forms have no slope left that could be bounded.
    bounded = (
        -constants.tau_mem * change_of(v - constants.threshold) / jnp.where(floor > 0, floor, 1)
    )
    shift = jnp.where(floor > 0, bounded, shift)
    return jnp.where(is_spike, origin + jnp.where(is_spike, shift, 0), jnp.inf)


Solution = tuple[Array, Array]
"""The shift of the spike from the origin, and the voltage at the origin, ``(batch, out)``."""


def _equal_time_constants(
    age: Array, weight: Array, origin: Array, is_spike: Array, constants: Constants
) -> Solution:
    """``(b + a s) exp(-s) = threshold`` with ``s`` the shift from the origin in ``tau``.

    Branch 0 is the earlier crossing, which rises if the threshold lies above the leak; tonically
    firing neurons may need the other branch, and get the implicit expression instead.
    """
    tau = constants.tau_syn
    is_published = is_spike & (constants.threshold > 0)
    decayed = weight * jnp.exp(-age / tau[..., None])
    a = jnp.where(is_published, jnp.sum(decayed, axis=-1), 1)
    b = jnp.where(is_published, jnp.sum(decayed * age, axis=-1) / tau, 0)
    threshold = jnp.where(constants.threshold > 0, constants.threshold, 0)
    closed = -tau * (b / a + lambert_w(-threshold / a * jnp.exp(-b / a)))
    general, v = _any_time_constants(age, weight, origin, is_spike, constants)
    return jnp.where(is_published, closed, general), v


def _double_time_constant(
    age: Array, weight: Array, origin: Array, is_spike: Array, constants: Constants
) -> Solution:
    """``a y - b y^2 = threshold`` with ``y = exp(-shift/tau_mem)``."""
    tau_mem = constants.tau_mem
    slow = jnp.exp(-age / tau_mem[..., None])
    a = jnp.sum(weight * slow, axis=-1) + constants.start * jnp.exp(-origin / tau_mem)
    b = jnp.sum(weight * jnp.exp(-age / constants.tau_syn[..., None]), axis=-1)
    v = a - b
    a = jnp.where(is_spike, a, 1)
    b = jnp.where(is_spike, b, 0)
    threshold = constants.threshold
    square = a * a - 4 * b * threshold
    root = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    upper = (a + root) / jnp.where(b == 0, 1, 2 * b)
    denominator = a - root
    lower = 2 * threshold / jnp.where(denominator == 0, 1, denominator)
    y = jnp.where(a > 0, upper, lower)
    return -tau_mem * jnp.log(jnp.where(is_spike & (y > 0), y, 1)), v


def _any_time_constants(
    age: Array, weight: Array, origin: Array, is_spike: Array, constants: Constants
) -> Solution:
    """One step of Halley's method from the spike itself: its value is 0, its first and second
    derivatives are the spike's."""
    tau_mem, tau_syn = constants.tau_mem, constants.tau_syn
    step = propagator(age, tau_mem[..., None], tau_syn[..., None])
    v = jnp.sum(weight * step.psp, axis=-1) + constants.start * jnp.exp(-origin / tau_mem)
    i = jnp.sum(weight * step.synapse, axis=-1)
    change = change_of(v - constants.threshold)
    # tau_mem V' and tau_mem V'' at the origin, where the voltage is threshold + change.
    slope = i - constants.threshold - change
    rises = slope > 0
    slope = jnp.where(rises, slope, 1)
    bend = lax.stop_gradient(slope / tau_mem + i / tau_syn) / slope
    shift = -tau_mem * change / slope
    return jnp.where(rises, shift + bend * shift * shift / 2, 0), v


def change_of(x: Array) -> Array:
    """0, with the derivatives of ``x``."""
    return x - lax.stop_gradient(x)
