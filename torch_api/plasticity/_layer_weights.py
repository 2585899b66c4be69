"""The weights of a layer that a plasticity rule changes."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...jax_core import Events
from ..layers._connection_list import Connected
from ..layers._lif import LIF
from ..layers._recurrent_lif import RecurrentLIF


class LayerWeights(NamedTuple):
    """Weights of a layer, of input or within it, as a matrix."""

    layer: LIF | RecurrentLIF
    weight: nn.Parameter
    sparse: Connected | None
    is_recurrent: bool
    is_delayed: bool

    @classmethod
    def of(cls, layer: Any, name: str) -> "LayerWeights":
        """Those that are called ``name``, of a layer for which rules are clear."""
        if not isinstance(layer, LIF | RecurrentLIF):
            raise TypeError(
                f"layer must be an LIF or a RecurrentLIF, got {type(layer).__name__}; for other "
                f"weights of shape (out, in), add what rule(weight, pre, post) returns"
            )
        names = ("weight", "recurrent_weight")[: 1 + isinstance(layer, RecurrentLIF)]
        if name not in names:
            raise ValueError(
                f"weight must be {' or '.join(map(repr, names))} for {type(layer).__name__}, got "
                f"{name!r}"
            )
        is_recurrent = name != "weight"
        delay = "recurrent_delay" if is_recurrent else "delay"
        kind = getattr(layer, f"{delay}_type")
        if kind in ("synaptic", "dendritic"):
            raise ValueError(
                f"update_ does not go with {delay}={kind!r}, where a spike arrives at each "
                f"connection, or is noticed, at a time of its own; choose {delay}='axonal'"
            )
        sparse = getattr(layer, "recurrent_sparse" if is_recurrent else "sparse")
        return cls(layer, getattr(layer, name), sparse, is_recurrent, kind is not None)

    def dense(self) -> Tensor:
        return self.weight if self.sparse is None else self.sparse.dense(self.weight)

    def arriving(self, pre: Tensor | Events) -> Tensor | Events:
        """Presynaptic spikes at the times at which they arrive."""
        if not self.is_recurrent:
            return self.layer.delay_input(pre)
        assert isinstance(self.layer, RecurrentLIF)
        if isinstance(pre, Events) and self.layer.recurrent_delay is not None:
            raise TypeError(
                "pre must be what the layer gave, a spike-time tensor, where recurrent spikes are "
                "delayed"
            )
        return pre if isinstance(pre, Events) else self.layer.delay_recurrent(pre)

    @torch.no_grad()
    def add_(self, change: Tensor, low: float, high: float) -> None:
        """Add a matrix to the weights that there are, and hold them between bounds."""
        if self.sparse is not None:
            change = change[self.sparse.post, self.sparse.source]
        self.weight.add_(change).clamp_(low, high)
