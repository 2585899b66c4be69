"""Reading and writing at indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ._promote import as_array, is_float
from ._registry import Needs, Unsupported, lowers
from ._shape import _span


def _places(indices: Sequence[Any]) -> tuple[Any, ...]:
    if any(i is not None and i.dtype == jnp.bool_ for i in indices):
        raise Unsupported("indices given by a mask, beside others")
    return tuple(slice(None) if index is None else index for index in indices)


@lowers("index.Tensor", "_unsafe_index.Tensor")
def _index(x: Any, indices: Sequence[Any]) -> Any:
    return _read(x, _places(indices))


def _read(x: Any, places: Any) -> Any:
    """Elements of ``x``, NaN where torch would raise for want of one (of integers an extreme)."""
    return x.at[places].get(mode="fill")


def not_from_behind(index: Any, size: int) -> Any:
    """Indices of which torch refuses negative ones, with those beyond the end."""
    return jnp.where(index < 0, size, index)


def _mask(x: Any, indices: Sequence[Any]) -> Any:
    """The one mask among ``indices``, with the axes of ``x``; None if there is none."""
    masks = [(axis, i) for axis, i in enumerate(indices) if i is not None]
    if len(masks) != 1 or masks[0][1].dtype != jnp.bool_:
        return None
    axis, mask = masks[0]
    return mask.reshape((1,) * axis + mask.shape + (1,) * (x.ndim - axis - mask.ndim))


@lowers("index_put", "_unsafe_index_put")
def _index_put(x: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    mask = _mask(x, indices)
    if mask is not None:
        if values.size != 1:
            raise Unsupported("several values written at a mask")
        value = values.reshape(())
        return jnp.where(mask, x + value if accumulate else value, x)
    at = x.at[_places(indices)]
    return at.add(values) if accumulate else at.set(values)


@lowers("index_select")
def _index_select(x: Any, dim: int, index: Any) -> Any:
    index = index.reshape(-1)
    return jnp.take(x, not_from_behind(index, x.shape[dim]), dim) if x.ndim else x


@lowers("embedding")
def _embedding(
    weight: Any,
    indices: Any,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:
    if scale_grad_by_freq:
        raise Unsupported("scale_grad_by_freq")
    found = jnp.take(weight, not_from_behind(indices, weight.shape[0]), 0)
    if padding_idx < 0:
        return found
    padding = (indices == padding_idx)[..., None]
    return jnp.where(padding, lax.stop_gradient(found), found)


def _grid(index: Any, dim: int) -> tuple[Any, ...]:
    """Index arrays for all axes, of which ``index`` is that of ``dim``."""
    grids = [lax.broadcasted_iota(jnp.int32, index.shape, axis) for axis in range(index.ndim)]
    grids[dim] = index.astype(jnp.int32)
    return tuple(grids)


@lowers("gather")
def _gather(x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    if index.size == 0:
        return jnp.zeros(index.shape, x.dtype)
    if not x.ndim or not index.ndim:
        x, flat = x.reshape(-1), index.reshape(-1)
        return _read(x, not_from_behind(flat, x.size)).reshape(index.shape)
    return _read(x, _grid(not_from_behind(index, x.shape[dim]), dim % x.ndim))


def _scatter_at(x: Any, dim: int, index: Any, source: Any, how: str) -> Any:
    if not x.ndim:
        return _scatter_at(
            x.reshape(1), 0, index.reshape(-1), jnp.reshape(source, -1)[: index.size], how
        ).reshape(())
    if not index.ndim:
        index, source = index.reshape(1), jnp.reshape(source, -1)[:1]
    if source.ndim:
        source = source[tuple(slice(0, n) for n in index.shape)]
    if how == "multiply" and is_float(x):
        raise Unsupported("products of scattered numbers, which have no gradient in JAX")
    at = x.at[_grid(index, dim % x.ndim)]
    return getattr(at, how)(source.astype(x.dtype))


_HOW = {
    "add": "add",
    "sum": "add",
    "multiply": "multiply",
    "prod": "multiply",
    "amax": "max",
    "amin": "min",
}


@lowers("scatter.src", "scatter.value", "scatter.reduce", "scatter.value_reduce")
def _scatter(x: Any, dim: int, index: Any, source: Any, *, reduce: str | None = None) -> Any:
    source = as_array(source, x.dtype)
    return _scatter_at(x, dim, index, source, "set" if reduce is None else _HOW[reduce])


@lowers("scatter_add")
def _scatter_add(x: Any, dim: int, index: Any, source: Any) -> Any:
    return _scatter_at(x, dim, index, source, "add")


@lowers("scatter_reduce.two")
def _scatter_reduce(
    x: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    how = "add" if reduce == "mean" else _HOW[reduce]
    ones = jnp.ones(index.shape, x.dtype)
    start = x
    if not include_self:
        extreme = _limits(x.dtype)
        neutral = {"add": 0, "multiply": 1, "max": extreme[0], "min": extreme[1]}[how]
        start = _scatter_at(x, dim, index, ones * jnp.asarray(neutral, x.dtype), "set")
    result = _scatter_at(start, dim, index, source, how)
    if reduce != "mean":
        return result
    own = jnp.ones(x.shape, x.dtype)
    if not include_self:
        own = _scatter_at(own, dim, index, ones * 0, "set")
    count = jnp.maximum(_scatter_at(own, dim, index, ones, "add"), 1)
    return result / count if is_float(x) else jnp.floor_divide(result, count)


def _limits(dtype: Any) -> tuple[Any, Any]:
    """The lowest and the highest value of a dtype."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return -np.inf, np.inf
    if dtype == jnp.bool_:
        return False, True
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _along(x: Any, dim: int, index: Any) -> Any:
    return x.at[(slice(None),) * (dim % x.ndim) + (index,)]


