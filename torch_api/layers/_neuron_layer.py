"""What all layers of leaky integrate-and-fire neurons have in common."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from ._checkpoint import RecordsNumbers
from ._constants import Constant, constant_numbers
from ._health import SpikingLayer
from ._initialisation import critical_weight
from ._overflow import OnOverflow

CONSTANTS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")

LI_CONSTANTS = ("tau_mem", "tau_syn", "v_leak")
"""Those that a neuron without a threshold has."""


class NeuronLayer(SpikingLayer, RecordsNumbers):
    """Base of the layers of neurons with weighted input: constants, and the scale of weights."""

    in_features: int
    out_features: int
    tau_mem: Constant
    tau_syn: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant
    t_max: float
    on_overflow: OnOverflow
    silent: Literal["inf", "peak"]
    silent_time: float
    weight: nn.Parameter
    rescues: Tensor | None = None
    """How many times in a row `rescue_silent_` raised each neuron's weights, ``(out,)``."""

    def constants(self) -> dict[str, Any]:
        """The neuron constants by name, as `functional.lif` takes them."""
        return {name: getattr(self, name) for name in CONSTANTS}

    def numbers(self) -> dict[str, Any]:
        late = {"silent_time": self.silent_time} if self.silent == "peak" else {}
        return {**constant_numbers(self, CONSTANTS), "t_max": self.t_max, **late}

    def critical_weight(self) -> Tensor:
        """The weight with which coincident spikes of all inputs just reach the threshold.

        **Returns:** float64, shape ``()`` or ``(out_features,)``. A neuron with its leak over the
        threshold has none: the distance from reset to threshold is taken for the height.
        """
        return self.weight_scale(self.in_features)

    def weight_scale(self, spikes: float) -> Tensor:
        """The weight with which that many coincident spikes just reach the threshold."""
        threshold, leak, reset = (
            torch.as_tensor(value, dtype=torch.float64).detach()
            for value in (self.v_threshold, self.v_leak, self.v_reset)
        )
        height = torch.where(leak < threshold, threshold - leak, threshold - reset)
        return critical_weight(spikes, self.tau_mem, self.tau_syn, height)
