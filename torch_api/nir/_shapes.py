"""Shapes of what flows through a NIR graph.

Here neurons lie flat, in C order; a graph arranges them, for instance as (channels, height, width).
"""

import math
from typing import Any

import numpy as np

from ._node import NEURONS, PROJECTIONS, Named

Shape = tuple[int, ...]


def out_shape(chain: list[Named], shape: Shape) -> Shape:
    """The shape behind a chain of nodes, whose numbers of neurons must fit each other."""
    for named in chain:
        if named.kind == "Conv2d":
            shape = conv_shapes(named, shape)[1]
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
    """Shapes (channels, height, width) before and behind a Conv2d."""
    node = named.node
    kernel = named.array("weight")
    if kernel.ndim != 4:
        named.refuse(f"has a weight of shape {kernel.shape}", "use (out, in / groups, kh, kw)")
    channels = kernel.shape[1] * int(node.groups)
    if node.input_shape is not None:
        before = (channels, *(int(size) for size in np.ravel(node.input_shape)))
    else:
        before = shape[-3:]
    if len(before) != 3 or before[0] != channels or math.prod(before) != math.prod(shape):
        named.refuse(
            f"takes {channels} channels of {node.input_shape or 'any size'}, but shape {shape} "
            f"reaches it",
            "give input_shape, or an Input of shape (channels, height, width)",
        )
    after = [kernel.shape[0]]
    for axis in (0, 1):
        size, extent = before[1 + axis], kernel.shape[2 + axis]
        stride, padding, dilation = (
            _pair(getattr(node, name), axis) for name in ("stride", "padding", "dilation")
        )
        if padding == "same":
            after.append(size)
            continue
        both = 0 if padding == "valid" else 2 * int(padding)
        after.append((size + both - int(dilation) * (extent - 1) - 1) // int(stride) + 1)
    if min(after) < 1:
        named.refuse(f"leaves nothing of shape {before}", "use a smaller kernel or more padding")
    return before, tuple(after)


def _pair(value: Any, axis: int) -> Any:
    """One of two settings; a number or a word holds for both."""
    if isinstance(value, str | bytes):
        return value.decode() if isinstance(value, bytes) else value
    return int(np.broadcast_to(np.asarray(value), (2,))[axis])


def conv_setting(named: Named, name: str) -> Any:
    """``stride``, ``padding`` or ``dilation`` as torch takes it."""
    pair = tuple(_pair(getattr(named.node, name), axis) for axis in (0, 1))
    return pair[0] if isinstance(pair[0], str) else pair


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
