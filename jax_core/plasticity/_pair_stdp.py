"""Spike-timing-dependent plasticity of pairs of spikes."""

import dataclasses
import math
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from ._bounded import bounded_change
from ._fields import check_choice, check_fields
from ._pairs import end_state, pair_change, pair_traces
from ._rule import Rule, Sample
from ._state import PlasticityState

Pairing = Literal["all", "nearest"]
_NUMBERS = ("a_plus", "a_minus", "tau_plus", "tau_minus", "mu", "w_min", "w_max")


@partial(jax.tree_util.register_dataclass, data_fields=_NUMBERS, meta_fields=["pairing"])
@dataclasses.dataclass(frozen=True)
class PairSTDP(Rule):
    """Each pair of a presynaptic spike at ``s`` and a postsynaptic spike at ``t`` changes a weight.

        t >= s:  w += a_plus f_plus(w) exp(-(t - s) / tau_plus)
        t <  s:  w -= a_minus f_minus(w) exp(-(s - t) / tau_minus)

    **Fields:**

    - ``a_plus``, ``a_minus``: of pairs at distance 0, in the unit of the weights.
    - ``tau_plus``, ``tau_minus``: time constants, seconds, > 0.
    - ``mu``: ``None``: additive, ``f_plus = f_minus = 1``; the change is a sum in closed form, and
      bounds do not enter it. A number >= 0: with ``u = (w - w_min) / (w_max - w_min)``,
      ``f_plus = (1 - u)^mu`` and ``f_minus = u^mu``, spike after spike, and ``w`` is held between
      the bounds, which must be finite, after each; 0 is additive with hard bounds, 1 is
      multiplicative. Neurons that spike at the same time come by ascending index.
    - ``pairing``: ``"all"`` pairs; or ``"nearest"``: each spike with the latest one of the other
      neuron before it.
    - ``w_min``, ``w_max``: bounds of the weights.

    **State:** one trace of each neuron.

    **References:** Song, Miller & Abbott 2000, doi:10.1038/78829; Gütig et al. 2003,
    doi:10.1523/JNEUROSCI.23-09-03697.2003 (``mu``); van Rossum, Bi & Turrigiano 2000,
    doi:10.1523/JNEUROSCI.20-23-08812.2000; Morrison, Diesmann & Gerstner 2008,
    doi:10.1007/s00422-008-0233-1 (pairings; ``"nearest"`` is symmetric there).
    """

    a_plus: float = 0.01
    a_minus: float = 0.0105
    tau_plus: float = 20e-3
    tau_minus: float = 20e-3
    mu: float | None = None
    pairing: Pairing = "all"
    w_min: float = -math.inf
    w_max: float = math.inf

    traces = 1, 1

    def __post_init__(self) -> None:
        check_fields(self, _NUMBERS)
        check_choice(self.pairing, "pairing", ("all", "nearest"))
        if isinstance(self.mu, int | float):
            if self.mu < 0:
                raise ValueError(f"mu must be >= 0, or None for an additive rule, got {self.mu}")
            bounds = self.w_min, self.w_max
            if any(isinstance(one, float) and math.isinf(one) for one in bounds):
                raise ValueError(
                    f"mu = {self.mu} needs finite bounds, but w_min = {self.w_min} and w_max = "
                    f"{self.w_max}; set both, or mu=None"
                )

    @property
    def is_sequential(self) -> bool:
        return self.mu is not None

    def learn(self, sample: Sample) -> tuple[Array, PlasticityState]:
        taus = self.tau_plus, self.tau_minus
        pre, post = pair_traces(sample, *taus, nearest=self.pairing == "nearest")
        end = end_state((pre,), (post,), sample.t_max)
        if self.mu is not None:
            return bounded_change(self, sample), end
        up = jnp.full_like(sample.post, self.a_plus)
        down = jnp.full_like(sample.pre, self.a_minus)
        return pair_change(pre, post, up, down), end
