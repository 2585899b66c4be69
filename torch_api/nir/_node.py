"""Nodes of a NIR graph by name, and how they are refused."""

from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from torch import Tensor

CONVOLUTIONS = ("Conv1d", "Conv2d")
PROJECTIONS = ("Linear", "Affine", *CONVOLUTIONS)
POOLS = ("SumPool2d", "AvgPool2d")
NEURONS = ("CubaLIF", "CubaLI", "LIF", "LI", "IF")
SPIKING = ("CubaLIF", "LIF", "IF")
# Options of layers that NIR does not have; they are noted beside the node.
NOTED = ("max_spikes", "t_max", "on_overflow", "gradient", "min_slope", "readout", "tau_weight")


@dataclass(frozen=True)
class Named:
    """A node with its name; sub-graphs are taken apart, ``"graph.node"`` lies in ``"graph"``."""

    name: str
    node: Any

    @property
    def kind(self) -> str:
        return type(self.node).__name__

    def array(self, field: str) -> np.ndarray:
        """A parameter as a NumPy array, whether it is one or a tensor (as Norse leaves them)."""
        value = getattr(self.node, field)
        return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)

    def refuse(self, reason: str, remedy: str) -> NoReturn:
        raise ValueError(f"node {self.name!r} ({self.kind}) {reason}; {remedy}")
