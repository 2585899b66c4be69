"""Synapses between some neurons."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ....jax_core import Sparse
from .._experiment import Experiment
from ..transforms.weight_transforms import linear_saturating
from .types._projection import Projection

# Neurons that hear all of their inputs at once are fast, so that lists must be this much shorter.
_FEW_OF = 8


class SparseSynapse(Projection):
    """Synapses where ``connections`` ``(in, out)``, dense or sparse, are not zero."""

    mask: Tensor
    post: Tensor
    source: Tensor
    lists: Sparse | None = None
    """The connections, where neurons have so few that going by them pays."""

    def __init__(
        self,
        connections: Tensor,
        experiment: Experiment,
        execution_instance: Any = None,
        chip_coordinate: Any = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
        transform: Callable[..., Tensor] = linear_saturating,
    ) -> None:
        dense = connections.to_dense() if connections.layout != torch.strided else connections
        if dense.ndim != 2:
            raise ValueError(
                f"SparseSynapse: connections must have shape (in, out), got {tuple(dense.shape)}"
            )
        mask = (dense != 0).T.contiguous().to(device)
        super().__init__(
            mask.shape[1],
            mask.shape[0],
            experiment,
            execution_instance,
            chip_coordinate,
            device,
            dtype,
            transform,
        )
        self.register_buffer("mask", mask, persistent=False)
        self._list(mask)
        with torch.no_grad():
            self.weight.copy_(self.used_weight())

    def _list(self, mask: Tensor) -> None:
        """List the connections, if neurons have few; a device without values has none to list."""
        if mask.is_meta or int(mask.sum(dim=1).max()) * _FEW_OF > self.in_features:
            return
        pairs = mask.nonzero()
        self.lists = Sparse.of(pairs.cpu().numpy(), self.in_features, self.out_features)
        for name, ends in zip(("post", "source"), pairs.T, strict=True):
            self.register_buffer(name, ends, persistent=False)

    def used_weight(self) -> Tensor:
        """The weights where there are connections, 0 elsewhere."""
        return torch.where(self.mask, self.weight, 0)

    def of_connections(self, weight: Tensor) -> Tensor:
        """The elements ``(connections,)`` of a matrix ``(out, in)``, in the order of `lists`."""
        return weight[self.post, self.source]
