"""Torch code as a graph of operators without mutation, and what else there is to know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .._shapes import output_paths
from .._torch_internals import (
    Check,
    custom_functions,
    functorch_active,
    marked_as_captured,
    record,
)
from ._operators._table import TABLE
from ._reasons import NotLowered

Flat = Callable[[Sequence[torch.Tensor]], tuple[list[Any], Any]]
"""``fn(tensors) -> (flat outputs, their pytree)``."""

_aten: Any = torch.ops.aten
_CLOSED_OVER = (
    "it computes gradients inside, or uses tensors that require gradients and are neither its "
    "parameters nor its arguments"
)


class Captured(NamedTuple):
    """What torch code does with tensors of certain shapes and dtypes."""

    graph: torch.fx.GraphModule
    tree: Any
    paths: list[Any]
    """Where in the result each output is."""
    dtypes: list[torch.dtype]
    checks: list[Check]
    """What looks at the outputs of the graph that come behind those of the torch code."""


class _WithoutGradients(TorchDispatchMode):
    """Makes explicit where torch stops gradients, which a graph of operators does not show: what
    is computed under `torch.no_grad` has detached inputs."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        enabled = torch.is_grad_enabled()
        if func is _aten.detach.default:
            if enabled and (args[0].requires_grad or functorch_active()):
                # Autograd detaches what it saves, too, which must not stop higher gradients.
                raise NotLowered(_CLOSED_OVER)
            return func(*args)
        if not enabled:
            args, kwargs = _detached(func, args, kwargs)
        return func(*args, **kwargs)


def _detached(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    written = {
        i: argument.name
        for i, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    }
    kept = set(written.values())

    def stopped(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex()):
            return _aten.detach.default(value)
        return [stopped(v) for v in value] if isinstance(value, (list, tuple)) else value

    positional = [a if i in written else stopped(a) for i, a in enumerate(args)]
    return positional, {k: v if k in kept else stopped(v) for k, v in kwargs.items()}


def _refuse(kind: Any, *_: Any, **__: Any) -> Any:
    raise NotLowered(f"it uses the autograd.Function {kind.__name__}, whose gradient is torch code")


def capture(
    fn: Flat, shapes: Sequence[Sequence[int]], dtypes: Sequence[torch.dtype], name: str
) -> Captured:
    """The graph of ``fn`` for tensors of these shapes and dtypes; ``name`` is for errors.

    **Raises:** `NotLowered` where gradients are not what a graph of operators says; ``TypeError``
    for outputs that are no tensors; what ``fn`` raises.
    """
    from torch._subclasses import FakeTensorMode

    tree: Any = None
    paths: list[Any] = []

    def outputs_of(*tensors: torch.Tensor) -> list[torch.Tensor]:
        nonlocal tree, paths
        with _WithoutGradients():
            leaves, tree = fn(tensors)
        paths = output_paths(leaves, tree, name)
        return [*leaves, *(tensor for tensor, _ in checks)]

    with FakeTensorMode(allow_non_fake_inputs=True):
        examples = [torch.empty(tuple(s), dtype=d) for s, d in zip(shapes, dtypes, strict=True)]
    # With gradients, as when it runs: where they are off, they are stopped.
    with (
        torch.enable_grad(),
        torch.random.fork_rng(),
        marked_as_captured() as checks,
        custom_functions(_refuse),
    ):
        graph = record(outputs_of, examples, TABLE.__contains__)
    graph.graph.eliminate_dead_code()
    outputs: Any = graph.graph.output_node().args[0]
    found = [node.meta["val"].dtype for node in outputs[: len(paths)]]
    return Captured(graph, tree, paths, found, [check for _, check in checks])
