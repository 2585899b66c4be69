"""Many small arrays as few vectors, because each array that crosses the bridge costs some µs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch

from ._arrays import as_operand, check_tensor
from ._torch_internals import foreach_copy_

# Beyond this a copy costs more than a crossing.
_SMALL = 1 << 16


class Packing:
    """How a list of arrays is laid out: small ones of one dtype behind each other in one vector,
    every other array by itself."""

    def __init__(
        self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any], small: int = _SMALL
    ) -> None:
        self.shapes = [tuple(shape) for shape in shapes]
        self.dtypes = list(dtypes)
        self.sizes = [math.prod(shape) for shape in self.shapes]
        groups: dict[Any, list[int]] = {}
        for i, (size, dtype) in enumerate(zip(self.sizes, dtypes, strict=True)):
            extended = not isinstance(dtype, torch.dtype) and jnp.issubdtype(
                dtype, jax.dtypes.extended
            )
            groups.setdefault(dtype if size <= small and not extended else i, []).append(i)
        self.groups = list(groups.values())

    def pack(self, arrays: Sequence[Any]) -> list[Any]:
        """Traced: the vectors for these arrays."""
        return [
            jnp.concatenate([arrays[i].ravel() for i in group])
            if len(group) > 1
            else arrays[group[0]]
            for group in self.groups
        ]

    def unpack(self, vectors: Sequence[Any]) -> list[Any]:
        """Traced: the arrays in these vectors."""
        arrays: list[Any] = [None] * len(self.shapes)
        for group, vector in zip(self.groups, vectors, strict=True):
            start = 0
            for i in group:
                part = vector if len(group) == 1 else vector[start : start + self.sizes[i]]
                arrays[i] = part.reshape(self.shapes[i]) if len(group) > 1 else part
                start += self.sizes[i]
        return arrays


class Staging:
    """Vectors of a packing on torch's side, allocated once: copying into them and out of them
    costs one operator for all arrays."""

    def __init__(self, name: str, packing: Packing, device: torch.device, x64: bool) -> None:
        self.name = name
        self.packing = packing
        self.x64 = x64
        self._vectors: list[torch.Tensor | None] = []
        self._views: list[torch.Tensor] = []
        self._positions: list[int] = []
        for group in packing.groups:
            vector = None
            if len(group) > 1:
                sizes = [packing.sizes[i] for i in group]
                vector = torch.empty(sum(sizes), dtype=packing.dtypes[group[0]], device=device)
                parts = zip(group, vector.split(sizes), strict=True)
                self._views += [part.view(packing.shapes[i]) for i, part in parts]
                self._positions += group
            self._vectors.append(vector)
        # The order of the arrays themselves, if all of them are in the vectors in that order.
        self._complete = self._positions == list(range(len(packing.shapes)))
        # On CPU an operand is a view, which stays valid.
        self._operands = [
            None if v is None or device.type != "cpu" else as_operand(name, v, x64)
            for v in self._vectors
        ]

    def fill(self, tensors: Sequence[torch.Tensor]) -> list[Any]:
        """Operands with the values of ``tensors``; valid until the next call."""
        if [t.dtype for t in tensors] != self.packing.dtypes:
            raise TypeError(
                f"{self.name} has a dtype that the parameter did not have when the optimizer was "
                "made; convert the module first and make the optimizer then"
            )
        chosen = tensors if self._complete else [tensors[i] for i in self._positions]
        try:
            if chosen:
                foreach_copy_(self._views, chosen)
        except RuntimeError:
            for tensor in chosen:
                check_tensor(self.name, tensor)
            raise
        rows = zip(self.packing.groups, self._vectors, self._operands, strict=True)
        return [
            operand
            if operand is not None
            else as_operand(self.name, tensors[group[0]] if vector is None else vector, self.x64)
            for group, vector, operand in rows
        ]

    def unpack(self, vectors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The arrays in these vectors; valid until the next call."""
        for own, vector in zip(self._vectors, vectors, strict=True):
            if own is not None:
                own.copy_(vector)
        if self._complete:
            return self._views
        arrays: list[Any] = [None] * len(self.packing.shapes)
        for i, view in zip(self._positions, self._views, strict=True):
            arrays[i] = view
        for group, own, vector in zip(self.packing.groups, self._vectors, vectors, strict=True):
            if own is None:
                arrays[group[0]] = vector
        return arrays
