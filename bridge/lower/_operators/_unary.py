"""Functions of one tensor, element by element."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy import special

from ._promote import as_float, is_complex, is_float
from ._registry import Unsupported, lowers


def _enter(adapted: Callable[[Any, Any], Any], functions: dict[str, Callable[[Any], Any]]) -> None:
    """``adapted(function, x)`` for each of the functions."""
    for name, function in functions.items():
        run = functools.partial(adapted, function)
        lowers(name)(functools.update_wrapper(run, adapted))


def _floating(function: Callable[[Any], Any], x: Any) -> Any:
    return function(as_float(x))


_enter(
    _floating,
    {
        "acos": jnp.arccos,
        "acosh": jnp.arccosh,
        "asin": jnp.arcsin,
        "asinh": jnp.arcsinh,
        "atan": jnp.arctan,
        "atanh": jnp.arctanh,
        "cos": jnp.cos,
        "cosh": jnp.cosh,
        "erf": special.erf,
        "erfc": special.erfc,
        "erfinv": special.erfinv,
        "exp": jnp.exp,
        "exp2": jnp.exp2,
        "expm1": jnp.expm1,
        "lgamma": special.gammaln,
        "log": jnp.log,
        "log10": jnp.log10,
        "log1p": jnp.log1p,
        "log2": jnp.log2,
        "reciprocal": lambda x: 1 / x,
        "rsqrt": lax.rsqrt,
        "sigmoid": jax.nn.sigmoid,
        "sin": jnp.sin,
        "sinc": jnp.sinc,
        "sinh": jnp.sinh,
        "special_entr": special.entr,
        "special_i0e": special.i0e,
        "special_i1": special.i1,
        "special_i1e": special.i1e,
        "special_log_ndtr": special.log_ndtr,
        "special_ndtri": special.ndtri,
        "sqrt": jnp.sqrt,
        "tan": jnp.tan,
        "tanh": jnp.tanh,
        "deg2rad": jnp.deg2rad,
        "rad2deg": jnp.rad2deg,
    },
)


def _same(function: Callable[[Any], Any], x: Any) -> Any:
    return function(x)


_enter(
    _same,
    {
        "abs": jnp.abs,
        "bitwise_not": jnp.bitwise_not,
        "conj_physical": jnp.conj,
        "_conj": jnp.conj,
        "_conj_physical": jnp.conj,
        "imag": jnp.imag,
        "isfinite": jnp.isfinite,
        "isinf": jnp.isinf,
        "isnan": jnp.isnan,
        "isneginf": jnp.isneginf,
        "isposinf": jnp.isposinf,
        "logical_not": jnp.logical_not,
        "neg": jnp.negative,
        "positive": lambda x: x,
        "real": jnp.real,
        "sgn": jnp.sign,
        "sign": jnp.sign,
        "signbit": lambda x: jnp.signbit(x) if is_float(x) else x < 0,
        "square": jnp.square,
    },
)


def _whole(function: Callable[[Any], Any], x: Any) -> Any:
    return function(x) if is_float(x) else x


_enter(
    _whole,
    {
        "ceil": jnp.ceil,
        "floor": jnp.floor,
        "round": jnp.round,
        "trunc": jnp.trunc,
        "frac": lambda x: x - jnp.trunc(x),
    },
)


@lowers("round.decimals")
def _round_decimals(x: Any, *, decimals: int = 0) -> Any:
    return jnp.round(x, decimals)


@lowers("angle")
def _angle(x: Any) -> Any:
    if is_complex(x):
        return jnp.angle(x)
    x = as_float(x)
    angle = jnp.where(x < 0, jnp.asarray(np.pi, x.dtype), jnp.zeros((), x.dtype))
    return jnp.where(jnp.isnan(x), x, angle)


@lowers("logit")
def _logit(x: Any, eps: float | None = None) -> Any:
    x = as_float(x)
    if eps is not None:
        x = jnp.where(x < eps, eps, jnp.where(x > 1 - eps, 1 - eps, x))
    return jnp.log(x / (1 - x))


@jax.custom_jvp
def _digamma(x: Any) -> Any:
    return special.digamma(x)


_digamma.defjvps(lambda t, _, x: t * _trigamma(x))


def _trigamma(x: Any) -> Any:
    """JAX's is wrong at negative numbers, where its reflection helps."""
    negative = x < 0.5
    found = special.polygamma(1, jnp.where(negative, 1 - x, x))
    return jnp.where(negative, (np.pi / jnp.sin(np.pi * x)) ** 2 - found, found)


_enter(_floating, {"digamma": _digamma})


@jax.custom_jvp
def _i0(x: Any) -> Any:
    return special.i0(x)


# JAX's own takes the slope of |x| at zero.
_i0.defjvps(lambda t, _, x: t * special.i1(x))
_enter(_floating, {"i0": _i0})


@lowers("polygamma")
def _polygamma(n: int, x: Any) -> Any:
    if n > 1:
        raise Unsupported("derivatives of digamma beyond the first, which JAX has of x > 0 only")
    return (_trigamma if n else _digamma)(as_float(x))


@lowers("nan_to_num")
def _nan_to_num(x: Any, nan: Any = None, posinf: Any = None, neginf: Any = None) -> Any:
    return jnp.nan_to_num(x, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)


@lowers("view_as_real")
def _view_as_real(x: Any) -> Any:
    return jnp.stack([x.real, x.imag], -1)


@lowers("view_as_complex")
def _view_as_complex(x: Any) -> Any:
    return lax.complex(x[..., 0], x[..., 1])
