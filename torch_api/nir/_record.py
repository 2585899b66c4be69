"""What a layer remembers of the nodes it was read from, so that they can be written unchanged."""

import math
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from ._convention import Convention
from ._node import Named
from ._shapes import Shape
from ._values import values


@dataclass
class Kept:
    """An array of a graph, ``original``, and the float64 values ``loaded`` that a layer got for it.

    Both have the same number of elements.
    """

    original: np.ndarray
    loaded: np.ndarray

    def restore(self, current: np.ndarray, translated: np.ndarray) -> np.ndarray:
        """The array to write: the original where the layer is unchanged, else ``translated``."""
        same = current == self.loaded
        if same.all():
            return self.original.copy()
        dtype = np.result_type(self.original.dtype, np.float32)
        mixed = np.where(same, self.original.ravel(), translated)
        return mixed.astype(dtype).reshape(self.original.shape)


@dataclass
class Record:
    """The nodes behind a layer, in the order of the signal.

    ``in_shape``: of what enters; ``arriving``: of what reaches the projection or pool of a layer
    whose neurons have axes. ``kept``: their arrays, by the names that nodes use. ``factor``: what
    a unit of weight becomes, for each row of it; ``gain``: of the input, by average pools before.
    ``refractory``: the time that belongs to a synapse standing in for none, no property of the
    graph. ``source``, ``target``: names of the Input before the first layer and of the Output
    behind the last one.
    """

    convention: Convention
    chain: list[Named]
    in_shape: Shape
    arriving: Shape | None = None
    kept: dict[str, Kept] = field(default_factory=dict)
    factor: np.ndarray = field(default_factory=lambda: np.ones(1))
    gain: float = 1.0
    refractory: float = 0.0
    loop: list[Named] = field(default_factory=list)
    source: str = "input"
    target: str = "output"

    def takes(self, shape: Shape | None) -> bool:
        """Whether neurons of this shape can enter; ``None`` is not known."""
        if shape is None or shape in (self.in_shape, self.arriving):
            return True
        return self.arriving is None and math.prod(shape) == math.prod(self.in_shape)

    def keep(self, name: str, original: np.ndarray, loaded: Tensor) -> None:
        """Remember an array of the graph, and what a layer got for it."""
        self.kept[name] = Kept(original.copy(), values(loaded))


def governing(layer: nn.Module) -> str:
    """The time constant of a layer that says how much the weight of a LIF or LI node becomes."""
    return "tau_syn" if hasattr(layer, "tau_syn") else "tau_mem"


def record_of(layer: nn.Module) -> Record | None:
    """What a layer remembers, if it was read from a graph."""
    return getattr(layer, "_nir_record", None)


def remember(layer: nn.Module, record: Record) -> None:
    """Let a layer keep its record."""
    setattr(layer, "_nir_record", record)  # noqa: B010, an attribute of this package alone
