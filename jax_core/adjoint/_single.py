"""Derivatives that have none themselves, and those of what is not defined."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

T = TypeVar("T")


@jax.custom_jvp
def _guard(x: T) -> T:
    return x


@_guard.defjvp
def _refuse(primals: tuple, tangents: tuple) -> tuple:
    raise NotImplementedError(
        "spike times of this layer have first derivatives only; jax_core.lif with "
        "gradient='fast_and_deep' has second derivatives of first spikes"
    )


def single_derivative(tree: T) -> T:
    """``tree`` as it is; whoever differentiates what is computed from it gets an error."""
    return jax.tree.map(_guard, tree)


def undefined_change(
    time: Array, of_time: Array, of_weights: tuple[Array, ...], of_constants: Any
) -> Array:
    """The change of spike times ``(batch, out, K)``: 0, and NaN of neurons that have NaN times,
    whatever they depend on.

    **Arguments:** tangents: of input times ``(batch, M)``, of weights ``(out, in)``, and of
    constants, a pytree of scalars, ``(out,)`` or ``(batch, out)``.
    """
    total = jnp.sum(of_time, axis=1, keepdims=True)
    for tangent in (*(jnp.sum(w, axis=1) for w in of_weights), *jax.tree.leaves(of_constants)):
        total = total + tangent
    undefined = jnp.any(jnp.isnan(time), axis=-1)
    change = total * jnp.where(undefined, jnp.nan, 0).astype(time.dtype)
    return jnp.broadcast_to(change[..., None], time.shape)
