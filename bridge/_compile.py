"""How torch.compile sees bridged functions. Imported only while it is tracing.

At the border of code that it does not look into, the compiler takes tensors, numbers and plain
containers. None among the arguments crosses it as a registered constant. None and NamedTuples among
the results cross it as dicts with one key that nobody else uses.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

import torch
import torch.utils._pytree as pytree
from torch._dynamo import nonstrict_trace

from ._guards import NOT_EXPORTED, BridgeError


class _Function(Protocol):
    """A `TorchFunction`, which imports this file."""

    name: str

    def call(self, args: Any, kwargs: Any) -> Any: ...


class _Nothing:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Nothing)

    def __hash__(self) -> int:
        return 0


_log = logging.getLogger("evtorch.bridge")
# The compiler wants its constants to exist before it starts.
_NOTHING = _Nothing()
_PREFIX = "evtorch.bridge:"
_records: dict[str, Any] = {}

pytree.register_constant(_Nothing)


def _hide_none(node: Any) -> Any:
    if node is None:
        return _NOTHING
    if isinstance(node, tuple):
        items = [_hide_none(item) for item in node]
        return type(node)(*items) if hasattr(node, "_fields") else tuple(items)
    if isinstance(node, list):
        return [_hide_none(item) for item in node]
    if isinstance(node, dict):
        return {key: _hide_none(value) for key, value in node.items()}
    return node


def _show_none(node: Any) -> Any:
    if isinstance(node, _Nothing):
        return None
    # A number that changed between calls, or a size: static all the same, so compile for its value.
    if isinstance(node, torch.SymInt | torch.SymFloat):
        return int(node) if isinstance(node, torch.SymInt) else float(node)
    if isinstance(node, tuple):
        items = [_show_none(item) for item in node]
        return type(node)(*items) if hasattr(node, "_fields") else tuple(items)
    if isinstance(node, list):
        return [_show_none(item) for item in node]
    if isinstance(node, dict):
        return {key: _show_none(value) for key, value in node.items()}
    return node


def _encode(node: Any) -> Any:
    if node is None:
        return {_PREFIX: []}
    if isinstance(node, tuple):
        items = [_encode(item) for item in node]
        if not hasattr(node, "_fields"):
            return tuple(items)
        key = f"{_PREFIX}{type(node).__qualname__}:{id(type(node))}"
        _records[key] = type(node)
        return {key: items}
    if isinstance(node, list):
        return [_encode(item) for item in node]
    if isinstance(node, dict):
        return {key: _encode(value) for key, value in node.items()}
    return node


def _decode(node: Any) -> Any:
    if isinstance(node, tuple):
        return tuple([_decode(item) for item in node])
    if isinstance(node, list):
        return [_decode(item) for item in node]
    if isinstance(node, dict):
        for key, value in node.items():
            if key == _PREFIX:
                return None
            if isinstance(key, str) and key.startswith(_PREFIX):
                return _records[key](*[_decode(item) for item in value])
        return {key: _decode(value) for key, value in node.items()}
    return node


@nonstrict_trace
def _call(function: _Function, arguments: Any) -> Any:
    args, kwargs = _show_none(arguments)
    try:
        return _encode(function.call(args, kwargs))
    except Exception as error:
        # The compiler reports the failure in words of its own and hides this one.
        _log.error("%s: %s", type(error).__name__, error)
        raise


def compiled_call(function: _Function, args: Any, kwargs: Any) -> Any:
    """``function(*args, **kwargs)`` inside a compiled region, which records the call as it is and
    finds an operator with a fake kernel inside."""
    if torch.compiler.is_exporting():
        raise BridgeError(f"{function.name} {NOT_EXPORTED}")
    return _decode(_call(function, _hide_none((args, kwargs))))


@torch.compiler.disable(
    reason="an OptaxOptimizer steps outside of the graph, in a program of its own; compile what "
    "comes before it, or drop fullgraph=True"
)
def step_outside(optimizer: Any, closure: Any, extra: dict[str, Any]) -> Any:
    """A step of an `OptaxOptimizer`; the graph ends before it."""
    return optimizer.step(closure, **extra)


@torch.compiler.disable(
    reason="a compiled step of evtorch.bridge is a program of its own already; call it outside of "
    "torch.compile, or drop fullgraph=True"
)
def compiled_step_outside(step: Any, args: Any, kwargs: Any) -> Any:
    """A `CompiledStep`'s call; the graph ends before it."""
    return step(*args, **kwargs)
