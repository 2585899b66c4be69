"""Settings of a thread that hold inside a ``with`` block."""

from contextvars import ContextVar
from types import TracebackType
from typing import Any, ClassVar


class Setting:
    """Base of a context manager that gives `variable` a value."""

    variable: ClassVar[ContextVar[Any]]

    def __init__(self, value: Any) -> None:
        self._value = value

    def __enter__(self) -> None:
        self._token = self.variable.set(self._value)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.variable.reset(self._token)
