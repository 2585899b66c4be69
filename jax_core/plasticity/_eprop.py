"""A three-factor rule as e-prop is one, with spikes for its postsynaptic factor."""

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ._delivery import delivered
from ._fields import check_fields
from ._rule import Rule, Sample
from ._state import PlasticityState
from ._traces import decay, pair_sum, trace

_NUMBERS = ("learning_rate", "tau_trace", "tau_eligibility", "w_min", "w_max")


@partial(jax.tree_util.register_dataclass, data_fields=_NUMBERS, meta_fields=[])
@dataclasses.dataclass(frozen=True)
class EProp(Rule):
    """Presynaptic trace at postsynaptic spikes, times a learning signal of the neuron.

        de_ij/dt = -e_ij / tau_eligibility
        e_ij += x_j                        at each spike of neuron i
        w_ij -= learning_rate L_i e_ij     at each learning signal L_i

    ``x_j(t)``, the sum of ``exp(-(t - s) / tau_trace)`` over the spikes ``s <= t`` of input ``j``,
    is e-prop's eligibility vector of LIF neurons (with ``tau_trace`` the membrane's time constant).
    e-prop multiplies it with a pseudo-derivative at every time step, which is largest where a
    neuron spikes; here only its spikes count, each by 1. So a silent neuron learns nothing, and
    this is no gradient: for that, train with `LIF`. ``L_i > 0`` says that the neuron should spike
    less, as the derivative of a loss does.

    **Call:** ``signal``: the learning signals of the neurons, ``(..., out)``, which come at
    ``t_max``; or ``(..., out, R)`` with ``signal_times``, seconds, ``(..., R)``, in any order,
    ``inf`` for none.

    **Fields:**

    - ``learning_rate``: the change by a signal and an eligibility of 1.
    - ``tau_trace``: seconds, > 0.
    - ``tau_eligibility``: seconds, > 0, that of the read-out in e-prop; ``inf``: nothing is
      forgotten.
    - ``w_min``, ``w_max``: bounds of the weights, which do not enter the change.

    **State:** one trace of each presynaptic neuron, and the eligibility.

    **Reference:** Bellec et al. 2020, doi:10.1038/s41467-020-17236-y.
    """

    learning_rate: float = 0.01
    tau_trace: float = 20e-3
    tau_eligibility: float = math.inf
    w_min: float = -math.inf
    w_max: float = math.inf

    signal = "signal"
    traces = 1, 0
    has_eligibility = True

    def __post_init__(self) -> None:
        check_fields(self, _NUMBERS)

    def needs_end(self, has_times: bool) -> bool:
        forgets = isinstance(self.tau_eligibility, int | float) and self.tau_eligibility < math.inf
        return forgets and not has_times

    def learn(self, sample: Sample) -> tuple[Array, PlasticityState]:
        pre = trace(sample.pre, self.tau_trace, sample.state.pre[:, 0])
        found = pair_sum(pre, sample.post, self._gains(sample, sample.post), before=False)
        begin = jnp.zeros((sample.weight.shape[0], 1), sample.weight.dtype)
        change, eligibility = found + self._gains(sample, begin) * sample.state.eligibility
        end = PlasticityState(pre.end(sample.t_max)[:, None], sample.state.post, eligibility)
        return -self.learning_rate * change, end

    def _gains(self, sample: Sample, times: Array) -> Array:
        """What an eligibility of each neuron, from each time ``(out, m)``, makes of the weight, and
        what is left of it."""
        tau, t_max = self.tau_eligibility, sample.t_max
        left = decay(jnp.where(jnp.isfinite(times), t_max - times, 0), tau)
        signal, signal_times = sample.signal, sample.signal_times
        if signal is None or signal_times is None:
            return jnp.stack([jnp.zeros_like(times), left])

        def of_neuron(times: Array, signal: Array) -> Array:
            return delivered(times, signal, signal_times, tau, t_max)

        return jnp.stack([jax.vmap(of_neuron)(times, signal), left])
