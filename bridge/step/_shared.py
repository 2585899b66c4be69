"""Tensors that a compiled step reads and writes, as JAX arrays."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import jax
import torch

from .._arrays import as_operand, is_readable_in_place, jax_array
from .._config import JaxConfig
from .._dtypes import WIDE_INTEGERS
from .._packing import Packing, Staging
from .._torch_internals import foreach_copy_

# Vectors are copied twice, in the program and out of it.
_SMALL = 1 << 12


class Shared:
    """Some tensors of the model or of its optimiser.

    On CPU an array is made once and shares the tensor's memory. Against JAX's assumption it changes
    with the tensor, which is safe here: nothing but the step's program reads it, and that has ended
    whenever torch has control.
    """

    def __init__(self, names: Sequence[str], tensors: Sequence[torch.Tensor]) -> None:
        self.names = list(names)
        self.tensors = list(tensors)
        self._places: list[int | None] = [None] * len(self.tensors)
        self._arrays: list[Any] = [None] * len(self.tensors)

    def operands(self, x64: bool) -> list[Any]:
        """The present values, valid until torch changes them."""
        return [
            self._arrays[i]
            # `.data = ...` may turn it round in the same place.
            if place == tensor.data_ptr() and tensor.is_contiguous()
            else self._operand(i, tensor, x64)
            for i, (tensor, place) in enumerate(zip(self.tensors, self._places, strict=True))
        ]

    def _operand(self, i: int, tensor: torch.Tensor, x64: bool) -> Any:
        # How wide integers are read depends on JAX's mode at the time.
        lasting = tensor.is_cpu and tensor.dtype not in WIDE_INTEGERS
        if not (lasting and is_readable_in_place(tensor)):
            return as_operand(f"`{self.names[i]}`", tensor, x64)
        array = jax_array(f"`{self.names[i]}`", tensor, copy=False)
        self._places[i], self._arrays[i] = tensor.data_ptr(), array
        return array


class Written:
    """Tensors that a step's program writes. Small ones come in few vectors, as each array that
    crosses the bridge costs some µs."""

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self.tensors = list(tensors)
        shapes, dtypes = [tuple(t.shape) for t in tensors], [t.dtype for t in tensors]
        self.packing = Packing(shapes, dtypes, _SMALL)
        device = tensors[0].device if tensors else torch.device("cpu")
        self._staging = Staging("what a step writes", self.packing, device, True)

    def is_for(self, tensors: Sequence[torch.Tensor]) -> bool:
        """Whether these are its tensors."""
        return all(map(operator.is_, tensors, self.tensors))

    @torch.no_grad()
    def take(self, vectors: Sequence[jax.Array], config: JaxConfig) -> None:
        """Copy new values, as `packing` has them, into the tensors."""
        if self.tensors:
            foreach_copy_(self.tensors, self._staging.unpack(config.export(vectors)))
