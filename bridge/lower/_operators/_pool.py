"""Pooling: the largest or the mean of windows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ._index import _limits
from ._registry import Needs, lowers


def _spread(values: Sequence[int] | int, count: int) -> list[int]:
    values = [values] if isinstance(values, int) else list(values)
    return values if len(values) == count else values * count


def _pads(size: Sequence[int], out: Any, kernel: Any, stride: Any, padding: Any, dilation: Any):
    """How far windows reach beyond the input on both sides."""
    return [
        (p, max((o - 1) * s + (k - 1) * d + 1 - n - p, 0))
        for n, o, k, s, p, d in zip(size, out, kernel, stride, padding, dilation, strict=True)
    ]


def _cropped(x: Any, shape: Sequence[int]) -> Any:
    return lax.slice(x, (0,) * x.ndim, shape)


def _window_places(size: int, out: int, kernel: int, stride: int, padding: int, dilation: int):
    """Positions ``(out, kernel)`` along an axis, and which of them are in the input."""
    place = np.arange(out)[:, None] * stride - padding + np.arange(kernel) * dilation
    return np.clip(place, 0, size - 1), (place >= 0) & (place < size)


def _largest(x: Any, places: Sequence[Any], inside: Sequence[Any]) -> Any:
    """The position of the largest element of each window, in the flattened input."""
    count = len(places)
    size = x.shape[-count:]
    flat, valid = np.zeros((1,) * (2 * count), np.int64), np.ones((1,) * (2 * count), bool)
    for axis, (place, ok) in enumerate(zip(places, inside, strict=True)):
        shape = [1] * (2 * count)
        shape[axis], shape[count + axis] = place.shape
        flat = flat + place.reshape(shape) * int(np.prod(size[axis + 1 :]))
        valid = valid & ok.reshape(shape)
    out = flat.shape[:count]
    flat, valid = flat.reshape(*out, -1), valid.reshape(*out, -1)
    values = x.reshape(*x.shape[:-count], -1)[..., flat]
    values = jnp.where(valid, values, _limits(x.dtype)[0])
    best = jnp.argmax(values, -1)
    return jnp.take_along_axis(jnp.broadcast_to(flat, values.shape), best[..., None], -1)[..., 0]


@lowers("max_pool2d_with_indices", needs=Needs.OUTPUT)
def _max_pool2d(*args: Any) -> Any:
    return _max_pool(2, *args)


@lowers("max_pool3d_with_indices", needs=Needs.OUTPUT)
def _max_pool3d(*args: Any) -> Any:
    return _max_pool(3, *args)


def _max_pool(
    count: int,
    out: Any,
    x: Any,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] | int = 0,
    dilation: Sequence[int] | int = 1,
    ceil_mode: bool = False,
) -> Any:
    kernel = _spread(kernel, count)
    stride = _spread(stride or kernel, count)
    padding, dilation = _spread(padding, count), _spread(dilation, count)
    spatial = out[0].shape[-count:]
    windows = [
        _window_places(*sizes)
        for sizes in zip(x.shape[-count:], spatial, kernel, stride, padding, dilation, strict=True)
    ]
    index = _largest(lax.stop_gradient(x), *zip(*windows, strict=True))
    flat = x.reshape(*x.shape[:-count], -1)
    lines = index.reshape(*x.shape[:-count], -1)
    return jnp.take_along_axis(flat, lines, -1).reshape(index.shape), index


@lowers("avg_pool1d", "avg_pool2d", "avg_pool3d", needs=Needs.OUTPUT)
def _avg_pool(
    out: Any,
    x: Any,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] | int = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    count = len(kernel)
    stride, padding = _spread(stride or kernel, count), _spread(padding, count)
    spatial, size = out.shape[-count:], x.shape[-count:]
    lead = x.ndim - count
    pads = _pads(size, spatial, kernel, stride, padding, [1] * count)
    total = lax.reduce_window(
        x,
        np.zeros((), x.dtype),  # A constant, with which JAX knows the derivative.
        lax.add,
        (1,) * lead + tuple(kernel),
        (1,) * lead + tuple(stride),
        [(0, 0)] * lead + pads,
    )
    total = _cropped(total, out.shape)
    if divisor_override:
        return total / divisor_override
    divisor = np.ones((), np.float64)
    for n, o, k, s, p in zip(size, spatial, kernel, stride, padding, strict=True):
        start = np.arange(o) * s - p
        end = np.minimum(start + k, n + p)
        counts = end - start if count_include_pad else np.minimum(end, n) - np.maximum(start, 0)
        divisor = divisor[..., None] * counts
    return total / jnp.asarray(divisor.astype(x.dtype))


def _shares(size: int, out: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the window of each output begins and ends."""
    step = np.arange(out)
    return step * size // out, -(-(step + 1) * size // out)


