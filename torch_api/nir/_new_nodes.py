"""NIR nodes of layers that no graph is behind."""

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..layers._delay import Delay
from ..layers._li import LI
from ..layers._lif import LIF
from ..layers._neuron_layer import NeuronLayer
from ..layers._pooling import SumPool2d
from ..layers._recurrent_lif import RecurrentLIF
from ._conv_layer import LIFConv
from ._convention import Convention
from ._convolution import Convolution, convolution_of, kernel_of
from ._shapes import Shape
from ._values import array, per_neuron

_SETTINGS = ("stride", "padding", "dilation", "groups")
_CONSTANTS = ("tau_mem", "tau_syn", "v_leak", "v_threshold", "v_reset")


def new_nodes(
    nir: Any,
    layer: NeuronLayer | LI | Delay | SumPool2d,
    path: str,
    convention: Convention,
    shape: Shape | None,
) -> list[tuple[str, Any]]:
    """A projection and neurons, with a delay if there is one; or a delay or pool alone.

    **Arguments:** ``shape``: of the neurons before the layer, where it is known; convolutions and
    pools need it.
    """
    if isinstance(layer, SumPool2d):
        before, after = _pooled(layer, path, shape)
        settings = layer.kernel_size, layer.stride, layer.padding
        return [(f"pool_{path}", pool_node(nir, *settings, before, after))]
    if isinstance(layer, LIFConv):
        return _conv_nodes(nir, layer, path, convention, shape)
    delay = _delay_of(layer, path)
    delaying = []
    if delay is not None:
        delaying.append((f"delay_{path}", _delay(nir, delay, convention)))
    if isinstance(layer, Delay):
        return delaying
    structure = convolution_of(layer)
    outputs = (layer.out_features,) if structure is None else structure.out_shape
    found = _constants(layer, outputs)
    _add_gains(found, convention)
    if structure is None:
        projection = _linear(nir, layer.dense_weight(), found["r"])
        name = f"linear_{path}"
    else:
        projection = _convolution(nir, layer, structure, found)
        name = f"conv_{path}"
    spiking = isinstance(layer, NeuronLayer)
    neuron = (nir.CubaLIF if spiking else nir.CubaLI)(**_in_units(found, convention))
    dendritic = isinstance(layer, LIF) and layer.delay_type == "dendritic"
    before, after = ([], delaying) if dendritic else (delaying, [])
    kind = "lif" if spiking else "li"
    return [*before, (name, projection), *after, (f"{kind}_{path}", neuron)]


def _delay_of(layer: nn.Module, path: str) -> Tensor | None:
    if isinstance(layer, LIF) and layer.delay_type == "synaptic":
        raise ValueError(
            f"layer {path!r} (LIF) has delays of single connections, which NIR does not have; make "
            f"it with delay='axonal' or delay='dendritic'"
        )
    if isinstance(layer, RecurrentLIF):
        kinds = {"delay": layer.delay_type, "recurrent_delay": layer.recurrent_delay_type}
        for name in (name for name, kind in kinds.items() if kind == "synaptic"):
            raise ValueError(
                f"layer {path!r} (RecurrentLIF) has delays of single connections, which NIR does "
                f"not have; make it with {name}='axonal'"
            )
    return getattr(layer, "delay", None)


def new_loop(
    nir: Any, layer: nn.Module, path: str, convention: Convention
) -> list[tuple[str, Any]]:
    """The recurrent connection of a layer that has one."""
    if not isinstance(layer, RecurrentLIF):
        return []
    found = _constants(layer, (layer.out_features,))
    _add_gains(found, convention)
    written = [(f"recurrent_{path}", _linear(nir, layer.dense_recurrent_weight(), found["r"]))]
    if layer.recurrent_delay is not None:
        delay = _delay(nir, layer.recurrent_delay, convention)
        written.insert(0, (f"recurrent_delay_{path}", delay))
    return written


def _delay(nir: Any, delay: Tensor, convention: Convention) -> Any:
    return nir.Delay(delay=array(delay.clamp(min=0)) / convention.time_unit)


def _linear(nir: Any, parameter: Tensor, scale: np.ndarray) -> Any:
    weight = array(parameter)
    return nir.Linear(weight=weight if (scale == 1).all() else weight / scale[:, None])


def _constants(layer: NeuronLayer | LI, shape: Shape) -> dict[str, np.ndarray]:
    return {
        name: per_neuron(getattr(layer, name), math.prod(shape)).reshape(shape)
        for name in _CONSTANTS
        if hasattr(layer, name)
    }


