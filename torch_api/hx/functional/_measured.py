"""What was measured, in the place of what is computed."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...backend._straight_through import straight_through

Value = Tensor | float


class Measured(NamedTuple):
    """What was measured: ``(time, batch, neurons)`` each, and of one neuron, finely sampled."""

    membrane: Tensor | None = None
    adaptation: Tensor | None = None
    spikes: Tensor | None = None
    membrane_madc: Tensor | None = None
    adaptation_madc: Tensor | None = None

    @staticmethod
    def of(hw_data: Any, like: Tensor) -> "Measured":
        """Read a handle with ``voltage``, ``adaptation`` and ``spikes``."""
        if hw_data is None:
            return Measured()
        voltage, adaptation = hw_data.voltage, hw_data.adaptation
        found = (
            getattr(voltage, "cadc", None),
            getattr(adaptation, "cadc", None),
            hw_data.spikes,
            getattr(voltage, "madc", None),
            getattr(adaptation, "madc", None),
        )
        return Measured(*(None if each is None else each.to(like) for each in found))

    def at(self, step: int) -> tuple[Tensor | None, Tensor | None]:
        """Spikes and membrane of a step."""
        spikes, membrane = self.spikes, self.membrane
        return (
            None if spikes is None else spikes[step],
            None if membrane is None else membrane[step],
        )

    def steps(self, most: int) -> int:
        """The number of steps that all have."""
        return min([most, *(len(each) for each in self[:3] if each is not None)])


def seen(computed: Tensor, measured: Tensor | None, step: int) -> Tensor:
    """The measured value of a step, if there is one, with the gradient of the computed one."""
    return computed if measured is None else straight_through(computed, measured[step])


def stacked(traces: list[tuple[Tensor, ...]], count: int, like: Tensor) -> tuple[Tensor, ...]:
    if not traces:
        return tuple(like.new_zeros(0, *like.shape[1:]) for _ in range(count))
    return tuple(torch.stack(trace) for trace in zip(*traces, strict=True))
