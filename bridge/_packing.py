"""Many small arrays as few vectors, because each array that crosses the bridge costs some µs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch

from ._torch_internals import split_like

# Beyond this a copy costs more than a crossing.
_SMALL = 1 << 16


class Packing:
    """How a list of arrays is laid out: small ones of one dtype behind each other in one vector,
    every other array by itself."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> None:
        self.shapes = [tuple(shape) for shape in shapes]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        groups: dict[Any, list[int]] = {}
        for i, (size, dtype) in enumerate(zip(self.sizes, dtypes, strict=True)):
            extended = not isinstance(dtype, torch.dtype) and jnp.issubdtype(
                dtype, jax.dtypes.extended
            )
            groups.setdefault(dtype if size <= _SMALL and not extended else i, []).append(i)
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

    def pack_tensors(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The vectors for these tensors."""
        return [
            torch.cat([tensors[i].reshape(-1) for i in group])
            if len(group) > 1
            else tensors[group[0]]
            for group in self.groups
        ]

    def unpack_tensors(
        self, vectors: Sequence[torch.Tensor], like: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """The tensors in these vectors, as views; ``like`` has their shapes."""
        if len(self.groups) == 1 and len(like) > 1:
            return split_like(vectors[0], like)
        tensors: list[Any] = [None] * len(self.shapes)
        for group, vector in zip(self.groups, vectors, strict=True):
            parts = [vector] if len(group) == 1 else split_like(vector, [like[i] for i in group])
            for i, part in zip(group, parts, strict=True):
                tensors[i] = part
        return tensors
