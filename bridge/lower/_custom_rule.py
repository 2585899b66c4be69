"""An `Application` of an autograd.Function as a JAX function with that gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch

from ._custom_function import Application, Context, is_inexact

Compiled = tuple[Callable[[Sequence[Any]], list[Any]], list[int | None]]
"""A function of arrays, and for each of its outputs the input that it is, if it is one."""


class _Forward:
    """The forward pass as a function of tensors: outputs, then what was saved."""

    def __init__(self, made: Application) -> None:
        self.made = made
        self.count = 0
        self.repeated: list[int | None] = []
        """For each saved tensor the output that it is, if it is one."""
        self.differentiable: list[bool] = []
        self.tree: Any = None
        self.fixed: list[Any] = []

    def __call__(self, tensors: Sequence[torch.Tensor]) -> tuple[list[Any], Any]:
        outputs, context = self.made.forward(tensors)
        stopped = {id(tensor) for tensor in context.non_differentiable}
        context.non_differentiable = ()
        leaves, self.tree = jax.tree_util.tree_flatten(vars(context))
        self.fixed = [None if isinstance(leaf, torch.Tensor) else (leaf,) for leaf in leaves]
        saved = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        self.count = len(outputs)
        self.differentiable = [is_inexact(o) and id(o) not in stopped for o in outputs]
        places = {id(output): place for place, output in enumerate(outputs)}
        self.repeated = [places.get(id(tensor)) for tensor in saved]
        return jax.tree_util.tree_flatten([*outputs, *saved])

    def context(self, saved: Sequence[torch.Tensor]) -> Context:
        """The context as the backward pass finds it."""
        rest = iter(saved)
        leaves = [next(rest) if fixed is None else fixed[0] for fixed in self.fixed]
        found = Context(())
        vars(found).update(jax.tree_util.tree_unflatten(self.tree, leaves))
        return found


class _Backward:
    """The backward pass as a function of what was saved and of gradients."""

    def __init__(self, forward: _Forward, saved: int) -> None:
        self.forward = forward
        self.saved = saved
        self.given: list[bool] = []
        """Which of the inputs get a gradient."""

    def __call__(self, tensors: Sequence[torch.Tensor]) -> tuple[list[Any], Any]:
        context = self.forward.context(tensors[: self.saved])
        found = self.forward.made.backward(context, tensors[self.saved :])
        self.given = [gradient is not None for gradient in found]
        return jax.tree_util.tree_flatten([g for g in found if g is not None])


def with_own_gradient(
    made: Application,
    inputs: Sequence[torch.Tensor],
    compiled: Callable[..., tuple[Compiled, list[torch.Tensor]]],
) -> Callable[..., Any]:
    """``run(arrays, number) -> outputs``.

    **Arguments:** ``inputs``: tensors without values; ``compiled(fn, shapes, dtypes)``: a function
    of tensors in JAX, and its outputs without values.
    """
    forward = _Forward(made)
    (run, sources), values = compiled(
        forward, [tuple(t.shape) for t in inputs], [t.dtype for t in inputs]
    )
    outputs, saved = values[: forward.count], values[forward.count :]
    backward = _Backward(forward, len(saved))
    given = [*saved, *outputs]
    (run_backward, _), _ = compiled(
        backward, [tuple(t.shape) for t in given], [t.dtype for t in given]
    )
    inexact = [is_inexact(t) for t in inputs]

    @jax.custom_vjp
    def apply(*arrays: Any) -> Any:
        return tuple(run(arrays)[: forward.count])

    def forth(*arrays: Any) -> Any:
        found = apply(*arrays)
        kept = []
        # As in torch: what is neither input nor output is a constant to higher derivatives.
        for place, value in enumerate(run(arrays)[forward.count :]):
            source, output = sources[forward.count + place], forward.repeated[place]
            if source is not None:
                value = arrays[source]
            elif output is not None:
                value = found[output]
            else:
                value = jax.lax.stop_gradient(value)
            kept.append(value)
        return found, (kept, [jnp.zeros_like(f) for f in found])

    def back(residuals: Any, cotangents: Any) -> Any:
        kept, zeros = residuals
        gradients = [
            jnp.conj(c) if d else zero
            for c, d, zero in zip(cotangents, forward.differentiable, zeros, strict=True)
        ]
        rest = iter(run_backward([*kept, *gradients]))
        found = [next(rest) if g else None for g in backward.given]
        return tuple(
            jnp.conj(g) if g is not None and ok else None
            for g, ok in zip(found, inexact, strict=True)
        )

    apply.defvjp(forth, back)
    return lambda arrays, _: list(apply(*arrays))
