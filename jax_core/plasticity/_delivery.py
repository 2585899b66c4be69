"""What becomes of an eligibility by the rewards that come later, in closed form."""

import jax.numpy as jnp
from jax import Array

from ._traces import decay


def delivered(
    times: Array,
    rewards: Array,
    reward_times: Array,
    tau: Array | float,
    t_max: Array | float,
) -> Array:
    """Sum of the rewards from each time on, by what is left then of an eligibility from that time.

    **Arguments:** ``times``: any shape, where a rule changed an eligibility; ``rewards``,
    ``reward_times``: ``(R,)``; ``tau``: of the eligibility. Later rewards than ``t_max`` do not
    count.

    **Returns:** values of the shape of ``times``, meaningless where these are ``inf``.
    """
    times = times[..., None]
    counts = (times <= reward_times) & _happens(reward_times, t_max)
    left = decay(jnp.where(counts, reward_times - times, 0), tau)
    return jnp.where(counts, rewards * left, 0).sum(axis=-1)


def delivered_slowly(
    times: Array,
    rewards: Array,
    reward_times: Array,
    taus: tuple[Array | float, Array | float],
    t_max: Array | float,
) -> Array:
    """The same, of rewards that go on to act, with an exponential trace.

    Each gives the integral of eligibility times trace over the time in which there are both, up to
    ``t_max``.

    **Arguments:** ``taus``: of the eligibility and of the trace; others as in `delivered`.
    """
    tau, tau_reward = taus
    times = times[..., None]
    begin = jnp.maximum(times, reward_times)
    counts = _happens(reward_times, t_max) & jnp.isfinite(times)
    begin = jnp.where(counts, begin, 0)
    height = decay(begin - jnp.where(counts, times, 0), tau)
    height = height * decay(begin - jnp.where(counts, reward_times, 0), tau_reward)
    both = 1 / (1 / tau + 1 / tau_reward)
    area = -both * jnp.expm1(-jnp.maximum(t_max - begin, 0) / both)
    return jnp.where(counts, rewards * height * area, 0).sum(axis=-1)


def _happens(times: Array, t_max: Array | float) -> Array:
    return (times <= t_max) & jnp.isfinite(times)
