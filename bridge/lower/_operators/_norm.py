"""Normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from ._registry import lowers


def _scale(x: Any, weight: Any, bias: Any) -> Any:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


def _over_channels(vector: Any, x: Any) -> Any:
    return None if vector is None else vector.reshape(1, -1, *(1,) * (x.ndim - 2))


def _batch_norm(
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Any, Any, Any, Any, Any]:
    """The output, what was saved of the batch, and the new running statistics, which have no
    gradient."""
    wide = jnp.float32 if x.dtype in (jnp.float16, jnp.bfloat16) else x.dtype
    mean, var = (s if s is None else lax.stop_gradient(s) for s in (mean, var))
    if not training:
        used_mean, used_var = mean.astype(wide), var.astype(wide)
        inverse = lax.rsqrt(used_var + eps)
        saved = jnp.zeros((0,), wide), jnp.zeros((0,), wide)
    else:
        axes = (0, *range(2, x.ndim))
        full = x.astype(wide)
        used_mean = jnp.mean(full, axes)
        centred = full - _over_channels(used_mean, x)
        used_var = jnp.mean(jnp.square(centred), axes)
        inverse = lax.rsqrt(used_var + eps)
        saved = used_mean, inverse
        if mean is not None:
            count = x.size // x.shape[1]
            unbiased = lax.stop_gradient(used_var) * (count / max(count - 1, 1))
            batch_mean = lax.stop_gradient(used_mean)
            mean = (1 - momentum) * mean + momentum * batch_mean.astype(mean.dtype)
            var = (1 - momentum) * var + momentum * unbiased.astype(var.dtype)
    normal = (x.astype(wide) - _over_channels(used_mean, x)) * _over_channels(inverse, x)
    out = _scale(normal, _over_channels(weight, x), _over_channels(bias, x))
    return out, *saved, mean, var


@lowers("_native_batch_norm_legit_functional")
def _functional(*args: Any) -> Any:
    return _batch_norm(*args)


@lowers("native_batch_norm", "_native_batch_norm_legit")
def _native(*args: Any) -> Any:
    return _batch_norm(*args)[:3]


@lowers("_native_batch_norm_legit.no_stats")
def _no_stats(x: Any, weight: Any, bias: Any, training: bool, momentum: float, eps: float) -> Any:
    return _batch_norm(x, weight, bias, None, None, True, momentum, eps)[:3]


@lowers("_native_batch_norm_legit_no_training")
def _no_training(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> Any:
    return _batch_norm(x, weight, bias, mean, var, False, momentum, eps)[:3]


@lowers("_batch_norm_with_update_functional")
def _with_update(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> Any:
    out, *saved, mean, var = _batch_norm(x, weight, bias, mean, var, True, momentum, eps)
    return out, *saved, jnp.zeros((0,), jnp.uint8), mean, var


@lowers("_batch_norm_no_update")
def _no_update(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> Any:
    training = mean is None
    out = _batch_norm(x, weight, bias, mean, var, training, momentum, eps)
    return (*out[:3], jnp.zeros((0,), jnp.uint8))


def _normal(x: Any, axes: tuple[int, ...], eps: float) -> tuple[Any, Any, Any]:
    wide = jnp.float32 if x.dtype in (jnp.float16, jnp.bfloat16) else x.dtype
    full = x.astype(wide)
    mean = jnp.mean(full, axes, keepdims=True)
    centred = full - mean
    inverse = lax.rsqrt(jnp.mean(jnp.square(centred), axes, keepdims=True) + eps)
    return centred * inverse, mean, inverse


@lowers("native_layer_norm")
def _layer_norm(x: Any, shape: Sequence[int], weight: Any, bias: Any, eps: float) -> Any:
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    normal, mean, inverse = _normal(x, axes, eps)
    return _scale(normal, weight, bias), mean, inverse


@lowers("native_group_norm")
def _group_norm(
    x: Any, weight: Any, bias: Any, n: int, channels: int, size: int, groups: int, eps: float
) -> Any:
    grouped = x.reshape(n, groups, channels // groups * size)
    normal, mean, inverse = _normal(grouped, (2,), eps)
    out = _scale(normal.reshape(x.shape), _over_channels(weight, x), _over_channels(bias, x))
    return out, mean.reshape(n, groups), inverse.reshape(n, groups)
