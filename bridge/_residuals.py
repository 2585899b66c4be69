"""Whether the backward pass should keep the forward's residuals or run the forward again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.extend import core

# Loops, contractions, sorting, foreign calls: running them twice costs more than storing what
# they produced. Everything else fuses into the backward kernel.
_COSTLY = frozenset(
    {
        *("while", "scan", "custom_vjp_call", "pallas_call"),
        *("pure_callback", "io_callback", "ffi_call"),
        *("dot_general", "conv_general_dilated", "reduce_window", "fft"),
        *("sort", "gather", "scatter", "scatter-add"),
        *("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"),
        *("custom_linear_solve", "triangular_solve", "cholesky", "lu", "qr", "svd", "eig", "eigh"),
        *("random_bits", "threefry2x32"),
    }
)


def _primitives(jaxpr: core.Jaxpr) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in jax.tree_util.tree_leaves(
            list(equation.params.values()),
            is_leaf=lambda p: isinstance(p, core.Jaxpr | core.ClosedJaxpr),
        ):
            if isinstance(inner, core.ClosedJaxpr):
                yield from _primitives(inner.jaxpr)
            elif isinstance(inner, core.Jaxpr):
                yield from _primitives(inner)


def worth_keeping(fn: Callable[..., Any], arrays: Sequence[Any]) -> bool:
    """Whether ``fn`` contains anything costlier than elementwise work and reductions."""
    closed = jax.make_jaxpr(fn)(*arrays)
    return any(name in _COSTLY for name in _primitives(closed.jaxpr))
