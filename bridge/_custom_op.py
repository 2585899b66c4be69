"""Bridged functions as a torch operator, for everything that traces torch code.

torch.compile, torch.export, fake tensors and tensor subclasses never see JAX: they see
``evtorch::call``, an operator with known output shapes whose derivative is the same operator on
the derived function. Its functions are named by number, because operators take no objects.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ._dtypes import TORCH_DTYPE
from ._flat import FlatFunction

_functions: dict[int, FlatFunction] = {}
_numbers: dict[int, int] = {}
_counter = itertools.count()


def number_of(function: FlatFunction) -> int:
    """The number under which `call` finds ``function``, which is kept alive from here on: compiled
    torch code refers to it by nothing else."""
    number = _numbers.get(id(function))
    if number is None:
        number = _numbers[id(function)] = next(_counter)
        _functions[number] = function
    return number


@torch.library.custom_op("evtorch::call", mutates_args=())
def call(tensors: Sequence[torch.Tensor], function: int) -> list[torch.Tensor]:
    """Run the function of this number; its outputs in flat order."""
    return list(_functions[function].evaluate(tensors, ())[1])


@call.register_fake
def _(tensors: Sequence[torch.Tensor], function: int) -> list[torch.Tensor]:
    device = tensors[0].device if tensors else torch.device("cpu")
    types = _functions[function].describe(tensors).out_types
    return [
        torch.empty(t.shape, dtype=TORCH_DTYPE[np.dtype(t.dtype)], device=device) for t in types
    ]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Sequence[torch.Tensor]) -> None:
    tensors, ctx.function = inputs
    ctx.save_for_backward(*tensors)
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*(o for o in output if not _is_inexact(o)))


def _is_inexact(tensor: torch.Tensor) -> bool:
    return tensor.dtype.is_floating_point or tensor.dtype.is_complex


def _backward(ctx: Any, gradients: Sequence[torch.Tensor | None]) -> tuple[Any, None]:
    tensors = ctx.saved_tensors
    needed = tuple(ctx.needs_input_grad[0])
    given = tuple(g is not None for g in gradients)
    derived = _functions[ctx.function].vjp(needed, given)
    operands = [*tensors, *(g for g in gradients if g is not None)]
    found = iter(call(operands, number_of(derived)))
    return [next(found) if n else None for n in needed], None


call.register_autograd(_backward, setup_context=_setup_context)


@call.register_vmap
def _(info: Any, in_dims: Any, tensors: Sequence[torch.Tensor], function: int) -> Any:
    batched = _functions[function].vmap(tuple(in_dims[0]))
    outputs = call(list(tensors), number_of(batched))
    return outputs, [0] * len(outputs)
