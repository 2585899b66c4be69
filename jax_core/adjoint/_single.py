"""A guard for derivatives that have none themselves."""

from typing import TypeVar

import jax

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
