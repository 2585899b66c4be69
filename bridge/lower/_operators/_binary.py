"""Functions of two or more tensors or numbers, element by element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from ._promote import as_array, common_dtype, is_float, promoted
from ._registry import lowers


def _binary(function: Callable[[Any, Any], Any], floating: bool = False) -> Callable[..., Any]:
    def run(x: Any, y: Any) -> Any:
        return function(*promoted(x, y, floating=floating))

    run.__module__ = __name__
    return run


def _names(name: str, *overloads: str) -> list[str]:
    return [f"{name}.{overload}" for overload in overloads]


_BOTH = ("Tensor", "Scalar", "Scalar_Tensor")
for _name, _function in {
    "eq": jnp.equal,
    "ge": jnp.greater_equal,
    "gt": jnp.greater,
    "le": jnp.less_equal,
    "lt": jnp.less,
    "ne": jnp.not_equal,
    "mul": jnp.multiply,
    "bitwise_and": jnp.bitwise_and,
    "bitwise_or": jnp.bitwise_or,
    "bitwise_xor": jnp.bitwise_xor,
    "bitwise_left_shift": jnp.left_shift,
    "bitwise_right_shift": jnp.right_shift,
    "__and__": jnp.bitwise_and,
    "__or__": jnp.bitwise_or,
    "__xor__": jnp.bitwise_xor,
    "__lshift__": jnp.left_shift,
    "__rshift__": jnp.right_shift,
    "floor_divide": jnp.floor_divide,
    "fmod": jnp.fmod,
    "remainder": jnp.remainder,
}.items():
    lowers(*_names(_name, *_BOTH), *([_name] if _name == "floor_divide" else []))(
        _binary(_function)
    )

for _name, _function in {
    "fmax": jnp.fmax,
    "fmin": jnp.fmin,
    "gcd": jnp.gcd,
    "lcm": jnp.lcm,
    "logaddexp": jnp.logaddexp,
    "logaddexp2": jnp.logaddexp2,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "nextafter": jnp.nextafter,
}.items():
    lowers(_name)(_binary(_function))

for _name, _function in {
    "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or,
    "logical_xor": jnp.logical_xor,
}.items():
    lowers(_name)(_binary(_function))


def _xlogy(x: Any, y: Any) -> Any:
    zero = (x == 0) & ~jnp.isnan(y)
    return jnp.where(zero, x * 0, x * jnp.log(jnp.where(zero, jnp.ones((), y.dtype), y)))


def _xlog1py(x: Any, y: Any) -> Any:
    zero = (x == 0) & ~jnp.isnan(y)
    return jnp.where(zero, x * 0, x * jnp.log1p(jnp.where(zero, jnp.zeros((), y.dtype), y)))


for _name, _function in {
    "xlogy": _xlogy,
    "special_xlog1py": _xlog1py,
    "special_zeta": special.zeta,
}.items():
    _overloads = "other_scalar", "self_scalar", "Tensor", "Scalar_Other", "Scalar_Self"
    lowers(_name, *_names(_name, *_overloads))(_binary(_function, floating=True))


@lowers("atan2")
def _atan2(y: Any, x: Any) -> Any:
    return jnp.arctan2(*promoted(y, x, floating=True))


@lowers("hypot")
def _hypot(x: Any, y: Any) -> Any:
    x, y = promoted(x, y)
    square = x * x + y * y
    zero = square == 0
    return jnp.where(zero, square, jnp.sqrt(jnp.where(zero, jnp.ones((), x.dtype), square)))


@lowers("copysign.Tensor", "copysign.Scalar")
def _copysign(x: Any, y: Any) -> Any:
    x, y = promoted(x, y, floating=True)
    flip = jnp.signbit(x) != jnp.signbit(y)
    # The slope at zero is zero.
    return jnp.where(x == 0, jnp.copysign(lax.stop_gradient(x), y), jnp.where(flip, -x, x))


@lowers("heaviside")
def _heaviside(x: Any, values: Any) -> Any:
    x, values = promoted(x, values)
    return jnp.where(x == 0, values, (x > 0).astype(x.dtype))


@lowers("add.Tensor", "add.Scalar")
def _add(x: Any, y: Any, *rest: Any, alpha: Any = 1) -> Any:
    alpha = rest[0] if rest else alpha
    x, y = promoted(x, y)
    if x.dtype == jnp.bool_:
        return x | y if alpha else x
    return x + (y if alpha == 1 else y * as_array(alpha, x.dtype))


@lowers("sub.Tensor", "sub.Scalar")
def _sub(x: Any, y: Any, *rest: Any, alpha: Any = 1) -> Any:
    alpha = rest[0] if rest else alpha
    x, y = promoted(x, y)
    return x - (y if alpha == 1 else y * as_array(alpha, x.dtype))


@lowers("rsub.Tensor", "rsub.Scalar")
def _rsub(x: Any, y: Any, *rest: Any, alpha: Any = 1) -> Any:
    return _sub(y, x, *rest, alpha=alpha)


@lowers("div.Tensor", "div.Scalar", "true_divide.Tensor")
def _div(x: Any, y: Any) -> Any:
    x, y = promoted(x, y, floating=True)
    return x / y


@lowers("div.Tensor_mode", "div.Scalar_mode")
def _div_mode(x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode is None:
        return _div(x, y)
    x, y = promoted(x, y)
    if rounding_mode == "floor":
        return jnp.floor_divide(x, y)
    return jnp.trunc(x / y) if is_float(x) else lax.div(*jnp.broadcast_arrays(x, y))


@lowers("pow.Tensor_Scalar", "pow.Scalar", "pow.Tensor_Tensor")
def _pow(x: Any, y: Any) -> Any:
    dtype = common_dtype(x, y)
    whole = isinstance(y, (int, float)) and not isinstance(y, bool) and float(y).is_integer()
    if whole and abs(y) < 128 and (y >= 0 or jnp.issubdtype(dtype, jnp.inexact)):
        return lax.integer_pow(as_array(x, dtype), int(y))
    if isinstance(y, float) and y == 0.5 and jnp.issubdtype(dtype, jnp.floating):
        return jnp.sqrt(as_array(x, dtype))
    x, y = as_array(x, dtype), as_array(y, dtype)
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.power(x, jnp.maximum(y, 0)) * _integer_factor(x, y)
    return jnp.power(x, y)


def _integer_factor(x: Any, y: Any) -> Any:
    """What an integer power with a negative exponent rounds to: 1, -1 or 0."""
    odd = jnp.where(y % 2 == 0, jnp.ones((), x.dtype), x)
    return jnp.where(y >= 0, 1, jnp.where(x == 1, 1, jnp.where(x == -1, odd, 0))).astype(x.dtype)


@lowers("where.self", "where.ScalarOther", "where.ScalarSelf", "where.Scalar")
def _where(condition: Any, x: Any, y: Any) -> Any:
    x, y = promoted(x, y)
    return jnp.where(condition.astype(jnp.bool_), x, y)


def _limited(x: Any, low: Any, high: Any) -> Any:
    """As torch: the slope is one at the limits, and the upper limit wins."""
    dtype = common_dtype(x, *(limit for limit in (low, high) if limit is not None))
    x = as_array(x, dtype)
    if low is not None:
        low = as_array(low, dtype)
        x = jnp.where((x < low) | jnp.isnan(low), low, x)
    if high is not None:
        high = as_array(high, dtype)
        x = jnp.where((x > high) | jnp.isnan(high), high, x)
    return x


@lowers("clamp", "clamp.Tensor")
def _clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    return _limited(x, min, max)


@lowers("clamp_min", "clamp_min.Tensor")
def _clamp_min(x: Any, min: Any) -> Any:
    return _limited(x, min, None)


@lowers("clamp_max", "clamp_max.Tensor")
def _clamp_max(x: Any, max: Any) -> Any:
    return _limited(x, None, max)


@lowers("lerp.Scalar", "lerp.Tensor")
def _lerp(start: Any, end: Any, weight: Any) -> Any:
    weight = as_array(weight, start.dtype)
    return start + weight * (end - start)


@lowers("addcmul")
def _addcmul(x: Any, one: Any, other: Any, *, value: Any = 1) -> Any:
    x, one, other = promoted(x, one, other)
    return x + as_array(value, x.dtype) * one * other


@lowers("addcdiv")
def _addcdiv(x: Any, one: Any, other: Any, *, value: Any = 1) -> Any:
    x, one, other = promoted(x, one, other, floating=True)
    return x + as_array(value, x.dtype) * one / other


@lowers("complex")
def _complex(real: Any, imag: Any) -> Any:
    return lax.complex(*jnp.broadcast_arrays(real, imag))


@lowers("polar")
def _polar(size: Any, angle: Any) -> Any:
    return lax.complex(*jnp.broadcast_arrays(size * jnp.cos(angle), size * jnp.sin(angle)))


@lowers("sigmoid_backward")
def _sigmoid_backward(gradient: Any, output: Any) -> Any:
    return gradient * jnp.conj(output * (1 - output))


@lowers("tanh_backward")
def _tanh_backward(gradient: Any, output: Any) -> Any:
    return gradient * jnp.conj(1 - output * output)


@lowers("threshold_backward")
def _threshold_backward(gradient: Any, x: Any, threshold: Any) -> Any:
    return jnp.where(x <= threshold, jnp.zeros((), gradient.dtype), gradient)


@lowers("gelu_backward")
def _gelu_backward(gradient: Any, x: Any, *, approximate: str = "none") -> Any:
    return jax.vjp(lambda x: jax.nn.gelu(x, approximate=approximate == "tanh"), x)[1](gradient)[0]
