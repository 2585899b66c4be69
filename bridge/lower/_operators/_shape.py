"""Views and their like: other shapes of the same elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ._registry import Needs, lowers


@lowers(
    "alias",
    "clone",
    "contiguous",
    "lift_fresh",
    "lift_fresh_copy",
    "resolve_conj",
    "resolve_neg",
)
def _same(x: Any, *, memory_format: Any = None) -> Any:
    return x


@lowers("detach")
def _detach(x: Any) -> Any:
    return lax.stop_gradient(x)


@lowers("view", "reshape", "_unsafe_view", "_reshape_alias", "view_copy", needs=Needs.OUTPUT)
def _view(out: Any, x: Any, *_: Any) -> Any:
    return x.reshape(out.shape)


@lowers("squeeze", "squeeze.dim", "squeeze.dims", "unsqueeze", needs=Needs.OUTPUT)
def _squeeze(out: Any, x: Any, *_: Any) -> Any:
    return x.reshape(out.shape)


@lowers("view.dtype", needs=Needs.OUTPUT)
def _view_dtype(out: Any, x: Any, dtype: Any) -> Any:
    old, new = x.dtype.itemsize, np.dtype(out.dtype).itemsize
    if new > old:
        x = x.reshape(*x.shape[:-1], -1, new // old)
    return lax.bitcast_convert_type(x, out.dtype).reshape(out.shape)


@lowers("expand", needs=Needs.OUTPUT)
def _expand(out: Any, x: Any, size: Any, *, implicit: bool = False) -> Any:
    return jnp.broadcast_to(x, out.shape)


@lowers("permute", "permute_copy")
def _permute(x: Any, dims: Sequence[int]) -> Any:
    return jnp.transpose(x, dims)


@lowers("t", "numpy_T")
def _t(x: Any) -> Any:
    return x.T


@lowers("transpose.int")
def _transpose(x: Any, one: int, other: int) -> Any:
    return jnp.swapaxes(x, one, other) if x.ndim else x


@lowers("select.int")
def _select(x: Any, dim: int, index: int) -> Any:
    return lax.index_in_dim(x, index, dim, keepdims=False)


def _span(size: int, start: int | None, end: int | None) -> tuple[int, int]:
    def limited(value: int) -> int:
        return min(max(value + size if value < 0 else value, 0), size)

    first = limited(0 if start is None else start)
    return first, max(first, limited(size if end is None else end))


@lowers("slice.Tensor")
def _slice(
    x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    first, last = _span(x.shape[dim], start, end)
    return lax.slice_in_dim(x, first, last, step, dim)


@lowers("split_with_sizes")
def _split_with_sizes(x: Any, sizes: Sequence[int], dim: int = 0) -> Any:
    ends = np.cumsum(sizes)
    return [lax.slice_in_dim(x, end - n, end, axis=dim) for n, end in zip(sizes, ends, strict=True)]


@lowers("split.Tensor")
def _split(x: Any, size: int, dim: int = 0) -> Any:
    total = x.shape[dim]
    starts = range(0, max(total, 1), max(size, 1))
    return [lax.slice_in_dim(x, start, min(start + size, total), axis=dim) for start in starts]


@lowers("unbind.int", "unbind_copy.int")
def _unbind(x: Any, dim: int = 0) -> Any:
    return [lax.index_in_dim(x, i, dim, keepdims=False) for i in range(x.shape[dim])]


@lowers("cat", needs=Needs.OUTPUT)
def _cat(out: Any, parts: Sequence[Any], dim: int = 0) -> Any:
    # Tensors of shape (0,) go with any others.
    used = [p.astype(out.dtype) for p in parts if p.shape != (0,) or out.shape == (0,)]
    return jnp.concatenate(used, dim) if used else jnp.zeros(out.shape, out.dtype)


@lowers("stack", needs=Needs.OUTPUT)
def _stack(out: Any, parts: Sequence[Any], dim: int = 0) -> Any:
    return jnp.stack([p.astype(out.dtype) for p in parts], dim)


@lowers("flip")
def _flip(x: Any, dims: Sequence[int]) -> Any:
    return jnp.flip(x, tuple(dims)) if dims and x.ndim else x


@lowers("roll")
def _roll(x: Any, shifts: Any, dims: Any = ()) -> Any:
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    if not x.ndim:
        return x
    if not dims:
        return jnp.roll(x.reshape(-1), shifts[0]).reshape(x.shape)
    return jnp.roll(x, shifts, dims)


@lowers("repeat")
def _repeat(x: Any, repeats: Sequence[int]) -> Any:
    return jnp.tile(x.reshape((1,) * (len(repeats) - x.ndim) + x.shape), repeats)


@lowers("diagonal")
def _diagonal(x: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    return jnp.diagonal(x, offset, dim1, dim2)


@lowers("tril")
def _tril(x: Any, diagonal: int = 0) -> Any:
    return jnp.tril(x, diagonal)


@lowers("triu")
def _triu(x: Any, diagonal: int = 0) -> Any:
    return jnp.triu(x, diagonal)


@lowers("unfold")
def _unfold(x: Any, dimension: int, size: int, step: int) -> Any:
    if not x.ndim:
        return x.reshape(1)[:size]
    dim = dimension % x.ndim
    count = (x.shape[dim] - size) // step + 1
    index = np.arange(count)[:, None] * step + np.arange(size)
    windows = jnp.take(x, index.reshape(-1), dim)
    shape = (*x.shape[:dim], count, size, *x.shape[dim + 1 :])
    return jnp.moveaxis(windows.reshape(shape), dim + 1, -1)


@lowers("constant_pad_nd")
def _constant_pad(x: Any, pad: Sequence[int], value: Any = 0) -> Any:
    pairs = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    config = [(0, 0, 0)] * (x.ndim - len(pairs)) + [(low, high, 0) for low, high in pairs]
    return lax.pad(x, jnp.asarray(value, x.dtype), config)


def _pad_by_index(x: Any, padding: Sequence[int], reflect: bool) -> Any:
    for position in range(len(padding) // 2):
        axis = x.ndim - 1 - position
        low, high = padding[2 * position : 2 * position + 2]
        index = np.arange(-low, x.shape[axis] + high)
        last = x.shape[axis] - 1
        index = last - np.abs(last - np.abs(index)) if reflect else np.clip(index, 0, last)
        x = jnp.take(x, index, axis)
    return x


@lowers("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def _reflection_pad(x: Any, padding: Sequence[int]) -> Any:
    return _pad_by_index(x, padding, reflect=True)


@lowers("replication_pad1d", "replication_pad2d", "replication_pad3d")
def _replication_pad(x: Any, padding: Sequence[int]) -> Any:
    return _pad_by_index(x, padding, reflect=False)


@lowers("pixel_shuffle", needs=Needs.OUTPUT)
def _pixel_shuffle(out: Any, x: Any, factor: int) -> Any:
    *batch, channels, height, width = x.shape
    x = x.reshape(*batch, channels // factor**2, factor, factor, height, width)
    n = len(batch)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return jnp.transpose(x, order).reshape(out.shape)


@lowers("pixel_unshuffle", needs=Needs.OUTPUT)
def _pixel_unshuffle(out: Any, x: Any, factor: int) -> Any:
    *batch, channels, height, width = x.shape
    x = x.reshape(*batch, channels, height // factor, factor, width // factor, factor)
    n = len(batch)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return jnp.transpose(x, order).reshape(out.shape)
