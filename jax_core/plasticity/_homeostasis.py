"""Homeostatic plasticity: neurons scale their weights towards a rate."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ._fields import check_fields
from ._rule import Rule, Sample
from ._state import PlasticityState

_NUMBERS = ("target", "rate", "w_min", "w_max")


@partial(jax.tree_util.register_dataclass, data_fields=_NUMBERS, meta_fields=["scaling"])
@dataclasses.dataclass(frozen=True)
class Homeostasis(Rule):
    """All weights of a neuron grow while it is silent and shrink with each of its spikes.

        dw/dt = rate w (target - sum of delta(t - t_i))

    in closed form: ``w exp(rate (target t_max - n))`` after ``n`` spikes within ``t_max``, so that
    nothing changes where it spikes with the rate ``target``.

    **Fields:**

    - ``target``: spikes per second, >= 0.
    - ``rate``: by what fraction a spike lowers the weights, about; > 0.
    - ``scaling``: whether changes are proportional to the weights, which keeps their ratios and is
      for excitatory ones; if not, ``rate`` is what a spike lowers each weight by, of any sign:
      ``dw/dt = rate (target - ...)``.
    - ``w_min``, ``w_max``: bounds of the weights, which do not enter the change.

    A finite ``t_max`` is needed. **State:** none, but one is passed on as by other rules.

    **References:** Turrigiano et al. 1998, doi:10.1038/36103; van Rossum, Bi & Turrigiano 2000,
    doi:10.1523/JNEUROSCI.20-23-08812.2000 (with the rate filtered).
    """

    target: float = 10.0
    rate: float = 1e-3
    scaling: bool = True
    w_min: float = -math.inf
    w_max: float = math.inf

    def __post_init__(self) -> None:
        check_fields(self, _NUMBERS)
        if isinstance(self.target, int | float) and self.target < 0:
            raise ValueError(f"target must be >= 0 spikes per second, got {self.target}")
        if isinstance(self.rate, int | float) and self.rate <= 0:
            raise ValueError(f"rate must be > 0, got {self.rate}")

    def needs_end(self, has_times: bool) -> bool:
        return True

    def learn(self, sample: Sample) -> tuple[Array, PlasticityState]:
        spikes = jnp.isfinite(sample.post).sum(axis=1, keepdims=True).astype(sample.post.dtype)
        exponent = self.rate * (self.target * sample.t_max - spikes)
        if self.scaling:
            return sample.weight * jnp.expm1(exponent), sample.state
        return jnp.broadcast_to(exponent, sample.weight.shape), sample.state
