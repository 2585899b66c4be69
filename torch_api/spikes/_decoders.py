"""Spikes to decisions, counts and rates; `LI` makes voltages of them."""

import math
from typing import Any

from torch import Tensor, nn

from ...jax_core._validate import check_duration
from .. import functional
from ..layers._checkpoint import RecordsNumbers
from ._encoders import listed


class FirstSpike(nn.Module):
    """The neuron that spikes first, for the decision of a network with one output per class.

    **Shapes:** spike times ``(..., neurons, k)`` give an index ``(...)``, int64: the lowest one of
    several at the same time, and -1 where no neuron spikes. It has no gradient.
    """

    def forward(self, spikes: Tensor) -> Tensor:
        return functional.first_to_spike(spikes)


class SpikeCount(RecordsNumbers):
    """How often each neuron spikes, up to ``t_max``.

    **Arguments:** ``t_max``: seconds, >= 0.

    **Shapes:** spike times ``(..., neurons, k)`` give whole numbers ``(..., neurons)`` in the dtype
    of the times, 0 for a silent neuron. They have no gradient: train on spike times, or on voltages
    of `LI`.
    """

    def __init__(self, t_max: float = math.inf) -> None:
        super().__init__()
        check_duration(t_max, "t_max")
        self.t_max = t_max

    def forward(self, spikes: Tensor) -> Tensor:
        return functional.spike_count(spikes, self.t_max)

    def numbers(self) -> dict[str, Any]:
        return {"t_max": self.t_max}

    def extra_repr(self) -> str:
        return listed(self.numbers())


class SpikeRate(RecordsNumbers):
    """Spikes of each neuron up to ``t_max``, per second.

    **Arguments:** ``t_max``: seconds, > 0.

    **Shapes:** spike times ``(..., neurons, k)`` give Hz ``(..., neurons)`` in the dtype of the
    times. They have no gradient, as those of `SpikeCount`.
    """

    def __init__(self, t_max: float) -> None:
        super().__init__()
        check_duration(t_max, "t_max", infinite=False, positive=True)
        self.t_max = t_max

    def forward(self, spikes: Tensor) -> Tensor:
        return functional.spike_rate(spikes, self.t_max)

    def numbers(self) -> dict[str, Any]:
        return {"t_max": self.t_max}

    def extra_repr(self) -> str:
        return listed(self.numbers())
