"""What says where on a chip something lies: recorded, and without effect in simulation."""

from pathlib import Path
from typing import Any


class Recorded:
    """Stands for a coordinate or another object of placement: remembers how it was made.

    Its attributes, and what calls of them return, are recorded likewise.
    """

    def __init__(self, name: str, *values: Any, **named: Any) -> None:
        self.name, self.values, self.named = name, values, named

    def __repr__(self) -> str:
        named = [f"{key}={value!r}" for key, value in self.named.items()]
        return f"{self.name}({', '.join([*map(repr, self.values), *named])})"

    def __call__(self, *values: Any, **named: Any) -> "Recorded":
        return Recorded(self.name, *values, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Recorded(f"{self.name}.{name}")


class ExecutionInstance(Recorded):
    """A part of the hardware with its calibration; arguments and calls are recorded."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__("ExecutionInstance", *values, **named)


class ExecutionInstances(set):
    """Several of them."""


class ReadoutSource:
    """What a recording shows."""

    VOLTAGE = Recorded("membrane")
    ADAPTATION = Recorded("adaptation")


def nightly_calib_path(name: str = "spiking") -> Path:
    """The name of a calibration, which is recorded where it is loaded."""
    return Path(f"{name}_cocolist.pbin")


def nightly_calix_native_path(name: str = "spiking") -> Path:
    """As `nightly_calib_path`, in another format."""
    return Path(f"{name}_calix-native.pkl")
