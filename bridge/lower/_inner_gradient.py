"""Gradients that torch code computes itself, with `torch.autograd.grad`: forces from energies,
gradient penalties. One operator is recorded for each; what lies between the tensors is known from
the graph, and differentiated by JAX."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch.overrides import TorchFunctionMode

from .._torch_internals import forward_mode_active, functorch_active
from ._reasons import NotLowered

_REQUIRES: Any = torch.Tensor.requires_grad.__set__  # pyright: ignore[reportAttributeAccessIssue]
_ASKS: Any = torch.Tensor.requires_grad.__get__  # pyright: ignore[reportAttributeAccessIssue]
# They take what requires no gradients, as nothing does while code is captured, for constant.
_TRANSFORMS = "torch._functorch.eager_transforms", "torch.autograd.functional"


class InnerGradients(TorchFunctionMode):
    """Records ``evtorch::gradient`` where `torch.autograd.grad` is called. While code is captured
    no tensor requires gradients, so that autograd itself adds nothing to the graph.

    **Arguments:** ``leaf(tensor)``: makes a tensor one that gradients may be computed for.
    """

    def __init__(self, leaf: Callable[[torch.Tensor], None]) -> None:
        super().__init__()
        self.leaf = leaf

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.autograd.grad:
            return _recorded(*args, **kwargs)
        if func in (torch.Tensor.backward, torch.autograd.backward):
            raise NotLowered("it calls backward inside; torch.autograd.grad becomes JAX")
        if func == _ASKS and sys._getframe(1).f_globals.get("__name__") in _TRANSFORMS:
            raise NotLowered(
                "it computes gradients inside with torch.func or torch.autograd.functional; "
                "torch.autograd.grad, and torch.func.jvp and jacfwd, become JAX"
            )
        if func in (torch.Tensor.requires_grad_, _REQUIRES):
            wanted = args[1] if len(args) > 1 else kwargs.get("requires_grad", True)
            if wanted and torch.is_grad_enabled():
                self.leaf(args[0])
                return args[0]
        return func(*args, **kwargs)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _recorded(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: Any = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: Any = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[torch.Tensor, ...]:
    outputs, inputs = _listed(outputs), _listed(inputs)
    weights = [None] * len(outputs) if grad_outputs is None else _listed(grad_outputs)
    for output, weight in zip(outputs, weights, strict=True):
        if weight is None and output.numel() != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
    if functorch_active() or forward_mode_active():
        raise NotLowered("it computes gradients inside of another transformation, as of torch.func")
    if is_grads_batched or allow_unused:
        raise NotLowered("it computes gradients inside with is_grads_batched or allow_unused")
    weights = [
        torch.ones_like(o) if w is None else w for o, w in zip(outputs, weights, strict=True)
    ]
    return tuple(torch.ops.evtorch.gradient(outputs, inputs, weights, create_graph))


@torch.library.custom_op("evtorch::gradient", mutates_args=())
def gradient(
    outputs: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    create_graph: bool,
) -> list[torch.Tensor]:
    """The gradients; never runs, since what is captured becomes JAX."""
    raise NotImplementedError


@gradient.register_fake
def _(outputs: Any, inputs: Any, weights: Any, create_graph: bool) -> list[torch.Tensor]:
    return [torch.empty_like(x) for x in inputs]


def nodes_between(
    outputs: Sequence[torch.fx.Node], inputs: Sequence[torch.fx.Node]
) -> list[torch.fx.Node]:
    """What leads from the inputs to the outputs, in order.

    **Raises:** `NotLowered` if an input has no effect on the outputs, or one on another.
    """
    reached: set[torch.fx.Node] = set()
    for start in inputs:
        own, wanted = set(), list(start.users)
        while wanted:
            node = wanted.pop()
            if node not in own:
                own.add(node)
                wanted += node.users
        if not own & set(outputs) and start not in outputs:
            raise NotLowered("it computes the gradient of what does not depend on a tensor")
        if own & set(inputs):
            raise NotLowered("it computes gradients with respect to a tensor and what follows")
        reached |= own
    needed: set[torch.fx.Node] = set()
    wanted = [node for node in outputs if node in reached]
    while wanted:
        node = wanted.pop()
        if node not in needed:
            needed.add(node)
            wanted += [n for n in node.all_input_nodes if n in reached]
    return [node for node in inputs[0].graph.nodes if node in needed]


def inner_gradient(
    run: Callable[[dict[int, Any]], None], outputs: Sequence[int], inputs: Sequence[int]
) -> Callable[..., Any]:
    """``operator(known, values, weights, create_graph) -> gradients``.

    **Arguments:** ``run(results)``: adds to results by position what lies between; ``outputs``,
    ``inputs``: positions. ``known``: other results, by position.
    """

    def operator(known: Any, values: Any, weights: Any, create_graph: bool) -> list[Any]:
        def forward(*given: Any) -> list[Any]:
            results = {**known, **dict(zip(inputs, given, strict=True))}
            run(results)
            return [results[position] for position in outputs]

        _, back = jax.vjp(forward, *values)
        found = [jnp.conj(g) for g in back([jnp.conj(w) for w in weights])]
        return found if create_graph else [jax.lax.stop_gradient(g) for g in found]

    return operator
