"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ._registry import lowers


def _spread(values: Sequence[int], count: int) -> list[int]:
    return list(values) if len(values) == count else list(values) * count


@lowers("convolution", "_convolution", "convolution_overrideable")
def _convolution(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *_: Any,
) -> Any:
    count = weight.ndim - 2
    stride, padding, dilation = (_spread(v, count) for v in (stride, padding, dilation))
    if x.dtype != weight.dtype:
        x, weight = x.astype(weight.dtype), weight
    if transposed:
        found = _transposed(x, weight, stride, padding, dilation, output_padding, groups)
    else:
        found = lax.conv_general_dilated(
            x,
            weight,
            stride,
            [(p, p) for p in padding],
            rhs_dilation=dilation,
            feature_group_count=groups,
        )
    return found if bias is None else found + bias.reshape(-1, *(1,) * count)


def _transposed(
    x: Any,
    weight: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    count = weight.ndim - 2
    inputs, outputs, *kernel = weight.shape
    # (in, out / groups, ...) -> (out, in / groups, ...), with the kernel turned round.
    weight = weight.reshape(groups, inputs // groups, outputs, *kernel)
    weight = jnp.swapaxes(weight, 1, 2).reshape(groups * outputs, inputs // groups, *kernel)
    weight = jnp.flip(weight, tuple(range(2, 2 + count)))
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    extra = _spread(output_padding, count)
    pads = [(r - p, r - p + e) for r, p, e in zip(reach, padding, extra, strict=True)]
    return lax.conv_general_dilated(
        x,
        weight,
        (1,) * count,
        pads,
        lhs_dilation=stride,
        rhs_dilation=dilation,
        feature_group_count=groups,
    )


@lowers("convolution_backward")
def _convolution_backward(
    gradient: Any, x: Any, weight: Any, bias_sizes: Any, *rest: Any
) -> list[Any]:
    options, mask = rest[:-1], rest[-1]
    _, back = jax.vjp(lambda x, w: _convolution(x, w, None, *options), x, weight)
    found = back(gradient)
    axes = (0, *range(2, gradient.ndim))
    bias = jnp.sum(gradient, axes) if mask[2] else None
    return [found[0] if mask[0] else None, found[1] if mask[1] else None, bias]
