"""Sums, means, extremes, and running ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ._promote import as_float, is_complex, is_float
from ._registry import Needs, lowers

Dim = int | Sequence[int] | None


def axes(x: Any, dim: Dim) -> tuple[int, ...]:
    """The axes that ``dim`` means: all for None and an empty list; none of a tensor without."""
    if x.ndim == 0:
        return ()
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(x.ndim))
    return tuple(d % x.ndim for d in ((dim,) if isinstance(dim, int) else dim))


@lowers("sum", "sum.dim_IntList", needs=Needs.OUTPUT)
def _sum(out: Any, x: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return jnp.sum(x.astype(out.dtype), axes(x, dim), keepdims=keepdim)


@lowers("nansum", needs=Needs.OUTPUT)
def _nansum(out: Any, x: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return jnp.nansum(x.astype(out.dtype), axes(x, dim), keepdims=keepdim)


@lowers("mean", "mean.dim", needs=Needs.OUTPUT)
def _mean(out: Any, x: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return jnp.mean(x.astype(out.dtype), axes(x, dim), keepdims=keepdim)


@lowers("prod", "prod.dim_int", needs=Needs.OUTPUT)
def _prod(out: Any, x: Any, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    return jnp.prod(x.astype(out.dtype), axes(x, dim), keepdims=keepdim)


@lowers("amax")
def _amax(x: Any, dim: Dim = (), keepdim: bool = False) -> Any:
    return jnp.max(x, axes(x, dim), keepdims=keepdim)


@lowers("amin")
def _amin(x: Any, dim: Dim = (), keepdim: bool = False) -> Any:
    return jnp.min(x, axes(x, dim), keepdims=keepdim)


@lowers("aminmax")
def _aminmax(x: Any, *, dim: int | None = None, keepdim: bool = False) -> Any:
    return _amin(x, dim, keepdim), _amax(x, dim, keepdim)


@lowers("max")
def _max(x: Any) -> Any:
    return jnp.max(x)


@lowers("min")
def _min(x: Any) -> Any:
    return jnp.min(x)


@lowers("any", "any.dim", "any.dims")
def _any(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    return jnp.any(x.astype(jnp.bool_), axes(x, dim), keepdims=keepdim)


@lowers("all", "all.dim", "all.dims")
def _all(x: Any, dim: Dim = None, keepdim: bool = False) -> Any:
    return jnp.all(x.astype(jnp.bool_), axes(x, dim), keepdims=keepdim)


@lowers("count_nonzero", "count_nonzero.dim_IntList")
def _count_nonzero(x: Any, dim: Dim = None) -> Any:
    return jnp.count_nonzero(x, axes(x, dim))


def _position(find: Callable[..., Any], x: Any, dim: int | None, keepdim: bool) -> Any:
    if x.ndim == 0:
        return jnp.zeros((), jnp.int32)
    found = find(x if x.dtype != jnp.bool_ else x.astype(jnp.uint8), axis=dim)
    if not keepdim:
        return found
    return found.reshape((1,) * x.ndim) if dim is None else jnp.expand_dims(found, dim)


@lowers("argmax")
def _argmax(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    return _position(jnp.argmax, x, dim, keepdim)


@lowers("argmin")
def _argmin(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    return _position(jnp.argmin, x, dim, keepdim)


def taken(x: Any, index: Any, dim: int, keepdim: bool) -> tuple[Any, Any]:
    """The elements at ``index`` (with ``dim`` of size one) along ``dim``, and the index."""
    values = jnp.take_along_axis(x, index, dim) if x.ndim else x
    return (values, index) if keepdim or not x.ndim else (values.squeeze(dim), index.squeeze(dim))


@lowers("max.dim")
def _max_dim(x: Any, dim: int, keepdim: bool = False) -> Any:
    return taken(x, _argmax(x, dim, True), dim, keepdim)


@lowers("min.dim")
def _min_dim(x: Any, dim: int, keepdim: bool = False) -> Any:
    return taken(x, _argmin(x, dim, True), dim, keepdim)


def _variance(x: Any, dim: Dim, correction: Any, keepdim: bool) -> tuple[Any, Any]:
    found = axes(x, dim)
    count = 1
    for axis in found:
        count *= x.shape[axis]
    mean = jnp.mean(x, found, keepdims=True)
    square = jnp.abs(x - mean) ** 2 if is_complex(x) else jnp.square(x - mean)
    divisor = jnp.asarray(max(count - (1 if correction is None else correction), 0), square.dtype)
    return jnp.sum(square, found, keepdims=keepdim) / divisor, mean.reshape(
        jnp.sum(x, found, keepdims=keepdim).shape
    )


def _root(x: Any) -> Any:
    """The square root, with slope zero at zero."""
    zero = x == 0
    return jnp.where(zero, jnp.zeros((), x.dtype), jnp.sqrt(jnp.where(zero, 1.0, x)))


@lowers("var.correction")
def _var(x: Any, dim: Dim = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    return _variance(x, dim, correction, keepdim)[0]


@lowers("std.correction")
def _std(x: Any, dim: Dim = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    return _root(_variance(x, dim, correction, keepdim)[0])


@lowers("var_mean.correction")
def _var_mean(x: Any, dim: Dim = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    return _variance(x, dim, correction, keepdim)


@lowers("std_mean.correction")
def _std_mean(x: Any, dim: Dim = None, *, correction: Any = None, keepdim: bool = False) -> Any:
    variance, mean = _variance(x, dim, correction, keepdim)
    return _root(variance), mean


@lowers("logsumexp", "special_logsumexp")
def _logsumexp(x: Any, dim: Dim, keepdim: bool = False) -> Any:
    return jax.nn.logsumexp(as_float(x), axes(x, dim), keepdims=keepdim)


@lowers("linalg_vector_norm", needs=Needs.OUTPUT)
def _vector_norm(
    out: Any, x: Any, ord: Any = 2, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    if dtype is not None:
        x = x.astype(jnp.promote_types(x.dtype, out.dtype) if is_complex(x) else out.dtype)
    found = axes(x, dim)
    size = jnp.abs(as_float(x))
    if ord == 0:
        return jnp.sum((size != 0).astype(size.dtype), found, keepdims=keepdim)
    if ord in (float("inf"), float("-inf")):
        return (jnp.max if ord > 0 else jnp.min)(size, found, keepdims=keepdim)
    if ord == 1:
        return jnp.sum(size, found, keepdims=keepdim)
    if ord == 2:
        squares = jnp.real(x * jnp.conj(x)) if is_complex(x) else jnp.square(as_float(x))
        return _root(jnp.sum(squares, found, keepdims=keepdim))
    zero = size == 0
    powers = jnp.where(zero, 0.0, jnp.where(zero, 1.0, size) ** ord)
    total = jnp.sum(powers, found, keepdims=keepdim)
    # With a negative exponent one zero makes the norm zero.
    empty = (total == 0) if ord > 0 else jnp.any(zero, found, keepdims=keepdim)
    total = jnp.where(empty, 0.0, total)
    return jnp.where(empty, total, jnp.where(empty, 1.0, total) ** (1 / ord))


def _running(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(out: Any, x: Any, dim: int, *, dtype: Any = None) -> Any:
        x = x.astype(out.dtype)
        return function(x, axis=dim) if x.ndim else x

    run.__module__ = __name__
    return run


lowers("cumsum", needs=Needs.OUTPUT)(_running(jnp.cumsum))
lowers("cumprod", needs=Needs.OUTPUT)(_running(jnp.cumprod))


@lowers("logcumsumexp")
def _logcumsumexp(x: Any, dim: int) -> Any:
    return lax.cumlogsumexp(x, dim % x.ndim) if x.ndim else x


def _running_extreme(x: Any, dim: int, better: Callable[..., Any]) -> tuple[Any, Any]:
    if not x.ndim:
        return x, jnp.zeros((), jnp.int32)
    positions = lax.broadcasted_iota(jnp.int32, x.shape, dim % x.ndim)

    def later(one: Any, other: Any) -> Any:
        wins = better(other[0], one[0])
        if is_float(x):
            wins = (wins | jnp.isnan(other[0])) & (~jnp.isnan(one[0]) | jnp.isnan(other[0]))
        return jnp.where(wins, other[0], one[0]), jnp.where(wins, other[1], one[1])

    values = lax.stop_gradient(x)
    _, index = lax.associative_scan(later, (values, positions), axis=dim)
    return jnp.take_along_axis(x, index, dim), index


@lowers("cummax")
def _cummax(x: Any, dim: int) -> Any:
    return _running_extreme(x, dim, jnp.greater_equal)


@lowers("cummin")
def _cummin(x: Any, dim: int) -> Any:
    return _running_extreme(x, dim, jnp.less_equal)


@lowers("trace")
def _trace(x: Any) -> Any:
    return jnp.trace(x)
