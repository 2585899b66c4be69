"""Why torch code cannot become a JAX program."""

from __future__ import annotations

import linecache
import sys
import traceback
import types
from pathlib import Path
from typing import Any

import torch

_OWN = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]))
# By name, as these classes are private, and their messages name what looked at a value.
_NEEDS_VALUES = (
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "GuardOnDataDependentSymNode",
)
_VALUE_PHRASES = (
    "trying to get value out of a tracing tensor",
    ".numpy() is not supported",
    "Cannot access data pointer",
)


class NotLowered(Exception):
    """The message says why, and where in the user's code if that is known."""


def line_of(node: torch.fx.Node) -> str:
    """Where in the user's code a node was made, in brackets, or nothing."""
    return f" ({node.stack_trace})" if node.stack_trace else ""


def user_line() -> str:
    """The line of the user's code that runs now: the innermost that is not torch's or ours; and
    the module of torch that it calls, if it does."""
    frame: Any = sys._getframe(1)
    module = ""
    while frame is not None and _is_own(frame.f_code):
        if not module and frame.f_code.co_name == "forward":
            own = frame.f_locals.get("self")
            module = f"{type(own).__name__}, from " if isinstance(own, torch.nn.Module) else ""
        frame = frame.f_back
    return "" if frame is None else module + _described(frame.f_code, frame.f_lineno)


def _is_own(code: types.CodeType) -> bool:
    # make_fx calls what it records through a function that it makes of a string.
    generated = code.co_filename == "<string>" and code.co_name == "<lambda>"
    return generated or code.co_filename.startswith(_OWN)


def _described(code: types.CodeType, line: int) -> str:
    text = linecache.getline(code.co_filename, line).strip()
    return f"{code.co_filename}, line {line}, in {code.co_name}{': ' + text if text else ''}"


def _line_of_error(error: BaseException) -> str:
    frames = [
        (frame.f_code, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith(_OWN)
    ]
    return f" ({_described(*frames[-1])})" if frames else ""


def looks_at_values(error: Exception) -> bool:
    """Whether torch code failed because it wanted the value of a tensor that has none."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & set(_NEEDS_VALUES)) or any(p in str(error) for p in _VALUE_PHRASES)


def explained(error: Exception) -> Exception:
    """What failed while torch code was captured; `NotLowered` if it is the capture's fault."""
    if looks_at_values(error):
        return NotLowered(
            f"the torch code looks at values (control flow on a tensor, .item(), shapes that "
            f"depend on values): {first_line(error)}{_line_of_error(error)}"
        )
    return error


def first_line(error: Any) -> str:
    """What an exception says, in short."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