@lowers("index_add")
def _index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Any:
    source = source.astype(x.dtype)
    if alpha != 1:
        source = source * jnp.asarray(alpha, x.dtype)
    if not x.ndim:
        return x + source.sum()
    return _along(x, dim, index.reshape(-1)).add(source.reshape(_index_shape(x, dim, index)))


def _index_shape(x: Any, dim: int, index: Any) -> tuple[int, ...]:
    dim %= x.ndim
    return (*x.shape[:dim], index.size, *x.shape[dim + 1 :])


@lowers("index_reduce")
def _index_reduce(
    x: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True
) -> Any:
    if not x.ndim:
        x, source = x.reshape(1), source.reshape(-1)
        return _index_reduce(x, 0, index, source, reduce, include_self=include_self).reshape(())
    shape = [1] * x.ndim
    shape[dim] = index.size
    everywhere = jnp.broadcast_to(index.reshape(shape), source.shape)
    return _scatter_reduce(x, dim, everywhere, source, reduce, include_self=include_self)


@lowers("index_copy")
def _index_copy(x: Any, dim: int, index: Any, source: Any) -> Any:
    if not x.ndim:
        return source.reshape(())
    return _along(x, dim, index.reshape(-1)).set(source.reshape(_index_shape(x, dim, index)))


@lowers("index_fill.int_Scalar", "index_fill.int_Tensor")
def _index_fill(x: Any, dim: int, index: Any, value: Any) -> Any:
    value = as_array(value, x.dtype)
    return _along(x, dim, index.reshape(-1)).set(value) if x.ndim else value


@lowers("masked_fill.Scalar", "masked_fill.Tensor")
def _masked_fill(x: Any, mask: Any, value: Any) -> Any:
    return jnp.where(mask, as_array(value, x.dtype), x)


@lowers("masked_scatter")
def _masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    shape = jnp.broadcast_shapes(x.shape, mask.shape)
    x, mask = jnp.broadcast_to(x, shape), jnp.broadcast_to(mask, shape)
    order = jnp.cumsum(mask.reshape(-1).astype(jnp.int32)) - 1
    values = source.reshape(-1)[jnp.clip(order, 0, source.size - 1)].reshape(shape)
    return jnp.where(mask, values, x)


@lowers("take")
def _take(x: Any, index: Any) -> Any:
    return _read(x.reshape(-1), index)


@lowers("put")
def _put(x: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    at = x.reshape(-1).at[index.reshape(-1)]
    source = source.reshape(-1)
    return (at.add(source) if accumulate else at.set(source)).reshape(x.shape)


@lowers("select_scatter")
def _select_scatter(x: Any, source: Any, dim: int, index: int) -> Any:
    return _along(x, dim, index).set(source)


@lowers("slice_scatter")
def _slice_scatter(
    x: Any,
    source: Any,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Any:
    first, last = _span(x.shape[dim], start, end)
    return _along(x, dim, slice(first, last, step)).set(source)


@lowers("diagonal_scatter")
def _diagonal_scatter(x: Any, source: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    x = jnp.moveaxis(x, (dim1, dim2), (-2, -1))
    row = np.arange(source.shape[-1]) + max(-offset, 0)
    x = x.at[..., row, row + offset].set(source)
    return jnp.moveaxis(x, (-2, -1), (dim1, dim2))


@lowers("as_strided", needs=Needs.OUTPUT)
def _as_strided(
    out: Any, x: Any, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> Any:
    # Of what lies in memory row by row; others are refused where the graph is captured.
    places = np.full((), offset or 0)
    for count, step in zip(size, stride, strict=True):
        places = places[..., None] + np.arange(count) * step
    return x.reshape(-1)[places]


@lowers("bucketize.Tensor", "bucketize.Scalar")
def _bucketize(x: Any, edges: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    values = as_array(x, jnp.promote_types(getattr(x, "dtype", edges.dtype), edges.dtype))
    return jnp.searchsorted(edges.astype(values.dtype), values, side="right" if right else "left")


@lowers("searchsorted.Tensor", "searchsorted.Scalar")
def _searchsorted(
    edges: Any,
    x: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    if sorter is not None:
        edges = jnp.take_along_axis(edges, sorter, -1)
    side = side or ("right" if right else "left")
    dtype = jnp.promote_types(getattr(x, "dtype", edges.dtype), edges.dtype)
    edges, values = edges.astype(dtype), as_array(x, dtype)
    if edges.ndim == 1:
        return jnp.searchsorted(edges, values, side=side)
    if values.size == 0:
        return jnp.zeros(values.shape, jnp.int32)
    find = jnp.vectorize(lambda e, v: jnp.searchsorted(e, v, side=side), signature="(m),(n)->(n)")
    return find(edges, values)


@lowers("isin.Tensor_Tensor", "isin.Tensor_Scalar", "isin.Scalar_Tensor")
def _isin(x: Any, found: Any, *, assume_unique: bool = False, invert: bool = False) -> Any:
    dtype = getattr(x, "dtype", None) or found.dtype
    return jnp.isin(as_array(x, dtype), as_array(found, dtype), invert=invert)


@lowers("embedding_dense_backward")
def _embedding_dense_backward(
    gradient: Any, indices: Any, count: int, padding_idx: int, scale_grad_by_freq: bool
) -> Any:
    if scale_grad_by_freq:
        raise Unsupported("scale_grad_by_freq")
    if padding_idx >= 0:
        gradient = jnp.where((indices == padding_idx)[..., None], 0, gradient)
    return jnp.zeros((count, gradient.shape[-1]), gradient.dtype).at[indices].add(gradient)
