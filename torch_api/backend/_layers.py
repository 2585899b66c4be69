"""What stacks need of layers, and layers in the units of a backend."""

from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ...jax_core import Events, hardware
from ..functional._li import Readout
from ..functional._lif import Gradient, Solver
from ..layers._health import LayerHealth
from ..layers._overflow import OnOverflow
from ._run import Remembers
from ._weights import WeightFit, as_on_hardware


class Layer(Protocol):
    """What a stack needs of any layer: of `LIF`, and of `LI`."""

    t_max: float

    def dense_weight(self) -> Tensor:
        """Weights ``(out, in)``."""
        ...

    def constants(self) -> dict[str, Any]:
        """The constants of the layer's neurons, by name."""
        ...

    def health(self) -> LayerHealth | None:
        """The counts of the last forward."""
        ...

    def remember_late(self, spikes: Tensor) -> None:
        """Count input spikes that are late for the layer's time constants."""
        ...

    def remember_call(self, arriving: Tensor, output: Tensor) -> None:
        """Keep what training needs of a forward."""
        ...


class Spiking(Layer, Remembers, Protocol):
    """What it needs of a layer that spikes: of `LIF`."""

    max_spikes: int
    on_overflow: OnOverflow
    gradient: Gradient
    min_slope: float
    solver: Solver

    @property
    def silent(self) -> str:
        """What a neuron without a spike gives."""
        ...

    def delay_input(self, spikes: Tensor) -> Tensor | Events:
        """Input spikes as they arrive."""
        ...

    def finish(self, arriving: Tensor, out: Tensor, weight: Tensor | None = None) -> Tensor:
        """What the layer gives, of its neurons' spikes."""
        ...


class ReadOut(Layer, Protocol):
    """What it needs of a read-out: of `LI`."""

    readout: Readout
    tau_weight: float

    def remember_silent(self, out: Tensor, weights: WeightFit | None = None) -> None:
        """Count neurons whose voltage never rose."""
        ...


def used_weight(layer: Layer, backend: hardware.Backend, scaling: hardware.Scaling) -> Tensor:
    """The weights that the backend can have, in the model's unit, straight-through."""
    weight = layer.dense_weight()
    if backend.weight_limit is None:
        return weight
    whole = scaling.hardware_weight(array_of(weight), backend.weight_limit)
    return as_on_hardware(weight, whole, scaling.weight)


def hardware_layer(layer: Spiking, limit: int | None, scaling: hardware.Scaling) -> hardware.Layer:
    """A layer that spikes, in the units of a backend whose largest weight is ``limit``."""
    constants = _constants(layer)
    for name in ("tau_mem", "tau_syn", "refractory"):
        constants[name] = constants[name] * scaling.time
    return hardware.Layer(
        scaling.hardware_weight(array_of(layer.dense_weight()), limit),
        **constants,
        max_spikes=layer.max_spikes,
        weight_unit=1 / scaling.weight,
    )


def hardware_readout(
    readout: ReadOut, limit: int | None, scaling: hardware.Scaling
) -> hardware.Layer:
    """A read-out in the units of a backend, as a layer without threshold."""
    constants = _constants(readout)
    return hardware.Layer(
        scaling.hardware_weight(array_of(readout.dense_weight()), limit),
        constants["tau_mem"] * scaling.time,
        constants["tau_syn"] * scaling.time,
        v_threshold=constants["v_leak"] + 1,
        v_leak=constants["v_leak"],
        v_reset=constants["v_leak"],
        refractory=np.zeros(()),
        max_spikes=0,
        has_threshold=False,
        weight_unit=1 / scaling.weight,
    )


def _constants(layer: Layer) -> dict[str, Any]:
    return {
        name: np.asarray(array_of(value) if isinstance(value, Tensor) else value, np.float64)
        for name, value in layer.constants().items()
    }


def array_of(x: Tensor) -> np.ndarray:
    """The values of a tensor."""
    return x.detach().cpu().numpy()
