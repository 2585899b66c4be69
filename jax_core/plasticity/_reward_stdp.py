"""Reward-modulated spike-timing-dependent plasticity."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ._delivery import delivered, delivered_slowly
from ._fields import check_choice, check_fields
from ._pair_stdp import Pairing
from ._pairs import end_state, pair_change, pair_traces
from ._rule import Rule, Sample
from ._state import PlasticityState
from ._traces import decay

_NUMBERS = (
    *("a_plus", "a_minus", "tau_plus", "tau_minus", "tau_eligibility", "tau_reward"),
    *("w_min", "w_max"),
)


@partial(jax.tree_util.register_dataclass, data_fields=_NUMBERS, meta_fields=["pairing"])
@dataclasses.dataclass(frozen=True)
class RewardSTDP(Rule):
    """STDP that is remembered by each connection, until a reward makes it a change of the weight.

        de/dt = -e / tau_eligibility + STDP(t)      dw/dt = e(t) R(t)

    ``STDP(t)`` are the jumps of an additive `PairSTDP`. ``R(t)`` are the rewards: jumps by ``reward
    e`` (of the eligibility after the spikes of that very time); or, with ``tau_reward``, a trace to
    which each reward adds its value and which decays, as dopamine does.

    **Call:** ``reward``: one per sample, ``(...)``, which comes at ``t_max``, or a number for all;
    with ``reward_times``, seconds, ``(..., R)``, those of them, of the same shape, in any order,
    ``inf`` for none.

    **Fields:**

    - ``a_plus``, ``a_minus``, ``tau_plus``, ``tau_minus``, ``pairing``: as in `PairSTDP`.
    - ``tau_eligibility``: seconds, > 0; ``inf``: nothing is forgotten.
    - ``tau_reward``: ``None``: a reward acts at once; or its time constant, seconds, > 0, where
      ``a_plus`` times reward is a change per second.
    - ``w_min``, ``w_max``: bounds of the weights, which do not enter the change.

    **State:** one trace of each neuron, the eligibility, and the reward's trace.

    **References:** Izhikevich 2007, doi:10.1093/cercor/bhl152; Frémaux & Gerstner 2016,
    doi:10.3389/fncir.2015.00085.
    """

    a_plus: float = 0.01
    a_minus: float = 0.0105
    tau_plus: float = 20e-3
    tau_minus: float = 20e-3
    tau_eligibility: float = 1.0
    tau_reward: float | None = None
    pairing: Pairing = "all"
    w_min: float = -math.inf
    w_max: float = math.inf

    signal = "reward"
    traces = 1, 1
    has_eligibility = True

    def __post_init__(self) -> None:
        check_fields(self, _NUMBERS)
        check_choice(self.pairing, "pairing", ("all", "nearest"))

    @property
    def has_reward_trace(self) -> bool:
        return self.tau_reward is not None

    def needs_end(self, has_times: bool) -> bool:
        forgets = isinstance(self.tau_eligibility, int | float) and self.tau_eligibility < math.inf
        return self.has_reward_trace or (forgets and not has_times)

    def learn(self, sample: Sample) -> tuple[Array, PlasticityState]:
        taus = self.tau_plus, self.tau_minus
        pre, post = pair_traces(sample, *taus, nearest=self.pairing == "nearest")
        gains = [self._gains(sample, times) for times in (sample.post, sample.pre)]
        found = pair_change(pre, post, self.a_plus * gains[0], self.a_minus * gains[1])
        # The eligibility that there was is as one from time 0.
        earlier = sample.state.eligibility
        change, eligibility = (
            found + self._gains(sample, jnp.zeros((1, 1), earlier.dtype)) * earlier
        )
        end = end_state((pre,), (post,), sample.t_max)
        return change, end._replace(eligibility=eligibility, reward=self._reward_left(sample))

    def _gains(self, sample: Sample, times: Array) -> Array:
        """What an eligibility from each time makes of the weight, and what is left of it."""
        rewards, reward_times = self._rewards(sample)
        tau, t_max = self.tau_eligibility, sample.t_max
        if self.tau_reward is None:
            change = delivered(times, rewards, reward_times, tau, t_max)
        else:
            taus = tau, self.tau_reward
            change = delivered_slowly(times, rewards, reward_times, taus, t_max)
        return jnp.stack([change, decay(jnp.where(jnp.isfinite(times), t_max - times, 0), tau)])

    def _rewards(self, sample: Sample) -> tuple[Array, Array]:
        """All rewards of a sample; that of earlier pieces is as one at time 0."""
        rewards, times = sample.signal, sample.signal_times
        if rewards is None or times is None:
            rewards = times = jnp.zeros(0, sample.weight.dtype)
        if self.tau_reward is None:
            return rewards, times
        return jnp.append(rewards, sample.state.reward), jnp.pad(times, (0, 1))

    def _reward_left(self, sample: Sample) -> Array | None:
        if self.tau_reward is None:
            return None
        rewards, times = self._rewards(sample)
        counts = times <= sample.t_max
        left = decay(sample.t_max - jnp.where(counts, times, 0), self.tau_reward)
        return jnp.where(counts, rewards * left, 0).sum()
