"""Activation functions, with torch's slopes where they have a kink."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ._registry import lowers


@lowers("relu")
def _relu(x: Any) -> Any:
    # NaN stays, and the slope at zero is zero.
    return jnp.where(x <= 0, jnp.zeros((), x.dtype), x)


@lowers("relu6")
def _relu6(x: Any) -> Any:
    return _hardtanh(x, 0.0, 6.0)


def _between(x: Any, low: Any, high: Any) -> Any:
    """``x`` limited, with slope zero at the limits."""
    limited = jnp.where(x <= low, jnp.asarray(low, x.dtype), x)
    return jnp.where(x >= high, jnp.asarray(high, x.dtype), limited)


@lowers("hardtanh")
def _hardtanh(x: Any, low: float = -1, high: float = 1) -> Any:
    return _between(x, low, high)


@lowers("hardsigmoid")
def _hardsigmoid(x: Any) -> Any:
    return _between(x, -3.0, 3.0) / 6 + 0.5


@lowers("hardswish")
def _hardswish(x: Any) -> Any:
    inner = jnp.where((x > -3) & (x < 3), x, 0.0)
    zero = jnp.zeros((), x.dtype)
    return jnp.where(x >= 3, x, jnp.where(x <= -3, zero, inner * (inner + 3) / 6))


@lowers("silu")
def _silu(x: Any) -> Any:
    return x * jax.nn.sigmoid(x)


@lowers("mish")
def _mish(x: Any) -> Any:
    return x * jnp.tanh(jax.nn.softplus(x))


@lowers("gelu")
def _gelu(x: Any, *, approximate: str = "none") -> Any:
    return jax.nn.gelu(x, approximate=approximate == "tanh")


@lowers("elu")
def _elu(x: Any, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    negative = alpha * jnp.expm1(input_scale * jnp.where(x > 0, 0.0, x))
    return scale * jnp.where(x > 0, x, negative)


@lowers("celu")
def _celu(x: Any, alpha: float = 1.0) -> Any:
    return _elu(x, alpha, 1, 1 / alpha)


@lowers("selu")
def _selu(x: Any) -> Any:
    return _elu(x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@lowers("leaky_relu")
def _leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    return jnp.where(x > 0, x, x * negative_slope)


@lowers("prelu", "_prelu_kernel")
def _prelu(x: Any, weight: Any) -> Any:
    return jnp.where(x > 0, x, x * weight)


@lowers("threshold")
def _threshold(x: Any, threshold: float, value: float) -> Any:
    return jnp.where(x <= threshold, jnp.asarray(value, x.dtype), x)


@lowers("softplus")
def _softplus(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    scaled = x * beta
    linear = scaled > threshold
    return jnp.where(linear, x, jnp.log1p(jnp.exp(jnp.where(linear, 0.0, scaled))) / beta)


@lowers("softshrink")
def _softshrink(x: Any, lambd: float = 0.5) -> Any:
    zero = jnp.zeros((), x.dtype)
    return jnp.where(x > lambd, x - lambd, jnp.where(x < -lambd, x + lambd, x * zero))


@lowers("hardshrink")
def _hardshrink(x: Any, lambd: float = 0.5) -> Any:
    return jnp.where((x >= -lambd) & (x <= lambd), jnp.zeros((), x.dtype), x)


@lowers("log_sigmoid_forward")
def _log_sigmoid(x: Any) -> Any:
    return jax.nn.log_sigmoid(x), x


@lowers("glu")
def _glu(x: Any, dim: int = -1) -> Any:
    value, gate = jnp.split(x, 2, dim)
    return value * jax.nn.sigmoid(gate)


@lowers("_softmax")
def _softmax(x: Any, dim: int, half_to_float: bool = False) -> Any:
    return jax.nn.softmax(x, dim if x.ndim else None)


@lowers("_log_softmax")
def _log_softmax(x: Any, dim: int, half_to_float: bool = False) -> Any:
    return jax.nn.log_softmax(x, dim if x.ndim else None)
