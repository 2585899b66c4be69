"""A convolution before spiking neurons as a layer whose positions share their weights."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..layers._convolved import Convolved
from ..layers._lif_conv import LIFConv1d, LIFConv2d
from ..layers._model_conv import ALL_TO_ALL, DeltaLIFConv1d, DeltaLIFConv2d, IFConv1d, IFConv2d
from ..layers._options import DEFAULTS
from ._graph import Block
from ._node import CONVOLUTIONS
from ._shapes import conv_setting, conv_shapes

# By the layer with the same neurons that is connected all to all.
_KINDS: dict[str, tuple[type[Convolved], type[Convolved]]] = {
    "LIF": (LIFConv1d, LIFConv2d),
    "DeltaLIF": (DeltaLIFConv1d, DeltaLIFConv2d),
    "IF": (IFConv1d, IFConv2d),
}


def conv_layer(
    block: Block, kind: str, options: dict[str, Any], factor: np.ndarray, place: dict[str, Any]
) -> tuple[Convolved, np.ndarray] | None:
    """The layer of a block with a convolution, its weights not yet set.

    **Arguments:** ``kind``: the layer with such neurons; ``options``: of it; ``factor``: what a
    unit of weight becomes, ``(neurons,)``; ``place``: device and dtype.

    **Returns:** it and what a unit of weight becomes, ``(channels,)``; ``None`` for what it cannot
    be: neurons that differ from position to position, that do not spike, that are recurrent or have
    delays of their own; options that it does not have; padding to the same size that is uneven.
    """
    projection = block.projection
    if projection.kind not in CONVOLUTIONS or kind not in _KINDS:
        return None
    known = set(options) <= set(DEFAULTS) if kind == "LIF" else not set(options) & ALL_TO_ALL
    if not known:
        return None
    before, after = conv_shapes(projection, block.arriving)
    kernel = projection.array("weight").shape
    shape = {"kernel_size": kernel[2:]}
    shape |= {name: conv_setting(projection, name) for name in ("stride", "padding", "dilation")}
    both = [(k - 1) * d for k, d in zip(kernel[2:], shape["dilation"], strict=True)]
    if shape["padding"] == "same" and any(x % 2 for x in both):
        return None
    shared = {name: _shared(value, after) for name, value in options.items()}
    gains = _shared(torch.as_tensor(factor), after)
    if gains is None or any(shared[name] is None and options[name] is not None for name in shared):
        return None
    groups = int(projection.node.groups)
    convolved: Any = _KINDS[kind][len(after) - 2]
    layer = convolved(before[0], after[0], **shape, groups=groups, **shared, **place)
    return layer, gains.expand(after[0]).numpy()


def _shared(value: Any, shape: tuple[int, ...]) -> Any:
    """A constant that all positions share, ``(channels,)``; ``None`` if there is none.

    **Arguments:** ``value``: of all neurons, or for each channel or neuron; what is no tensor is
    returned as it is. ``shape``: of the neurons, channels first.
    """
    if not isinstance(value, Tensor) or value.numel() == 1 or value.shape == shape[:1]:
        return value
    if value.shape != (torch.Size(shape).numel(),):
        return None
    by_channel = value.reshape(shape[0], -1)
    same = (by_channel == by_channel[:, :1]).all()
    return by_channel[:, 0].clone() if same else None
