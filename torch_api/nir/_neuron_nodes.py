"""NIR nodes of the neurons of layers that no graph is behind."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..layers._delta_lif import DeltaLIF
from ..layers._li import LI
from ..layers._model_layer import ModelLayer
from ..layers._neuron_layer import NeuronLayer
from ._convention import Convention
from ._shapes import Shape
from ._values import per_neuron

Neurons = NeuronLayer[Any] | ModelLayer | LI
_CONSTANTS = ("tau_mem", "tau_syn", "v_leak", "v_threshold", "v_reset")
_REMEDIES = {
    "IF": "use DeltaLIF(tau_mem=inf), which is NIR's IF, or LIF with a long tau_mem",
    "AlphaLIF": "use LIF, whose synapses are exponential",
    "AdaptiveLIF": "use LIF, or leave the adaptation out (a=0, b=0 is a LIF)",
    "QIF": "use LIF or DeltaLIF",
    "ODELayer": "use LIF or DeltaLIF",
}


@dataclass
class NeuronNode:
    """A node to be: the name of its class, its parameters in the units of a convention, and what a
    unit of weight becomes, an array of the neurons' shape.

    ``gain``: the parameter that may differ from neuron to neuron where weights must not.
    """

    kind: str
    parameters: dict[str, np.ndarray]
    factor: np.ndarray
    gain: str


def neuron_node(layer: Neurons, shape: Shape, path: str, convention: Convention) -> NeuronNode:
    """What node the neurons of a layer are; **raises** ``ValueError`` where NIR has none.

    **Arguments:** ``shape``: of all neurons.
    """
    found = {
        name: per_neuron(getattr(layer, name), math.prod(shape)).reshape(shape)
        for name in _CONSTANTS
        if hasattr(layer, name)
    }
    if isinstance(layer, DeltaLIF):
        return _without_synapse(layer, found, path, convention)
    if isinstance(layer, ModelLayer):
        refuse_model(layer, path)
    unit = convention.time_unit
    found["w_in"] = np.ones_like(found["tau_syn"])
    if convention.current_jump == "area":
        found["w_in"] = found["tau_syn"] / convention.area
    found["r"] = _resistance(found["tau_mem"], convention)
    times = {name: found[name] / unit for name in ("tau_mem", "tau_syn")}
    kind = "CubaLIF" if isinstance(layer, NeuronLayer) else "CubaLI"
    return NeuronNode(kind, {**found, **times}, found["r"], "w_in")


def _without_synapse(
    layer: DeltaLIF, found: dict[str, np.ndarray], path: str, convention: Convention
) -> NeuronNode:
    tau_mem = found.pop("tau_mem")
    if np.isinf(tau_mem).any():
        check_integrates(layer, path)
        del found["v_leak"]
        r = np.full_like(tau_mem, 1 / convention.integrated)
        return NeuronNode("IF", {**found, "r": r}, np.ones_like(r), "r")
    r = _resistance(tau_mem, convention)
    found |= {"tau": tau_mem / convention.time_unit, "r": r}
    return NeuronNode("LIF", found, r * convention.area / tau_mem, "r")


def _resistance(tau_mem: np.ndarray, convention: Convention) -> np.ndarray:
    if convention.resistance == "1":
        return np.ones_like(tau_mem)
    return tau_mem / convention.area


def check_integrates(layer: DeltaLIF, path: str) -> None:
    """Check that a layer is an IF node: without leak, and starting where a spike leaves it."""
    count = max(layer.out_features, 1)
    tau_mem, leak, reset = (
        per_neuron(getattr(layer, name), count) for name in ("tau_mem", "v_leak", "v_reset")
    )
    if not np.isinf(tau_mem).all():
        raise ValueError(
            f"layer {path!r} (DeltaLIF) has neurons with and without leak, which NIR has in "
            f"different nodes; give all of them a finite tau_mem, or inf"
        )
    if (leak != reset).any():
        raise ValueError(
            f"layer {path!r} (DeltaLIF) starts at v_leak, but NIR's IF has only v_reset to start "
            f"at; set v_leak to v_reset"
        )


def refuse_model(layer: ModelLayer, path: str) -> None:
    """Raise for neurons that NIR does not have."""
    name = next(kind.__name__ for kind in type(layer).__mro__ if kind.__name__ in _REMEDIES)
    raise ValueError(
        f"layer {path!r} ({type(layer).__name__}) has neurons that NIR does not have; "
        f"{_REMEDIES[name]}"
    )
