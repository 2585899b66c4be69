"""The factor from model weights to the chip's."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ....layers._initialisation import postsynaptic_peak
from ..._experiment import Experiment
from ...modules.neuron._li import LI
from ._measurement import Measurement

_LARGEST_WEIGHT = 63
_MODEL_WEIGHTS = 21


class WeightScaling(Measurement):
    """The factor from model weights to the chip's; see `Measurement` for the arguments.

    ``trace_scale`` is without effect.
    """

    max_weight = _LARGEST_WEIGHT
    min_weight = -_LARGEST_WEIGHT

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        calib_path: Any = None,
        batch_size: int = 100,
        trace_scale: float = 1.0,
        neuron_structure: Any = None,
    ) -> None:
        super().__init__(params, calib_path, batch_size, neuron_structure)
        self.trace_scale = trace_scale

    def run(self, weight_step: int = 1) -> tuple[Tensor, ...]:
        """The factor is 63, with which a model weight of 1 is the largest of the chip.

        Every factor has the same effect of a weight, but for rounding and clipping.

        **Arguments:** ``weight_step``: how many of the chip's weights to look at.

        **Returns:** the factor's mean, and that of each neuron; the height of postsynaptic
        potentials per unit of the chip's weight, and of the model's, ``(neurons,)``; and their
        heights for ``weight_step`` weights of the chip from -63 to 63, and for 21 of the model from
        -1 to 1, ``(weights, neurons)``.
        """
        neuron = self.neuron = LI(self.output_size, Experiment(mock=True), **self.params)
        neuron.check_parameters()
        tau_mem, tau_syn = (self._values(neuron, name) for name in ("tau_mem", "tau_syn"))
        voltage = neuron.in_voltage(torch.ones(self.output_size, 1))[:, 0].detach()
        model = voltage * postsynaptic_peak(tau_mem, tau_syn)
        chip = model / _LARGEST_WEIGHT
        factors = model / chip
        of_chip = torch.linspace(self.min_weight, self.max_weight, weight_step, dtype=torch.int)
        of_model = torch.linspace(-1, 1, _MODEL_WEIGHTS)
        heights = of_chip[:, None] * chip, of_model[:, None] * model
        return factors.mean(), factors, chip, model, *heights


def get_weight_scaling(
    params: Mapping[str, Any] | None = None,
    weight_step: int = 1,
    calib_path: Any = None,
    neuron_structure: Any = None,
) -> Tensor:
    """A factor from model weights to the chip's, that of `WeightScaling`: 63."""
    return torch.tensor(float(_LARGEST_WEIGHT))
