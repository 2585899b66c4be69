"""What hxtorch measures to translate between chip and model, as it is here: nothing is measured.

Traces come in the model's unit, and a backend is told what its weights mean. So the results are
those of measurements of an ideal chip, computed from the model.
"""

import math
import numbers
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ....layers._initialisation import postsynaptic_peak
from ..._execution_instance import Recorded
from ..._experiment import Experiment
from ...modules.neuron._li import LI
from ...modules.neuron._lif import LIF
from ...modules.types._population import Population

_CHIP_NEURONS = 512
_LARGEST_WEIGHT = 63
_MODEL_WEIGHTS = 21


class _Measurement:
    """What measurements have in common.

    **Arguments:**

    - ``params``: parameters of the neurons, by name.
    - ``batch_size``: how often what is measured repeats.
    - ``neuron_structure``: a ``SingleCompartmentNeuron(n)``, of which the chip has ``512 // n``.
    - ``calib_path``: without effect.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        calib_path: Any = None,
        batch_size: int = 100,
        neuron_structure: Any = None,
    ) -> None:
        self.params = dict(params or {})
        self.calib_path = calib_path
        self.batch_size = batch_size
        self.neuron_structure = neuron_structure
        self.time_length = 100
        """Steps of a trace."""
        self.output_size = _CHIP_NEURONS // _circuits(neuron_structure)
        self.neuron: Any = None
        """The population that was measured last."""
        self.hw_neurons: Any = None
        """Where on a chip the neurons are: ``None``."""

    def _values(self, neuron: Population, name: str) -> Tensor:
        """A parameter's model value, one per neuron, ``(output_size,)``."""
        value = torch.as_tensor(neuron.model(name), dtype=torch.get_default_dtype()).detach()
        return value.expand(self.output_size)


class Boundaries(_Measurement):
    """The range of membrane voltages; see `_Measurement` for the arguments."""

    def run(self, dt: float = 1e-6) -> tuple[Tensor, Tensor, Tensor]:
        """Voltage at rest, the model's leak, and the highest and lowest one: there is no limit."""
        self.neuron = LI(self.output_size, Experiment(mock=True, dt=dt), **self.params)
        rest = self._values(self.neuron, "leak").mean()
        return rest, torch.tensor(math.inf), torch.tensor(-math.inf)


class Threshold(_Measurement):
    """How far the thresholds are above the voltage at rest; see `_Measurement` for the arguments.

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


class WeightScaling(_Measurement):
    """The factor from model weights to the chip's; see `_Measurement` for the arguments.

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


def get_dynamic_range(
    neuron_structure: Any = None,
    calib_path: Any = None,
    params: Mapping[str, Any] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What `Boundaries` finds."""
    return Boundaries(params, calib_path, neuron_structure=neuron_structure).run()


def get_trace_scaling(
    params: Mapping[str, Any] | None = None, calib_path: Any = None, neuron_structure: Any = None
) -> Tensor:
    """The model's voltage per unit of a trace: 1."""
    return torch.tensor(1.0)


def get_weight_scaling(
    params: Mapping[str, Any] | None = None,
    weight_step: int = 1,
    calib_path: Any = None,
    neuron_structure: Any = None,
) -> Tensor:
    """A factor from model weights to the chip's, that of `WeightScaling`: 63."""
    return torch.tensor(float(_LARGEST_WEIGHT))


def _circuits(structure: Any) -> int:
    """How many of the chip's neuron circuits one neuron takes."""
    if structure is None:
        return 1
    given = [*structure.values, *structure.named.values()] if _is_single(structure) else []
    size = given[0] if given else None
    if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
        raise ValueError(
            f"neuron_structure must be a SingleCompartmentNeuron(n), got {structure!r}; neurons of "
            f"several compartments are not available"
        )
    return int(size)


def _is_single(structure: Any) -> bool:
    return isinstance(structure, Recorded) and structure.name == "SingleCompartmentNeuron"
