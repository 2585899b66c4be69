"""Spike-timing-dependent plasticity of triplets of spikes."""

import dataclasses
import math
from functools import partial

import jax
from jax import Array

from ._fields import check_choice, check_fields
from ._pair_stdp import Pairing
from ._pairs import end_state, pair_change, pair_traces
from ._rule import Rule, Sample
from ._state import PlasticityState
from ._traces import trace

_NUMBERS = (
    *("a2_plus", "a3_plus", "a2_minus", "a3_minus"),
    *("tau_plus", "tau_minus", "tau_x", "tau_y", "w_min", "w_max"),
)


@partial(jax.tree_util.register_dataclass, data_fields=_NUMBERS, meta_fields=["pairing"])
@dataclasses.dataclass(frozen=True)
class TripletSTDP(Rule):
    """Pairs of spikes, which count the more, the more the same neuron spiked before.

        presynaptic spike at t:   w -= o1(t) (a2_minus + a3_minus r2(t-))
        postsynaptic spike at t:  w += r1(t) (a2_plus + a3_plus o2(t-))

    ``r1`` and ``r2`` are traces of the presynaptic neuron with ``tau_plus`` and ``tau_x``, ``o1``
    and ``o2`` of the postsynaptic one with ``tau_minus`` and ``tau_y``; a spike adds 1 to them.
    ``t-`` is right before the neuron's own spike. The defaults are what Pfister & Gerstner fitted
    to visual cortex, all-to-all, for weights in units of their initial value.

    **Fields:**

    - ``a2_plus``, ``a2_minus``: of pairs; ``a3_plus``, ``a3_minus``: of triplets; in the unit of
      the weights.
    - ``tau_plus``, ``tau_minus``, ``tau_x``, ``tau_y``: time constants, seconds, > 0.
    - ``pairing``: ``"all"``; or ``"nearest"``: a spike sets its traces to 1.
    - ``w_min``, ``w_max``: bounds of the weights, which do not enter the change.

    **State:** two traces of each neuron.

    **Reference:** Pfister & Gerstner 2006, doi:10.1523/JNEUROSCI.1425-06.2006.
    """

    a2_plus: float = 5e-10
    a3_plus: float = 6.2e-3
    a2_minus: float = 7e-3
    a3_minus: float = 2.3e-4
    tau_plus: float = 16.8e-3
    tau_minus: float = 33.7e-3
    tau_x: float = 101e-3
    tau_y: float = 125e-3
    pairing: Pairing = "all"
    w_min: float = -math.inf
    w_max: float = math.inf

    traces = 2, 2

    def __post_init__(self) -> None:
        check_fields(self, _NUMBERS)
        check_choice(self.pairing, "pairing", ("all", "nearest"))

    def learn(self, sample: Sample) -> tuple[Array, PlasticityState]:
        nearest, state = self.pairing == "nearest", sample.state
        pre, post = pair_traces(sample, self.tau_plus, self.tau_minus, nearest=nearest)
        slow_pre = trace(sample.pre, self.tau_x, state.pre[:, 1], nearest=nearest)
        slow_post = trace(sample.post, self.tau_y, state.post[:, 1], nearest=nearest)
        up = self.a2_plus + self.a3_plus * slow_post.before_spikes()
        down = self.a2_minus + self.a3_minus * slow_pre.before_spikes()
        end = end_state((pre, slow_pre), (post, slow_post), sample.t_max)
        return pair_change(pre, post, up, down), end
