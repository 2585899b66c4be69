"""What a torch function returns, found out without values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ._dtypes import WIDTH
from ._guards import inside_callback
from ._pytree import leaf_name
from ._torch_internals import quiet_about_fakes


class Outputs(NamedTuple):
    """Types of the flat outputs, their pytree, whether random numbers were drawn, and the tensors
    that batch normalisation used as running statistics, which torch does not differentiate."""

    shapes: list[tuple[int, ...]]
    dtypes: list[torch.dtype]
    paths: list[Any]
    tree: Any
    random: bool
    statistics: list[torch.Tensor]


class _Notices(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.random = False
        self.statistics: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.random |= torch.Tag.nondeterministic_seeded in func.tags
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.name in ("running_mean", "running_var") and value is not None:
                self.statistics.append(value)
        return func(*args, **(kwargs or {}))


def output_paths(leaves: Sequence[Any], tree: Any, name: str) -> list[Any]:
    """Where in the result of ``name`` each leaf is. Raises ``TypeError`` for one that cannot become
    an array."""
    paths = [
        path[1:]
        for path, _ in jax.tree_util.tree_flatten_with_path(
            jax.tree_util.tree_unflatten(tree, leaves)
        )[0]
    ]
    for path, leaf in zip(paths, leaves, strict=True):
        if not isinstance(leaf, torch.Tensor) or leaf.dtype not in WIDTH:
            what = leaf.dtype if isinstance(leaf, torch.Tensor) else type(leaf).__name__
            raise TypeError(
                f"{name} returned {leaf_name('output', path)} as {what}; it must return tensors "
                "of dtypes that JAX has, in tuples, lists, dicts, NamedTuples or dataclasses"
            )
    return paths


def _run(
    fn: Callable[..., tuple[list[Any], Any]], tensors: Sequence[torch.Tensor], name: str
) -> Outputs:
    notices = _Notices()
    # With gradients, as when it runs: it may take some itself (forces from energies).
    with torch.enable_grad(), torch.random.fork_rng(), inside_callback(), notices:
        leaves, tree = fn(tensors)
    paths = output_paths(leaves, tree, name)
    shapes = [tuple(leaf.shape) for leaf in leaves]
    dtypes = [leaf.dtype for leaf in leaves]
    return Outputs(shapes, dtypes, paths, tree, notices.random, notices.statistics)


def infer_outputs(
    fn: Callable[[Sequence[torch.Tensor]], tuple[list[Any], Any]],
    shapes: Sequence[Sequence[int]],
    dtypes: Sequence[torch.dtype],
    name: str,
) -> Outputs:
    """Run ``fn(tensors) -> (flat outputs, pytree)`` on fake tensors; where it needs values
    (control flow, foreign code), on ones.
    """
    # Loading torch's fake tensors takes half a second.
    from torch._subclasses import FakeTensorMode

    pairs = list(zip(shapes, dtypes, strict=True))
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), quiet_about_fakes():
            return _run(fn, [torch.empty(tuple(s), dtype=d) for s, d in pairs], name)
    except Exception:
        return _run(fn, [torch.ones(tuple(s), dtype=d) for s, d in pairs], name)
