"""Tensors from nothing but sizes and numbers, and conversions of dtypes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ._registry import Needs, lowers


@lowers(
    "_to_copy",
    "to.dtype",
    needs=Needs.OUTPUT,
)
def _to_copy(out: Any, x: Any, *_: Any, **__: Any) -> Any:
    if jnp.issubdtype(x.dtype, jnp.complexfloating) and not jnp.issubdtype(
        out.dtype, jnp.complexfloating
    ):
        x = x.real if out.dtype != jnp.bool_ else x != 0
    return x.astype(out.dtype)


@lowers("copy", needs=Needs.OUTPUT)
def _copy(out: Any, x: Any, source: Any, non_blocking: bool = False) -> Any:
    return jnp.broadcast_to(_to_copy(out, source), out.shape)


@lowers("fill.Scalar", "fill.Tensor", needs=Needs.OUTPUT)
def _fill(out: Any, x: Any, value: Any) -> Any:
    return jnp.broadcast_to(jnp.asarray(value).astype(out.dtype), out.shape)


@lowers("full", "full_like", "new_full", needs=Needs.OUTPUT)
def _full(out: Any, like: Any, *rest: Any, **_: Any) -> Any:
    return jnp.full(out.shape, rest[-1], out.dtype)


@lowers("scalar_tensor", needs=Needs.OUTPUT)
def _scalar_tensor(out: Any, value: Any, **_: Any) -> Any:
    return jnp.full(out.shape, value, out.dtype)


@lowers(
    "zeros",
    "zeros_like",
    "new_zeros",
    "zero",
    "empty.memory_format",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    needs=Needs.OUTPUT,
)
def _zeros(out: Any, *_: Any, **__: Any) -> Any:
    return jnp.zeros(out.shape, out.dtype)


@lowers("ones", "ones_like", "new_ones", needs=Needs.OUTPUT)
def _ones(out: Any, *_: Any, **__: Any) -> Any:
    return jnp.ones(out.shape, out.dtype)


@lowers("arange", "arange.start", "arange.start_step", needs=Needs.OUTPUT)
def _arange(out: Any, *bounds: Any, **_: Any) -> Any:
    start = bounds[0] if len(bounds) > 1 else 0
    step = bounds[2] if len(bounds) > 2 else 1
    exact = all(isinstance(n, int) for n in bounds)
    dtype = np.int64 if exact else np.float64
    return jnp.asarray((start + step * np.arange(out.shape[0], dtype=dtype)).astype(out.dtype))


@lowers("linspace", needs=Needs.OUTPUT)
def _linspace(out: Any, start: Any, end: Any, steps: int, **_: Any) -> Any:
    return jnp.asarray(np.linspace(start, end, steps).astype(out.dtype))


@lowers("eye", "eye.m", needs=Needs.OUTPUT)
def _eye(out: Any, *_: Any, **__: Any) -> Any:
    return jnp.eye(*out.shape, dtype=out.dtype)


@lowers("tril_indices", needs=Needs.OUTPUT)
def _tril_indices(out: Any, row: int, col: int, offset: int = 0, **_: Any) -> Any:
    return jnp.asarray(np.stack(np.tril_indices(row, offset, col)).astype(out.dtype))


@lowers("triu_indices", needs=Needs.OUTPUT)
def _triu_indices(out: Any, row: int, col: int, offset: int = 0, **_: Any) -> Any:
    return jnp.asarray(np.stack(np.triu_indices(row, offset, col)).astype(out.dtype))
