"""Functions that are compiled for each set of shapes, of which only the most recent are kept."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np

from .._programs import Programs  # pyright: ignore[reportMissingImports]  # It lies in top/.

P = ParamSpec("P")
T = TypeVar("T")


def compiled(name: str, **options: Any) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """``jax.jit`` with these options, which forgets programs that were not used for long.

    JAX itself keeps each set of shapes for ever, also where derivatives are run eagerly. ``name``
    is what messages call the function.
    """

    def decorate(fn: Callable[P, T]) -> Callable[P, T]:
        programs = Programs()

        @functools.wraps(fn)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            leaves, tree = jax.tree.flatten((args, kwargs))
            key = tree, tuple(_kind(leaf) for leaf in leaves)
            run = programs.find(key)
            if run is None:
                # A new object each time: JAX keeps what it compiled by the identity of this.
                run = programs.first(key, functools.partial(fn), name, **options)
            try:
                return run(*args, **kwargs)
            except TypeError as error:
                if jax.sharding.get_abstract_mesh().manual_axes:
                    error.add_note(f"inside of jax.shard_map, {name} needs check_vma=False")
                raise

        return call

    return decorate


def _kind(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return leaf.shape, leaf.dtype
    return type(leaf) if isinstance(leaf, float) else (type(leaf), leaf)