@lowers("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d")
def _adaptive_avg_pool(x: Any, sizes: Sequence[int]) -> Any:
    for position, out in enumerate(sizes):
        axis = x.ndim - len(sizes) + position
        start, end = _shares(x.shape[axis], out)
        place = np.arange(x.shape[axis])
        inside = (place >= start[:, None]) & (place < end[:, None])
        mean = jnp.asarray((inside / (end - start)[:, None]).astype(x.dtype))
        x = jnp.moveaxis(jnp.tensordot(x, mean, ((axis,), (1,))), -1, axis)
    return x


@lowers("adaptive_max_pool2d", "adaptive_max_pool3d")
def _adaptive_max_pool(x: Any, sizes: Sequence[int]) -> Any:
    count = len(sizes)
    places, inside = [], []
    for size, out in zip(x.shape[-count:], sizes, strict=True):
        start, end = _shares(size, out)
        place = start[:, None] + np.arange((end - start).max())
        places.append(np.clip(place, 0, size - 1))
        inside.append(place < end[:, None])
    index = _largest(lax.stop_gradient(x), places, inside)
    flat = x.reshape(*x.shape[:-count], -1)
    lines = index.reshape(*x.shape[:-count], -1)
    return jnp.take_along_axis(flat, lines, -1).reshape(index.shape), index


@lowers("max_pool2d_with_indices_backward", "max_pool3d_with_indices_backward")
def _max_pool_backward(gradient: Any, x: Any, *rest: Any) -> Any:
    index = rest[-1]
    count = len(rest[0])
    lines = index.reshape(*index.shape[:-count], -1)
    flat = jnp.zeros((*x.shape[:-count], int(np.prod(x.shape[-count:]))), gradient.dtype)
    rows = flat.reshape(-1, flat.shape[-1])
    at = rows.at[np.arange(rows.shape[0])[:, None], lines.reshape(rows.shape[0], -1)]
    return at.add(gradient.reshape(rows.shape[0], -1)).reshape(x.shape)


@lowers("avg_pool2d_backward", "avg_pool3d_backward")
def _avg_pool_backward(gradient: Any, x: Any, *options: Any) -> Any:
    out = jax.ShapeDtypeStruct(gradient.shape, gradient.dtype)
    return jax.vjp(lambda x: _avg_pool(out, x, *options), x)[1](gradient)[0]


@lowers("_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward")
def _adaptive_avg_pool_backward(gradient: Any, x: Any) -> Any:
    count = x.ndim - 2 if x.ndim > 3 else x.ndim - 1
    pool = partial(_adaptive_avg_pool, sizes=gradient.shape[-count:])
    return jax.vjp(pool, x)[1](gradient)[0]


@lowers("col2im")
def _col2im(
    x: Any, size: Sequence[int], kernel: Any, dilation: Any, padding: Any, stride: Any
) -> Any:
    batched = x if x.ndim == 3 else x[None]
    channels = batched.shape[1] // int(np.prod(kernel))
    counts = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
    ]
    blocks = batched.reshape(batched.shape[0], channels, *kernel, *counts)
    wide = [n + 2 * p for n, p in zip(size, padding, strict=True)]
    image = jnp.zeros((batched.shape[0], channels, *wide), x.dtype)
    for row, column in itertools.product(*map(range, kernel)):
        rows = np.arange(counts[0])[:, None] * stride[0] + row * dilation[0]
        columns = np.arange(counts[1]) * stride[1] + column * dilation[1]
        image = image.at[:, :, rows, columns].add(blocks[:, :, row, column])
    top, left = padding
    image = image[:, :, top : top + size[0], left : left + size[1]]
    return image if x.ndim == 3 else image[0]


@lowers("im2col")
def _im2col(x: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> Any:
    batched = x if x.ndim == 4 else x[None]
    patches = lax.conv_general_dilated_patches(
        batched, kernel, stride, [(p, p) for p in padding], rhs_dilation=dilation
    )
    columns = patches.reshape(*patches.shape[:2], int(np.prod(patches.shape[2:])))
    return columns if x.ndim == 4 else columns[0]
