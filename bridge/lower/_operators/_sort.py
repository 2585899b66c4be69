"""Sorting, and what is found by it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

from ._promote import is_float
from ._reduce import taken
from ._registry import lowers


def _order(x: Any, dim: int, descending: bool) -> Any:
    return jnp.argsort(x, axis=dim, stable=True, descending=descending)


@lowers("sort", "sort.stable")
def _sort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> Any:
    if not x.ndim:
        return x, jnp.zeros((), jnp.int32)
    order = _order(lax.stop_gradient(x), dim, descending)
    return jnp.take_along_axis(x, order, dim), order


@lowers("argsort", "argsort.stable")
def _argsort(x: Any, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    return _sort(x, dim, descending)[1]


@lowers("topk")
def _topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    values, order = _sort(x, dim, largest)
    if not x.ndim:
        return values, order
    axis = dim % x.ndim
    return lax.slice_in_dim(values, 0, k, axis=axis), lax.slice_in_dim(order, 0, k, axis=axis)


@lowers("kthvalue")
def _kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    if not x.ndim:
        return x, jnp.zeros((), jnp.int32)
    order = lax.slice_in_dim(_order(lax.stop_gradient(x), dim, False), k - 1, k, axis=dim % x.ndim)
    return taken(x, order, dim, keepdim)


@lowers("median.dim")
def _median_dim(x: Any, dim: int = -1, keepdim: bool = False) -> Any:
    if not x.ndim:
        return x, jnp.zeros((), jnp.int32)
    fixed = lax.stop_gradient(x)
    order = _order(fixed, dim, False)
    middle = (x.shape[dim] - 1) // 2
    found = lax.slice_in_dim(order, middle, middle + 1, axis=dim % x.ndim)
    if is_float(x):
        bad = jnp.isnan(fixed)
        first = jnp.argmax(bad, axis=dim, keepdims=True).astype(found.dtype)
        found = jnp.where(bad.any(dim, keepdims=True), first, found)
    return taken(x, found, dim, keepdim)


@lowers("nanmedian.dim")
def _nanmedian_dim(x: Any, dim: int = -1, keepdim: bool = False) -> Any:
    if not x.ndim:
        return x, jnp.zeros((), jnp.int32)
    fixed = lax.stop_gradient(x)
    # NaN comes last.
    order = _order(fixed, dim, False)
    count = jnp.sum(~jnp.isnan(fixed), dim, keepdims=True)
    return taken(x, jnp.take_along_axis(order, jnp.maximum(count - 1, 0) // 2, dim), dim, keepdim)


@lowers("nanmedian")
def _nanmedian(x: Any) -> Any:
    return _of_all(_nanmedian_dim, x)


@lowers("median")
def _median(x: Any) -> Any:
    return _of_all(_median_dim, x)


def _of_all(along: Callable[..., Any], x: Any) -> Any:
    if x.size == 0 and is_float(x):
        return jnp.full((), jnp.nan, x.dtype)
    return along(x.reshape(-1), 0)[0]
