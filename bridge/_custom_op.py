"""Bridged functions as a torch operator, for everything that traces torch code.

torch.compile, torch.export, fake tensors and tensor subclasses never see JAX: they see
``evtorch::call``, an operator with known output shapes whose derivative is the same operator on
the derived function. What it runs is named by number, because operators take no objects.
"""

from __future__ import annotations

import itertools
import secrets
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ._config import JaxConfig
from ._dtypes import TORCH_DTYPE
from ._flat import FlatFunction
from ._torch_internals import is_captured, tracing
from ._trace import Plan


class Operation:
    """A function under the JAX configuration in which its call was recorded: what torch then
    compiles for these output dtypes runs under it for ever, and its derivatives do too."""

    def __init__(self, function: FlatFunction, config: JaxConfig) -> None:
        self.function = function
        self.config = config
        self.number = next(_counter)
        _operations[self.number] = self

    def evaluate(self, tensors: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Outputs for these tensors."""
        return self.config.call(self.function.evaluate, tensors, ())[1]

    def describe(self, tensors: Sequence[torch.Tensor]) -> Plan:
        """The plan of `evaluate`, for tensors that need not have values."""
        return self.config.call(self.function.describe, tensors)


_operations: weakref.WeakValueDictionary[int, Operation] = weakref.WeakValueDictionary()
_recorded: dict[int, Operation] = {}
# Inductor keeps compiled code in files and finds it by the text of the graph: a number that another
# process used too would bring that one's output shapes and dtypes.
_counter = itertools.count(secrets.randbits(62))


def operation(function: FlatFunction, config: JaxConfig) -> Operation:
    """The operation of ``function`` under ``config``. It lives as long as the function, and for
    ever if torch is recording: recorded code refers to it by nothing but its number."""
    found = function.operations.get(config)
    if found is None:
        found = function.operations[config] = Operation(function, config)
    if tracing() and not is_captured():
        _recorded[found.number] = found
    return found


def recorded_function(number: int) -> Any:
    """The JAX function ``fn(extras, *arrays)`` behind the operator's number."""
    return _operations[number].function.fn


@torch.library.custom_op("evtorch::call", mutates_args=())
def call(tensors: Sequence[torch.Tensor], number: int) -> list[torch.Tensor]:
    """Run the operation of this number; its outputs in flat order."""
    return list(_operations[number].evaluate(tensors))


@call.register_fake
def _(tensors: Sequence[torch.Tensor], number: int) -> list[torch.Tensor]:
    device = tensors[0].device if tensors else torch.device("cpu")
    return [
        torch.empty(t.shape, dtype=TORCH_DTYPE[np.dtype(t.dtype)], device=device)
        for t in _operations[number].describe(tensors).out_types
    ]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Sequence[torch.Tensor]) -> None:
    tensors, number = inputs
    ctx.operation = _operations[number]
    ctx.save_for_backward(*tensors)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*(o for o in output if not _is_inexact(o)))


def _is_inexact(tensor: torch.Tensor) -> bool:
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def _backward(ctx: Any, gradients: Sequence[torch.Tensor | None]) -> tuple[Any, None]:
    tensors = ctx.saved_tensors
    needed = tuple(ctx.needs_input_grad[0])
    given = tuple(g is not None for g in gradients)
    out_tree = ctx.operation.describe(tensors).out_tree
    derived = ctx.operation.function.vjp(out_tree, needed, given)
    operands = [*tensors, *(g for g in gradients if g is not None)]
    found = iter(call(operands, operation(derived, ctx.operation.config).number))
    return [next(found) if n else None for n in needed], None


call.register_autograd(_backward, setup_context=_setup_context)


@call.register_vmap
def _(info: Any, in_dims: Any, tensors: Sequence[torch.Tensor], number: int) -> Any:
    own = _operations[number]
    batched = own.function.vmap(tuple(in_dims[0]))
    outputs = call(list(tensors), operation(batched, own.config).number)
    return outputs, [0] * len(outputs)
