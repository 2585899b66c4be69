"""NIR nodes of layers that no graph is behind."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from ..layers._delay import Delay
from ..layers._li import LI
from ..layers._lif import LIF
from ..layers._neuron_layer import NeuronLayer
from ..layers._recurrent_lif import RecurrentLIF
from ._convention import Convention
from ._convolution import Convolution, convolution_of, kernel_of
from ._values import array

_CONSTANTS = ("tau_mem", "tau_syn", "v_leak", "v_threshold", "v_reset")


def new_nodes(
    nir: Any, layer: NeuronLayer | LI | Delay, path: str, convention: Convention
) -> list[tuple[str, Any]]:
    """A projection and neurons, with a delay if there is one."""
    delay = getattr(layer, "delay", None)
    if delay is not None and getattr(layer, "delay_type", None) == "synaptic":
        raise ValueError(
            f"layer {path!r} has delays of single connections (delay='synaptic'), which NIR does "
            f"not have; choose delay='axonal' or 'dendritic'"
        )
    delaying = []
    if delay is not None:
        delaying.append((f"delay_{path}", _delay(nir, delay, convention)))
    if isinstance(layer, Delay):
        return delaying
    structure = convolution_of(layer)
    found = _constants(layer, structure)
    _add_gains(found, convention)
    if structure is None:
        projection = _linear(nir, layer.dense_weight(), found["r"])
        name = f"linear_{path}"
    else:
        projection = _convolution(nir, layer, structure, found)
        name = f"conv_{path}"
    for constant in ("tau_mem", "tau_syn"):
        found[constant] = found[constant] / convention.time_unit
    spiking = isinstance(layer, NeuronLayer)
    neuron = (nir.CubaLIF if spiking else nir.CubaLI)(**found)
    dendritic = isinstance(layer, LIF) and layer.delay_type == "dendritic"
    before, after = ([], delaying) if dendritic else (delaying, [])
    kind = "lif" if spiking else "li"
    return [*before, (name, projection), *after, (f"{kind}_{path}", neuron)]


def new_loop(
    nir: Any, layer: nn.Module, path: str, convention: Convention
) -> list[tuple[str, Any]]:
    """The recurrent connection of a layer that has one."""
    if not isinstance(layer, RecurrentLIF):
        return []
    found = _constants(layer, None)
    _add_gains(found, convention)
    written = [(f"recurrent_{path}", _linear(nir, layer.recurrent_weight, found["r"]))]
    if layer.recurrent_delay is not None:
        delay = _delay(nir, layer.recurrent_delay, convention)
        written.insert(0, (f"recurrent_delay_{path}", delay))
    return written


def _delay(nir: Any, delay: Tensor, convention: Convention) -> Any:
    return nir.Delay(delay=array(delay.clamp(min=0)) / convention.time_unit)


def _linear(nir: Any, parameter: Tensor, scale: np.ndarray) -> Any:
    weight = array(parameter)
    return nir.Linear(weight=weight if (scale == 1).all() else weight / scale[:, None])


def _constants(layer: NeuronLayer | LI, structure: Convolution | None) -> dict[str, np.ndarray]:
    shape = (layer.out_features,) if structure is None else structure.out_shape
    return {
        name: np.broadcast_to(array(getattr(layer, name)), (layer.out_features,))
        .reshape(shape)
        .copy()
        for name in _CONSTANTS
        if hasattr(layer, name)
    }


def _add_gains(found: dict[str, np.ndarray], convention: Convention) -> None:
    """``w_in`` with which a spike raises the current by the weight, and ``r``."""
    found["w_in"] = np.ones_like(found["tau_syn"])
    if convention.current_jump == "area":
        found["w_in"] = found["tau_syn"] / convention.area
    found["r"] = np.ones_like(found["tau_mem"])
    if convention.resistance != "1":
        found["r"] = found["tau_mem"] / convention.area


def _convolution(
    nir: Any, layer: NeuronLayer | LI, structure: Convolution, found: dict[str, np.ndarray]
) -> Any:
    """A Conv2d; what differs from neuron to neuron goes into ``w_in``."""
    kernel = array(kernel_of(layer))
    scale = found["r"].flat[0]
    relative = scale / found["r"]
    if structure.relative is not None:
        relative = relative * array(structure.relative).reshape(structure.out_shape)
    found["w_in"] = found["w_in"] * relative
    scaled = kernel if scale == 1 else kernel / scale
    return conv_node(nir, structure, scaled, np.zeros(len(kernel), kernel.dtype))


def conv_node(nir: Any, structure: Convolution, kernel: np.ndarray, bias: np.ndarray) -> Any:
    """A Conv2d of a kernel ``(out, in / groups, height, width)`` and a bias ``(out,)``."""
    node = nir.Conv2d(
        input_shape=structure.in_shape[1:],
        weight=kernel,
        stride=structure.stride,
        padding=structure.padding,
        dilation=structure.dilation,
        groups=structure.groups,
        bias=bias,
    )
    # nir takes all kernels for square.
    node.output_type = {"output": np.array(structure.out_shape)}
    return node
