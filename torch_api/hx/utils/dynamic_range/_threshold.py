"""How far thresholds are above the voltage at rest."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..._experiment import Experiment
from ...modules.neuron._lif import LIF
from ._measurement import Measurement


class Threshold(Measurement):
    """How far the thresholds are above the voltage at rest; see `Measurement` for the arguments.

    **Raises:** ``ValueError`` by `run` if ``leak`` is not below ``threshold``.
    """

    traces: Tensor | None = None
    thresholds: Tensor | None = None
    thresholds_mean: Tensor | None = None

    def run(self, dt: float = 1e-6) -> tuple[Tensor, Tensor, Tensor, Any]:
        """Distances between threshold and rest, exact.

        **Returns:** their mean; those of all neurons, ``(neurons,)``; voltages above rest, in steps
        of ``dt``, with a constant current that would raise them to twice these distances,
        ``(100, batch, neurons)``; and ``None``, as the neurons have no place on a chip.
        """
        neuron = self.neuron = LIF(self.output_size, Experiment(mock=True, dt=dt), **self.params)
        neuron.check_parameters()
        leak = self._values(neuron, "leak")
        height = self._values(neuron, "threshold") - leak
        if not bool((height > 0).all()):
            raise ValueError("Threshold: leak must be below threshold, or rest cannot be measured")
        self.thresholds, self.thresholds_mean = height, height.mean()
        trace = self._trace(height, self._values(neuron, "reset") - leak, dt)
        self.traces = trace[:, None].expand(-1, self.batch_size, -1)
        return self.thresholds_mean, height, self.traces, self.hw_neurons

    def _trace(self, height: Tensor, reset: Tensor, dt: float) -> Tensor:
        """Voltages above rest at the steps, ``(time, neurons)``: periodic after the first spike."""
        tau_mem = self._values(self.neuron, "tau_mem")
        pause = self._values(self.neuron, "refractory_time")
        end = 2 * height
        first = tau_mem * math.log(2)
        period = pause + tau_mem * torch.log((end - reset) / height)
        time = torch.arange(self.time_length, dtype=height.dtype)[:, None] * dt
        phase = (time - first) % period
        again = end - (end - reset) * torch.exp(-(phase - pause).clamp(min=0) / tau_mem)
        return torch.where(time < first, end * (1 - torch.exp(-time / tau_mem)), again)


def get_trace_scaling(
    params: Mapping[str, Any] | None = None, calib_path: Any = None, neuron_structure: Any = None
) -> Tensor:
    """The model's voltage per unit of a trace: 1."""
    return torch.tensor(1.0)
