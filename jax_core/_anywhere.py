"""Conditions of loops that all elements of ``jax.vmap`` go through together."""

import jax
import jax.numpy as jnp
from jax import Array


@jax.custom_batching.custom_vmap
def anywhere(condition: Array) -> Array:
    """Whether a scalar condition holds, inside of ``jax.vmap`` for any of its elements.

    Where each element had a condition of its own, a loop would copy all of its state in every step,
    to keep that of elements which are done. So this is for bodies that leave these alone anyway.
    """
    return condition


@anywhere.def_vmap
def _of_all(size: int, batched: list[bool], condition: Array) -> tuple[Array, bool]:
    return anywhere(jnp.any(condition)), False
