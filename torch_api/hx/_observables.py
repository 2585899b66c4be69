"""What was measured of a population."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class AnalogObservable:
    """A trace as the chip's two converters recorded it."""

    cadc: Tensor | None = None
    """All neurons, ``(time, batch, neurons)``."""
    madc: Tensor | None = None
    """One neuron, ``(2, samples, batch)``: times in cycles of 8 ns, and values."""
