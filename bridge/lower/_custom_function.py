"""`torch.autograd.Function`s in captured code: their own gradients, not those of what they do.

While torch code is captured, ``apply`` records the operator ``evtorch::function`` in its place.
Forward and backward are captured later, each by itself, and become a `jax.custom_vjp`.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from typing import Any

import jax
import torch

from ._reasons import NotLowered


class Context:
    """What a Function knows as ``ctx``. Tensors that it keeps as plain attributes are saved too."""

    def __init__(self, needed: tuple[bool, ...]) -> None:
        self.needs_input_grad = needed
        self.saved_tensors: tuple[Any, ...] = ()
        self.non_differentiable: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep them for the backward pass, as `saved_tensors`."""
        self.saved_tensors = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Nothing: there is no forward mode here."""

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """These outputs have no gradients."""
        self.non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Nothing: gradients are never None."""

    def mark_dirty(self, *tensors: Any) -> None:
        """Refused."""
        raise NotLowered("an autograd.Function changes its inputs in place")


class Application:
    """A call of a Function, as functions of tensors alone."""

    def __init__(self, kind: Any, args: Any) -> None:
        self.kind = kind
        leaves, self.tree = jax.tree_util.tree_flatten(args, is_leaf=lambda x: x is None)
        self.fixed = [None if isinstance(leaf, torch.Tensor) else (leaf,) for leaf in leaves]
        self.single = True
        """Whether the result is one tensor."""
        self.context: Context | None = None
        self.saved_tree: Any = None
        self.number = next(_counter)
        _applications[self.number] = self

    def _arguments(self, tensors: Sequence[torch.Tensor]) -> Any:
        rest = iter(tensors)
        values = [next(rest) if fixed is None else fixed[0] for fixed in self.fixed]
        return jax.tree_util.tree_unflatten(self.tree, values)

    def forward(self, tensors: Sequence[torch.Tensor]) -> tuple[list[Any], Context]:
        """The outputs, and the context that the backward pass gets."""
        args = self._arguments(tensors)
        context = Context(tuple(isinstance(a, torch.Tensor) and is_inexact(a) for a in args))
        if self.kind.setup_context is not torch.autograd.Function.setup_context:
            found = self.kind.forward(*args)
            self.kind.setup_context(context, args, found)
        else:
            found = self.kind.forward(context, *args)
        self.single = isinstance(found, torch.Tensor)
        outputs = [found] if self.single else list(found)
        if not all(isinstance(output, torch.Tensor) for output in outputs):
            raise NotLowered(f"{self.kind.__name__} returns what is no tensor")
        return outputs, context

    def backward(
        self, context: Context, gradients: Sequence[torch.Tensor]
    ) -> list[torch.Tensor | None]:
        """Gradients for the tensors among the arguments."""
        found = self.kind.backward(context, *gradients)
        found = found if isinstance(found, tuple) else (found,)
        # Of containers among the arguments torch sees no tensors.
        args = jax.tree_util.tree_unflatten(self.tree, list(range(len(self.fixed))))
        by_leaf = {
            leaf: gradient
            for leaf, gradient in itertools.zip_longest(args, found[: len(args)])
            if isinstance(leaf, int)
        }
        return [by_leaf.get(leaf) for leaf, fixed in enumerate(self.fixed) if fixed is None]


def is_inexact(tensor: torch.Tensor) -> bool:
    """Whether a tensor may have gradients."""
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


_applications: weakref.WeakValueDictionary[int, Application] = weakref.WeakValueDictionary()
_counter = itertools.count()


def application(number: int) -> Application:
    """The application that an operator's number means."""
    return _applications[number]


@torch.library.custom_op("evtorch::function", mutates_args=())
def function(tensors: Sequence[torch.Tensor], number: int) -> list[torch.Tensor]:
    """Apply a Function; never runs, since what is captured becomes JAX."""
    raise NotImplementedError


@function.register_fake
def _(tensors: Sequence[torch.Tensor], number: int) -> list[torch.Tensor]:
    return [torch.empty_like(output) for output in _applications[number].forward(tensors)[0]]
