"""Torch code as a graph of operators without mutation, and what else there is to know of it."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import torch

from .._shapes import output_paths
from .._torch_internals import (
    Check,
    custom_functions,
    functorch_active,
    marked_as_captured,
    record,
    simpler_operators,
)
from .._watch import capturing
from ._custom_function import Application
from ._functions import BlindFunctions
from ._gradient_mode import GradientMode, detached, make_leaf
from ._inner_gradient import InnerGradients
from ._operators._table import RULES, TABLE
from ._reasons import NotLowered
from ._recurrent_layers import RecurrentLayers

Flat = Callable[[Sequence[torch.Tensor]], tuple[list[Any], Any]]
"""``fn(tensors) -> (flat outputs, their pytree)``."""


class Captured(NamedTuple):
    """What torch code does with tensors of certain shapes and dtypes."""

    graph: torch.fx.GraphModule
    tree: Any
    paths: list[Any]
    """Where in the result each output is."""
    dtypes: list[torch.dtype]
    checks: list[Check]
    """What looks at the outputs of the graph that come behind those of the torch code."""
    applications: list[Application]
    """What the operators ``evtorch::function`` in the graph mean, by number only."""


class _CustomFunctions:
    """What runs in place of a Function's ``apply``."""

    def __init__(self) -> None:
        self.made: list[Application] = []

    def __call__(self, kind: Any, *args: Any) -> Any:
        if functorch_active():
            raise NotLowered("an autograd.Function is inside of another transformation, as a vmap")
        application = Application(kind, args)
        self.made.append(application)
        tensors = [t for t in jax.tree_util.tree_leaves(args) if isinstance(t, torch.Tensor)]
        if not tensors:
            outputs, _ = application.forward([])
        else:
            outputs = torch.ops.evtorch.function(tensors, application.number)
        return outputs[0] if application.single else tuple(outputs)


@functools.cache
def _rules() -> dict[Any, Any]:
    own = {op: rule for op, rule in simpler_operators().items() if op not in TABLE}
    return own | RULES


def constants(graph: torch.fx.GraphModule) -> list[torch.Tensor]:
    """The tensors that a graph holds: those that the torch code used and did not get."""
    found = [
        operator.attrgetter(str(n.target))(graph) for n in graph.graph.find_nodes(op="get_attr")
    ]
    return [value for value in found if isinstance(value, torch.Tensor)]


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

    def forward(*tensors: torch.Tensor) -> list[torch.Tensor]:
        nonlocal tree, paths
        with GradientMode(), RecurrentLayers(), BlindFunctions(), InnerGradients(make_leaf):
            leaves, tree = fn(tensors)
        paths = output_paths(leaves, tree, name)
        leaves = [detached(leaf) for leaf in leaves]
        return [*leaves, *(tensor for tensor, _ in checks)]

    with FakeTensorMode(allow_non_fake_inputs=True):
        examples = [torch.empty(tuple(s), dtype=d) for s, d in zip(shapes, dtypes, strict=True)]
    applied = _CustomFunctions()
    # With gradients, as when it runs: where they are off, they are stopped.
    with (
        capturing,
        torch.enable_grad(),
        torch.random.fork_rng(),
        marked_as_captured() as checks,
        custom_functions(applied),
    ):
        graph = record(forward, examples, _rules())
    graph.graph.eliminate_dead_code()
    outputs: Any = graph.graph.output_node().args[0]
    found = [node.meta["val"].dtype for node in outputs[: len(paths)]]
    return Captured(graph, tree, paths, found, [check for _, check in checks], applied.made)
