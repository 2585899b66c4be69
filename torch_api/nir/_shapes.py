"""Shapes of what flows through a NIR graph.

Here neurons lie flat, in C order; a graph arranges them, for instance as (channels, height, width).
"""

import math
from typing import Any

import numpy as np

from ._node import CONVOLUTIONS, NEURONS, POOLS, PROJECTIONS, Named

Shape = tuple[int, ...]
Pair = tuple[int, int]


def out_shape(chain: list[Named], shape: Shape) -> Shape:
    """The shape behind a chain of nodes, whose numbers of neurons must fit each other."""
    for named in chain:
        if named.kind in CONVOLUTIONS:
            shape = conv_shapes(named, shape)[1]
        elif named.kind in POOLS:
            shape = pool_shapes(named, shape)[1]
        elif named.kind in PROJECTIONS:
            weight = named.array("weight")
            if weight.ndim != 2:
                named.refuse(f"has a weight of shape {weight.shape}", "use one of shape (out, in)")
            _check_count(named, weight.shape[1], shape)
            shape = (weight.shape[0],)
        elif named.kind == "Delay" or named.kind in NEURONS:
            for name in parameter_names(named):
                if named.array(name).size != 1:
                    _check_count(named, named.array(name).size, shape, name)
        elif named.kind == "Flatten":
            shape = _flattened(named, shape)
    return shape


def parameter_names(named: Named) -> tuple[str, ...]:
    """Names of the parameters that neurons or a delay have, one value per neuron."""
    names = ("tau_mem", "tau_syn", "tau", "r", "v_leak", "v_threshold", "v_reset", "w_in", "delay")
    return tuple(name for name in names if hasattr(named.node, name))


def _check_count(named: Named, expected: int, shape: Shape, what: str = "input") -> None:
    if math.prod(shape) != expected:
        of = "takes" if what == "input" else f"has {what} for"
        named.refuse(
            f"{of} {expected} neurons, but {math.prod(shape)} (shape {shape}) reach it",
            "make the shapes agree",
        )


def conv_shapes(named: Named, shape: Shape) -> tuple[Shape, Shape]:
    """Shapes before and behind a convolution: (channels, height, width), or (channels, length)."""
    node = named.node
    kernel = named.array("weight")
    axes = _axes(named)
    if kernel.ndim != 2 + axes:
        sizes = "kh, kw" if axes == 2 else "k"
        named.refuse(f"has a weight of shape {kernel.shape}", f"use (out, in / groups, {sizes})")
    channels = kernel.shape[1] * int(node.groups)
    given = None
    if node.input_shape is not None:
        given = tuple(int(size) for size in np.ravel(node.input_shape))
    before = shape[-1 - axes :] if given is None else (channels, *given)
    if len(before) != 1 + axes or before[0] != channels or math.prod(before) != math.prod(shape):
        named.refuse(
            f"takes {channels} channels of {given or 'any size'}, but shape {shape} reaches it",
            "give input_shape, or an Input of shape "
            f"(channels, {'height, width' if axes == 2 else 'length'})",
        )
    stride, padding, dilation = (
        conv_setting(named, name) for name in ("stride", "padding", "dilation")
    )
    if padding == "same" and set(stride) != {1}:
        named.refuse(
            f"has padding 'same' and stride {stride}", "give the padding as numbers, or stride 1"
        )
    if isinstance(padding, str):
        padding = (0,) * axes if padding == "valid" else padding
    after = [kernel.shape[0]]
    for axis, size in enumerate(before[1:]):
        if isinstance(padding, str):
            after.append(size)
            continue
        covered = dilation[axis] * (kernel.shape[2 + axis] - 1) + 1
        after.append((size + 2 * padding[axis] - covered) // stride[axis] + 1)
    if min(after) < 1:
        named.refuse(f"leaves nothing of shape {before}", "use a smaller kernel or more padding")
    return before, tuple(after)


def pool_shapes(named: Named, shape: Shape) -> tuple[Shape, Shape]:
    """Shapes (channels, height, width) before and behind a pool."""
    before = shape[-3:]
    if len(before) != 3 or math.prod(before) != math.prod(shape):
        named.refuse(
            f"pools rows and columns, but shape {shape} reaches it",
            "give it (channels, height, width)",
        )
    after = [before[0]]
    for size, kernel, stride, padding in zip(before[1:], *pool_settings(named), strict=True):
        after.append((size + 2 * padding - kernel) // stride + 1)
    if min(after) < 1:
        named.refuse(f"leaves nothing of shape {before}", "use a smaller kernel or more padding")
    return before, tuple(after)


def pool_settings(named: Named) -> tuple[Pair, Pair, Pair]:
    """``kernel_size``, ``stride`` and ``padding`` of a pool."""
    found = (_each(named, name, 2) for name in ("kernel_size", "stride", "padding"))
    kernel, stride, padding = ((height, width) for height, width in found)
    if min(kernel) < 1 or min(stride) < 1 or min(padding) < 0:
        named.refuse(
            f"has kernel_size {kernel}, stride {stride} and padding {padding}",
            "use sizes and strides >= 1 and a padding >= 0",
        )
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        named.refuse(
            f"has padding {padding} for regions of {kernel}", "use at most half of kernel_size"
        )
    return kernel, stride, padding


def pool_gain(named: Named) -> float:
    """By what a node divides the sum of spikes; padding counts, as in torch."""
    return 1 / math.prod(pool_settings(named)[0]) if named.kind == "AvgPool2d" else 1.0


def conv_setting(named: Named, name: str) -> Any:
    """``stride``, ``padding`` or ``dilation`` as torch takes it."""
    value = getattr(named.node, name)
    if isinstance(value, str | bytes):
        return value.decode() if isinstance(value, bytes) else value
    return _each(named, name, _axes(named))


def _axes(named: Named) -> int:
    return CONVOLUTIONS.index(named.kind) + 1


def _each(named: Named, name: str, axes: int) -> Shape:
    """A setting for each axis; a number holds for all."""
    value = np.broadcast_to(np.asarray(getattr(named.node, name)), (axes,))
    return tuple(int(x) for x in value)


def _flattened(named: Named, shape: Shape) -> Shape:
    start, end = (int(getattr(named.node, name)) for name in ("start_dim", "end_dim"))
    dims = len(shape)
    start, end = (value + dims if value < 0 else value for value in (start, end))
    if not 0 <= start < dims or end < start:
        return shape
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


def end_shape(named: Named, end: str) -> Shape:
    """The shape of an Input (``end="input"``) or Output node; ``(0,)`` for one left open."""
    types = getattr(named.node, f"{end}_type") or {}
    value = types.get(end)
    if value is None:
        if end == "output":
            return (0,)
        named.refuse("has no shape", "construct it with the number of neurons, e.g. [5]")
    return tuple(int(size) for size in np.ravel(np.asarray(value)))
