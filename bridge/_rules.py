"""What torch's conventions need to know about an optax transformation."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

_ACCUMULATORS = {"MultiStepsState", "ApplyEvery"}
# Their updates lead to a place, such as the border of what is allowed or an average: a part of
# such an update leads elsewhere.
_PLACING = {
    "cocob": "cocob",
    "keep_params_nonnegative": "keep_params_nonnegative",
    "lookahead": "lookahead",
    "madgrad": "madgrad",
    "mechanize": "mechanize",
    "sam": "sam",
    "schedule_free": "schedule_free",
    "scale_by_cocob": "cocob",
    "scale_by_madgrad": "madgrad",
}
_DEEPEST = 30


def accumulates(state: Any) -> bool:
    """Whether the transformation with this state adds up the gradients of several steps."""
    nodes = jax.tree_util.tree_leaves(state, is_leaf=_is_accumulator)
    return any(map(_is_accumulator, nodes))


def _is_accumulator(node: Any) -> bool:
    return type(node).__name__ in _ACCUMULATORS


def unscalable(transformation: Any) -> str | None:
    """The name of a rule of optax in ``transformation`` whose updates must not be scaled."""
    names = (name for name in _rules(transformation.update, 0, set()) if name in _PLACING)
    return next((_PLACING[name] for name in names), None)


def _rules(node: Any, depth: int, seen: set[int]) -> Iterator[str]:
    """The functions of optax that made the functions in ``node``: chains keep them in closures."""
    if id(node) in seen or depth > _DEEPEST:
        return
    seen.add(id(node))
    inner: Any = ()
    if isinstance(node, dict):
        inner = node.values()
    elif isinstance(node, tuple | list):
        inner = node
    elif isinstance(node, functools.partial):
        inner = (node.func, *node.args, *node.keywords.values())
    elif isinstance(node, optax.MultiSteps):
        inner = vars(node).values()
    elif callable(node):
        if str(getattr(node, "__module__", "")).startswith("optax"):
            yield getattr(node, "__qualname__", "").split(".")[0]
        cells = getattr(node, "__closure__", None) or ()
        inner = [getattr(node, "__self__", None), getattr(node, "__wrapped__", None)]
        inner += [cell.cell_contents for cell in cells if _is_filled(cell)]
    for item in inner:
        yield from _rules(item, depth + 1, seen)


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def owners(rule: Any, state: Any, params: Any) -> list[int | None]:
    """For each leaf of ``state``, the position in flat ``params`` of the parameter to which it
    belongs; None for leaves of all parameters together, such as the count of the steps, and for
    all leaves of a transformation about which optax does not tell."""
    leaves, tree = jax.tree_util.tree_flatten(state)
    positions = jax.tree_util.tree_unflatten(
        jax.tree_util.tree_structure(params), range(len(jax.tree_util.tree_leaves(params)))
    )
    nobody: list[int | None] = [None] * len(leaves)
    try:
        found = optax.tree_utils.tree_map_params(
            rule, lambda _, i: i, state, positions, transform_non_params=lambda _: -1
        )
    except Exception:  # Whatever the transformation's own init raises for stand-ins of parameters.
        return nobody
    flat, found_tree = jax.tree_util.tree_flatten(found)
    if found_tree != tree:
        return nobody
    return [None if i < 0 else i for i in flat]


def shortest(rate: Any) -> float:
    """The number with the fewest digits that rounds to this one of its precision: 0.1 for the
    float32 next to 0.1."""
    return float(str(np.asarray(rate)[()]))
