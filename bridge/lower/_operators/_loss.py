"""Losses that torch computes by operators of their own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._registry import Unsupported, lowers

_MEAN, _SUM = 1, 2


def _reduced(loss: Any, reduction: int) -> Any:
    if reduction == _MEAN:
        return jnp.mean(loss)
    return jnp.sum(loss) if reduction == _SUM else loss


@lowers("nll_loss_forward", "nll_loss2d_forward")
def _nll_loss(x: Any, target: Any, weight: Any, reduction: int, ignore_index: int) -> Any:
    axis = 1 if x.ndim > 1 else 0
    used = target != ignore_index
    safe = jnp.where(used, target, jnp.zeros((), target.dtype))
    factor = used.astype(x.dtype)
    if weight is not None:
        factor = factor * weight[safe]
    picked = jnp.take_along_axis(x, jnp.expand_dims(safe, axis), axis).squeeze(axis)
    loss = jnp.where(used, -picked * factor, jnp.zeros((), x.dtype))
    total = jnp.sum(factor)
    if reduction == _MEAN:
        return jnp.sum(loss) / total, total
    return _reduced(loss, reduction), total if reduction == _SUM else total * 0


@jax.custom_jvp
def _log(x: Any) -> Any:
    """The logarithm, not below -100, whose slope has a bound as in torch."""
    return jnp.maximum(jnp.log(x), -100)


@_log.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return _log(x), t / jnp.maximum(x, 1e-12)


@lowers("binary_cross_entropy")
def _binary_cross_entropy(x: Any, target: Any, weight: Any = None, reduction: int = _MEAN) -> Any:
    loss = -(target * _log(x) + (1 - target) * _log(1 - x))
    return _reduced(loss if weight is None else loss * weight, reduction)


@lowers("binary_cross_entropy_with_logits")
def _with_logits(
    x: Any, target: Any, weight: Any = None, pos_weight: Any = None, reduction: int = _MEAN
) -> Any:
    log = jax.nn.log_sigmoid(x)
    factor = 1 if pos_weight is None else (pos_weight - 1) * target + 1
    loss = (1 - target) * x - factor * log
    if pos_weight is None:
        loss = (1 - target) * x - log
    return _reduced(loss if weight is None else loss * weight, reduction)


@lowers("mse_loss")
def _mse_loss(x: Any, target: Any, reduction: int = _MEAN) -> Any:
    return _reduced(jnp.square(x - target), reduction)


@lowers("smooth_l1_loss")
def _smooth_l1(x: Any, target: Any, reduction: int = _MEAN, beta: float = 1.0) -> Any:
    size = jnp.abs(x - target)
    if beta == 0:
        return _reduced(size, reduction)
    near = size < beta
    return _reduced(
        jnp.where(near, 0.5 * jnp.square(x - target) / beta, size - 0.5 * beta), reduction
    )


@lowers("huber_loss")
def _huber(x: Any, target: Any, reduction: int = _MEAN, delta: float = 1.0) -> Any:
    size = jnp.abs(x - target)
    near = size <= delta
    return _reduced(
        jnp.where(near, 0.5 * jnp.square(x - target), delta * (size - 0.5 * delta)), reduction
    )


@lowers("soft_margin_loss")
def _soft_margin(x: Any, target: Any, reduction: int = _MEAN) -> Any:
    return _reduced(jax.nn.softplus(-target * x), reduction)


@lowers("multi_margin_loss")
def _multi_margin(
    x: Any,
    target: Any,
    p: Any = 1,
    margin: Any = 1,
    weight: Any = None,
    reduction: int = _MEAN,
) -> Any:
    if p not in (1, 2):
        raise Unsupported("p other than 1 and 2")
    rows = x if x.ndim > 1 else x.reshape(1, -1)
    labels = target.reshape(-1)
    right = jnp.take_along_axis(rows, labels[:, None], 1)
    gap = jax.nn.relu(margin - right + rows)
    gap = jnp.where(jnp.arange(rows.shape[1]) == labels[:, None], 0.0, gap)
    gap = gap if p == 1 else jnp.square(gap)
    if weight is not None:
        gap = gap * weight[labels][:, None]
    loss = jnp.sum(gap, 1) / rows.shape[1]
    return _reduced(loss if target.ndim else loss[0], reduction)
