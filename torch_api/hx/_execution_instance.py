"""Parts of the hardware: recorded, and without effect in simulation."""

from typing import Any

from ._recorded import Recorded


class ExecutionInstance(Recorded):
    """A part of the hardware with its calibration; arguments and calls are recorded."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__("ExecutionInstance", *values, **named)


class ExecutionInstances(set):
    """Several of them."""
