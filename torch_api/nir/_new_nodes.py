"""NIR nodes of layers that no graph is behind."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from ..layers._convolved import Convolved
from ..layers._delay import Delay
from ..layers._lif import LIF
from ..layers._pooling import SumPool2d
from ..layers._recurrent_lif import RecurrentLIF
from ..layers._recurrent_model import RecurrentModelLayer
from ._convention import Convention
from ._convolution import Convolution, convolution_of, kernel_of
from ._neuron_nodes import NeuronNode, Neurons, neuron_node
from ._plain_nodes import conv_node, pool_node
from ._shapes import Shape
from ._values import array

_SETTINGS = ("stride", "padding", "dilation", "groups")


def new_nodes(
    nir: Any,
    layer: Neurons | Delay | SumPool2d,
    path: str,
    convention: Convention,
    shape: Shape | None,
    gain: float,
) -> list[tuple[str, Any]]:
    """A projection and neurons, with a delay if there is one; or a delay or pool alone.

    **Arguments:** ``shape``: of the neurons before the layer, where it is known; convolutions and
    pools need it. ``gain``: by what average pools before multiply the spikes that arrive.
    """
    if isinstance(layer, SumPool2d):
        before, after = _pooled(layer, path, shape)
        settings = layer.kernel_size, layer.stride, layer.padding
        return [(f"pool_{path}", pool_node(nir.SumPool2d, *settings, before, after))]
    if isinstance(layer, Convolved):
        return _conv_nodes(nir, layer, path, convention, shape, gain)
    delay = _delay_of(layer, path)
    delaying = []
    if delay is not None:
        delaying.append((f"delay_{path}", _delay(nir, delay, convention)))
    if isinstance(layer, Delay):
        return delaying
    structure = convolution_of(layer)
    outputs = (layer.out_features,) if structure is None else structure.out_shape
    node = neuron_node(layer, outputs, path, convention)
    if structure is None:
        weight = layer.dense_weight()
        name, projection = "linear", _linear(nir, weight, node.factor * gain, convention)
    else:
        name, projection = "conv", _convolution(nir, layer, structure, node, gain)
    dendritic = isinstance(layer, LIF) and layer.delay_type == "dendritic"
    before, after = ([], delaying) if dendritic else (delaying, [])
    return [*before, (f"{name}_{path}", projection), *after, _named(nir, node, path)]


def _named(nir: Any, node: NeuronNode, path: str) -> tuple[str, Any]:
    """The node of neurons, with a name."""
    name = node.kind.lower().removeprefix("cuba")
    return f"{name}_{path}", getattr(nir, node.kind)(**node.parameters)


def _delay_of(layer: nn.Module, path: str) -> Tensor | None:
    for name in ("delay", "recurrent_delay"):
        if getattr(layer, f"{name}_type", None) == "synaptic":
            others = "'axonal' or delay='dendritic'" if isinstance(layer, LIF) else "'axonal'"
            raise ValueError(
                f"layer {path!r} ({type(layer).__name__}) has delays of single connections, which "
                f"NIR does not have; make it with {name}={others}"
            )
    return getattr(layer, "delay", None)


def new_loop(
    nir: Any, layer: nn.Module, path: str, convention: Convention
) -> list[tuple[str, Any]]:
    """The recurrent connection of a layer that has one."""
    if not isinstance(layer, RecurrentLIF | RecurrentModelLayer):
        return []
    is_lif = isinstance(layer, RecurrentLIF)
    weight = layer.dense_recurrent_weight() if is_lif else layer.recurrent_weight
    node = neuron_node(layer, (layer.out_features,), path, convention)
    written = [(f"recurrent_{path}", _linear(nir, weight, node.factor, convention))]
    if layer.recurrent_delay is not None:
        delay = _delay(nir, layer.recurrent_delay, convention)
        written.insert(0, (f"recurrent_delay_{path}", delay))
    return written


def _delay(nir: Any, delay: Tensor, convention: Convention) -> Any:
    return nir.Delay(delay=array(delay.clamp(min=0)) / convention.time_unit)


def _linear(nir: Any, parameter: Tensor, factor: np.ndarray, convention: Convention) -> Any:
    weight = array(parameter)
    weight = weight if (factor == 1).all() else weight / factor[:, None]
    if convention.affine:
        return nir.Affine(weight=weight, bias=np.zeros(len(weight), weight.dtype))
    return nir.Linear(weight=weight)


def _convolution(
    nir: Any, layer: Neurons, structure: Convolution, node: NeuronNode, gain: float
) -> Any:
    """A Conv2d; what differs from neuron to neuron goes into ``w_in`` or ``r``."""
    kernel = array(kernel_of(layer))
    factor = node.factor.flat[0]
    relative = factor / node.factor
    if structure.relative is not None:
        relative = relative * array(structure.relative).reshape(structure.out_shape)
    node.parameters[node.gain] = node.parameters[node.gain] * relative
    scaled = kernel if factor * gain == 1 else kernel / (factor * gain)
    bias = np.zeros(len(kernel), kernel.dtype)
    settings = {name: getattr(structure, name) for name in _SETTINGS}
    return conv_node(nir, structure.in_shape, structure.out_shape, scaled, bias, **settings)


def _conv_nodes(
    nir: Any,
    layer: Convolved,
    path: str,
    convention: Convention,
    shape: Shape | None,
    gain: float,
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
    node = neuron_node(layer, after, path, convention)  # pyright: ignore[reportArgumentType]
    kernel = array(layer.weight)
    factor = node.factor.reshape(len(kernel), -1)[:, :1] * gain
    if (factor != 1).any():
        kernel = kernel / factor.reshape(-1, *[1] * (kernel.ndim - 1))
    bias = np.zeros(len(kernel), kernel.dtype)
    settings = {name: getattr(layer.conv, name) for name in _SETTINGS}
    projection = conv_node(nir, before, after, kernel, bias, **settings)
    return [(f"conv_{path}", projection), _named(nir, node, path)]


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
