"""Random numbers, from a JAX key: of torch's distributions, not its numbers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import random

from ._promote import as_float
from ._registry import Needs, lowers

_draws: Any = {"needs": Needs.KEY}


def _uniform(key: Any, out: Any) -> Any:
    return random.uniform(key, out.shape, _wide(out))


def _wide(out: Any) -> Any:
    return out.dtype if jnp.issubdtype(out.dtype, jnp.inexact) else jnp.float32


def _open(key: Any, out: Any) -> Any:
    """Uniform on (0, 1): never zero."""
    tiny = jnp.finfo(_wide(out)).tiny
    return random.uniform(key, out.shape, _wide(out), minval=tiny)


@lowers("rand", "rand.generator", "rand_like", "rand_like.generator", **_draws)
def _rand(key: Any, out: Any, *_: Any, **__: Any) -> Any:
    return _uniform(key, out)


@lowers("randn", "randn.generator", "randn_like", "randn_like.generator", **_draws)
def _randn(key: Any, out: Any, *_: Any, **__: Any) -> Any:
    return random.normal(key, out.shape, out.dtype)


def _integers(key: Any, out: Any, low: int, high: int) -> Any:
    dtype = out.dtype if jnp.issubdtype(out.dtype, jnp.integer) else jnp.int32
    return random.randint(key, out.shape, low, high, dtype)


@lowers("randint", "randint.generator", **_draws)
def _randint(key: Any, out: Any, high: int, *_: Any, **__: Any) -> Any:
    return _integers(key, out, 0, high)


@lowers("randint.low", "randint.low_generator", **_draws)
def _randint_low(key: Any, out: Any, low: int, high: int, *_: Any, **__: Any) -> Any:
    return _integers(key, out, low, high)


@lowers("randint_like", **_draws)
def _randint_like(key: Any, out: Any, x: Any, high: int, **__: Any) -> Any:
    return _integers(key, out, 0, high)


@lowers("randint_like.low_dtype", **_draws)
def _randint_like_low(key: Any, out: Any, x: Any, low: int, high: int, **__: Any) -> Any:
    return _integers(key, out, low, high)


@lowers("random.from", **_draws)
def _random_from(key: Any, out: Any, x: Any, low: int, high: int | None, **_: Any) -> Any:
    return _integers(key, out, low, high or jnp.iinfo(jnp.int32).max)


@lowers("random.to", **_draws)
def _random_to(key: Any, out: Any, x: Any, high: int, **_: Any) -> Any:
    return _integers(key, out, 0, high)


@lowers("randperm", "randperm.generator", **_draws)
def _randperm(key: Any, out: Any, n: int, **_: Any) -> Any:
    return random.permutation(key, n)


@lowers("bernoulli", **_draws)
def _bernoulli(key: Any, out: Any, p: Any, **_: Any) -> Any:
    return random.uniform(key, out.shape, p.dtype) < p


@lowers("bernoulli.p", "bernoulli.Tensor", **_draws)
def _bernoulli_p(key: Any, out: Any, x: Any, p: Any = 0.5, **_: Any) -> Any:
    return _uniform(key, out) < p


@lowers("native_dropout", **_draws)
def _dropout(key: Any, out: Any, x: Any, p: float, train: bool | None = None) -> Any:
    if train is False:
        return x, jnp.ones(x.shape, jnp.bool_)
    kept = _uniform(key, out[0]) >= p
    return x * kept.astype(x.dtype) * (1 / (1 - p) if p < 1 else 0.0), kept


@lowers("rrelu_with_noise_functional", **_draws)
def _rrelu(
    key: Any,
    out: Any,
    x: Any,
    noise: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    **_: Any,
) -> Any:
    slope = (lower + upper) / 2
    if training:
        slope = random.uniform(key, x.shape, x.dtype, lower, upper)
    factor = jnp.where(x <= 0, slope, jnp.ones((), x.dtype))
    return x * factor, factor


@lowers("uniform", **_draws)
def _uniform_between(key: Any, out: Any, x: Any, low: float = 0, high: float = 1, **_: Any) -> Any:
    return random.uniform(key, out.shape, out.dtype, low, high)


@lowers("normal_functional", **_draws)
def _normal(key: Any, out: Any, x: Any, mean: float = 0, std: float = 1, **_: Any) -> Any:
    return mean + std * random.normal(key, out.shape, out.dtype)


@lowers("normal.Tensor_Tensor", "normal.Tensor_float", "normal.float_Tensor", **_draws)
def _normal_tensors(key: Any, out: Any, mean: Any, std: Any = 1.0, **_: Any) -> Any:
    return mean + std * random.normal(key, out.shape, out.dtype)


@lowers("normal.float_float", **_draws)
def _normal_numbers(key: Any, out: Any, mean: float, std: float, *_: Any, **__: Any) -> Any:
    return mean + std * random.normal(key, out.shape, out.dtype)


@lowers("exponential", **_draws)
def _exponential(key: Any, out: Any, x: Any, rate: float = 1, **_: Any) -> Any:
    return -jnp.log(_open(key, out)) / rate


@lowers("log_normal", **_draws)
def _log_normal(key: Any, out: Any, x: Any, mean: float = 1, std: float = 2, **_: Any) -> Any:
    return jnp.exp(mean + std * random.normal(key, out.shape, out.dtype))


@lowers("cauchy", **_draws)
def _cauchy(key: Any, out: Any, x: Any, median: float = 0, sigma: float = 1, **_: Any) -> Any:
    return median + sigma * random.cauchy(key, out.shape, out.dtype)


@lowers("geometric", **_draws)
def _geometric(key: Any, out: Any, x: Any, p: float, **_: Any) -> Any:
    return jnp.ceil(jnp.log(_open(key, out)) / jnp.log1p(jnp.asarray(-p, _wide(out))))


@lowers("poisson", **_draws)
def _poisson(key: Any, out: Any, rate: Any, **_: Any) -> Any:
    # JAX draws them with its default generator only.
    return random.poisson(key, rate)


@lowers("_standard_gamma", **_draws)
def _gamma(key: Any, out: Any, alpha: Any, **_: Any) -> Any:
    return random.gamma(key, alpha)


@lowers("multinomial", **_draws)
def _multinomial(key: Any, out: Any, p: Any, count: int, replace: bool = False, **_: Any) -> Any:
    logits = jnp.log(as_float(p))
    if replace:
        shape = (count, *p.shape[:-1])
        return jnp.moveaxis(random.categorical(key, logits, shape=shape), 0, -1)
    # The largest of perturbed logarithms are a draw without replacement.
    keyed = logits + random.gumbel(key, p.shape, logits.dtype)
    return jax.lax.top_k(keyed, count)[1]