def _in_units(found: dict[str, np.ndarray], convention: Convention) -> dict[str, np.ndarray]:
    """Parameters of neurons with their time constants in the unit of the convention."""
    times = {name: found[name] / convention.time_unit for name in ("tau_mem", "tau_syn")}
    return {**found, **times}


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
    bias = np.zeros(len(kernel), kernel.dtype)
    settings = {name: getattr(structure, name) for name in _SETTINGS}
    return conv_node(nir, structure.in_shape, structure.out_shape, scaled, bias, **settings)


def _conv_nodes(
    nir: Any, layer: LIFConv, path: str, convention: Convention, shape: Shape | None
) -> list[tuple[str, Any]]:
    """A Conv1d or Conv2d and its neurons, all at the same positions."""
    axes = len(layer.conv.kernel_size)
    before = _known(layer, path, shape, axes)
    if before[0] != layer.in_channels:
        raise ValueError(
            f"layer {path!r} takes {layer.in_channels} channels, but neurons of shape {before} "
            f"come; make the layers fit"
        )
    after = layer.out_channels, *layer.conv.positions(before[1:])
    found = _constants(layer, after)
    _add_gains(found, convention)
    kernel = array(layer.weight)
    scale = found["r"].reshape(len(kernel), -1)[:, :1]
    if (scale != 1).any():
        kernel = kernel / scale.reshape(-1, *[1] * (kernel.ndim - 1))
    bias = np.zeros(len(kernel), kernel.dtype)
    settings = {name: getattr(layer.conv, name) for name in _SETTINGS}
    projection = conv_node(nir, before, after, kernel, bias, **settings)
    neuron = nir.CubaLIF(**_in_units(found, convention))
    return [(f"conv_{path}", projection), (f"lif_{path}", neuron)]


def _pooled(layer: SumPool2d, path: str, shape: Shape | None) -> tuple[Shape, Shape]:
    before = _known(layer, path, shape, 2)
    after = [before[0]]
    for size, kernel, stride, padding in zip(
        before[1:], layer.kernel_size, layer.stride, layer.padding, strict=True
    ):
        if kernel > size + 2 * padding:
            raise ValueError(
                f"layer {path!r} has regions of {layer.kernel_size}, larger than what comes, of "
                f"shape {before}; make the layers fit"
            )
        after.append((size + 2 * padding - kernel) // stride + 1)
    return before, tuple(after)


def _known(layer: nn.Module, path: str, shape: Shape | None, axes: int) -> Shape:
    """The shape before a layer, which must be known and have channels and so many axes."""
    wanted = "(channels, height, width)" if axes == 2 else "(channels, length)"
    if shape is None:
        raise ValueError(
            f"layer {path!r} ({type(layer).__name__}) does not say how large its input is; pass "
            f"input_shape={wanted}"
        )
    if len(shape) != 1 + axes:
        raise ValueError(
            f"layer {path!r} ({type(layer).__name__}) takes neurons of shape {wanted}, but they "
            f"come in shape {shape}; put an UnflattenSpikes before it, or correct input_shape"
        )
    return shape


def conv_node(
    nir: Any, before: Shape, after: Shape, kernel: np.ndarray, bias: np.ndarray, **settings: Any
) -> Any:
    """A Conv2d of a kernel ``(out, in / groups, height, width)`` and a bias ``(out,)``.

    Or a Conv1d, if there is one size. **Arguments:** ``before``, ``after``: shapes of neurons,
    channels first; ``settings``: ``stride``, ``padding``, ``dilation``, ``groups``.
    """
    if len(before) == 2:
        settings = {name: _one(value) for name, value in settings.items()}
        node = nir.Conv1d(input_shape=before[1], weight=kernel, bias=bias, **settings)
    else:
        node = nir.Conv2d(input_shape=before[1:], weight=kernel, bias=bias, **settings)
    return _typed(node, before, after)


def _one(value: Any) -> Any:
    """The number of a setting for one axis."""
    return value[0] if isinstance(value, tuple) else value


def pool_node(
    nir: Any, kernel_size: Any, stride: Any, padding: Any, before: Shape, after: Shape
) -> Any:
    """A SumPool2d between neurons of these shapes."""
    settings = (np.array(value) for value in (kernel_size, stride, padding))
    return _typed(nir.SumPool2d(*settings), before, after)


def _typed(node: Any, before: Shape, after: Shape) -> Any:
    # nir takes all kernels for square, and groups for one.
    node.input_type = {"input": np.array(before)}
    node.output_type = {"output": np.array(after)}
    return node
