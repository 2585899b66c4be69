"""A linear map that is given together with its transpose.

`jax.custom_vjp` knows reverse mode only. A function with a rule for its tangents (`jax.custom_jvp`)
that ends in such a map has both: forward mode runs the map, reverse mode its transpose, and neither
is traced where it is not used.

`jax.custom_derivatives.linear_call` is the same idea, but cannot be mapped over (`jax.vmap`), nor
transposed with respect to some of its arguments only.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

_Flat = Callable[..., list[Array]]
_NOT_MAPPED = None


def linear_map(
    forward: Callable[[Any, Any], Array],
    transpose: Callable[[Any, Array], Any],
    residuals: Any,
    arguments: Any,
    like: Array,
) -> Array:
    """``forward(residuals, arguments)``, linear in ``arguments``.

    **Arguments:** ``transpose(residuals, cotangent)``: gradients with respect to ``arguments``, in
    the same pytree; ``like``: an array of the result's shape and dtype.
    """
    of_residuals, residual_tree = jax.tree.flatten(residuals)
    of_arguments, argument_tree = jax.tree.flatten(arguments)
    count = len(of_residuals)

    def run(*flat: Array) -> list[Array]:
        given = jax.tree.unflatten(residual_tree, flat[:count])
        return [forward(given, jax.tree.unflatten(argument_tree, flat[count:]))]

    def run_back(*flat: Array) -> list[Array]:
        given = jax.tree.unflatten(residual_tree, flat[:count])
        return jax.tree.leaves(transpose(given, flat[count]))

    (out,) = _linear_map.bind(
        *of_residuals,
        *of_arguments,
        run=run,
        run_back=run_back,
        residuals=count,
        shapes=(ShapedArray(like.shape, like.dtype),),
    )
    return out


_linear_map = Primitive("linear_map")
_linear_map.multiple_results = True


def _run(*flat: Array, run: _Flat, **_: Any) -> list[Array]:
    return run(*flat)


_linear_map.def_impl(_run)
_linear_map.def_abstract_eval(lambda *_, shapes, **__: list(shapes))
mlir.register_lowering(_linear_map, mlir.lower_fun(_run, multiple_results=True))


def _jvp(primals: Sequence[Array], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    count = params["residuals"]
    if any(type(tangent) is not ad.Zero for tangent in tangents[:count]):
        raise NotImplementedError(
            "EventProp does not support autodiff of its derivatives: spike times have no second "
            "derivatives, except first spikes with gradient='fast_and_deep'"
        )
    out = _linear_map.bind(*primals, **params)
    moves = [
        ad.instantiate_zeros(tangent) if type(tangent) is ad.Zero else tangent
        for tangent in tangents[count:]
    ]
    return out, _linear_map.bind(*primals[:count], *moves, **params)


def _transpose(cotangents: Sequence[Any], *flat: Any, **params: Any) -> list[Any]:
    count = params["residuals"]
    given = flat[:count]
    cotangents = [ad.instantiate_zeros(c) if type(c) is ad.Zero else c for c in cotangents]
    arguments = [x.aval if ad.is_undefined_primal(x) else x for x in flat[count:]]
    found = _linear_map.bind(
        *given,
        *cotangents,
        run=params["run_back"],
        run_back=params["run"],
        residuals=count,
        shapes=tuple(ShapedArray(x.shape, x.dtype) for x in arguments),
    )
    wanted = [ad.is_undefined_primal(x) for x in flat[count:]]
    return [None] * count + [x if w else None for x, w in zip(found, wanted, strict=True)]


def _batch(flat: Sequence[Array], axes: Sequence[Any], **params: Any) -> tuple[list[Array], list]:
    count = params["residuals"]
    size = next(
        x.shape[axis] for x, axis in zip(flat, axes, strict=True) if axis is not _NOT_MAPPED
    )
    # Each argument is mapped over, so that each has its own gradient: their sum is broadcasting's.
    arguments = [
        jnp.broadcast_to(x, (size, *x.shape)) if axis is _NOT_MAPPED else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(flat[count:], axes[count:], strict=True)
    ]
    given = [
        x if axis is _NOT_MAPPED else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(flat[:count], axes[:count], strict=True)
    ]
    mapped = [None if axis is _NOT_MAPPED else 0 for axis in axes[:count]]

    def over(function: _Flat) -> _Flat:
        def run(*flat: Array) -> list[Array]:
            axes = (*mapped, *[0] * (len(flat) - count))
            return jax.vmap(function, in_axes=axes, axis_size=size)(*flat)

        return run

    out = _linear_map.bind(
        *given,
        *arguments,
        run=over(params["run"]),
        run_back=over(params["run_back"]),
        residuals=count,
        shapes=tuple(ShapedArray((size, *x.shape), x.dtype) for x in params["shapes"]),
    )
    return out, [0] * len(out)


ad.primitive_jvps[_linear_map] = _jvp
ad.primitive_transposes[_linear_map] = _transpose
batching.primitive_batchers[_linear_map] = _batch
