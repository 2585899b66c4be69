"""Why torch code cannot become a JAX program."""

from __future__ import annotations

import traceback
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
    """``" (file, line n, in forward: code)"`` of the user's code that made a node, or nothing."""
    lines = [line.strip() for line in (node.stack_trace or "").splitlines()]
    starts = [
        i
        for i, line in enumerate(lines)
        if line.startswith('File "') and not line.startswith(tuple(f'File "{o}' for o in _OWN))
    ]
    if not starts:
        return ""
    place, *code = lines[starts[-1] : starts[-1] + 2]
    place = place.removeprefix("File ").replace('"', "")
    return f" ({place}{': ' + code[0] if code else ''})"


def _line_of_error(error: BaseException) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_OWN)
    ]
    if not frames:
        return ""
    last = frames[-1]
    return f" ({last.filename}, line {last.lineno}, in {last.name}: {last.line})"


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
