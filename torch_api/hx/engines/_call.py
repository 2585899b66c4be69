"""What a run consists of: calls of modules, and time."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from ._engine import Engine

EngineName = Literal["event", "euler"]


class Module(Protocol):
    """What an experiment knows of its modules."""

    @property
    def title(self) -> str:
        """The module in messages."""
        ...

    def execute(self, call: "Call", engine: "Engine") -> None:
        """Ask an engine to fill the output handles of a call."""
        ...

    def renew_output(self) -> None:
        """Have new handles for the next call."""
        ...


class Wrapper(Module, Protocol):
    """A module that computes others."""

    modules: Any
    """Them by name."""


class Call(NamedTuple):
    """A module with what it reads and what it fills, handles of its own types."""

    module: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    inner: tuple["Call", ...] = ()
    """The calls of the modules that a wrapper computes."""


class Clock(NamedTuple):
    """The time of a run."""

    dt: float
    """Seconds per step."""
    steps: int

    @property
    def duration(self) -> float:
        """Time of the last step, seconds."""
        return self.dt * max(self.steps - 1, 1)
