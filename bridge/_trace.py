"""What is compiled: a jitted forward that hands out its residuals, and the jitted backward.

``jax.vjp`` runs once, at trace time, inside the jitted forward. Its residuals leave the forward
as ordinary outputs, except those that are inputs or constants anyway: they are named in the
`Plan` and supplied again in the backward pass.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ._dtypes import TORCH_DTYPE
from ._pytree import leaf_name
from ._residuals import worth_keeping

Mask = tuple[bool, ...]
FlatFn = Callable[..., Any]
"""``fn(extras, *arrays) -> pytree``: extras are JAX arrays that torch never sees (PRNG keys)."""


class Residual(NamedTuple):
    """Where one leaf of the vjp closure comes from in the backward pass."""

    source: str
    """``"input"``, ``"kept"`` (an output of the forward) or ``"constant"``."""
    value: Any
    """Position among the inputs or the kept residuals; the constant itself."""


@dataclass(eq=False)
class Plan:
    """Everything static that one trace of the forward found out; it is the forward's output
    tree, so JAX's own cache returns the plan that belongs to the executable that ran."""

    out_tree: Any
    out_types: tuple[jax.ShapeDtypeStruct, ...]
    differentiable: Mask
    mask: Mask = ()
    vjp_tree: Any = None
    residuals: tuple[Residual, ...] = ()
    needed_inputs: tuple[int, ...] = ()
    """Positions of the inputs that the backward pass reads."""
    recompute: bool = False


class Outputs:
    """What a compiled forward returns: arrays, and the plan as the static part of the pytree.

    A reference only: JAX keeps such static parts for long, and a plan holds whole programs.
    """

    __slots__ = ("arrays", "reference")

    def __init__(self, reference: Callable[[], Plan | None], arrays: Sequence[Any]) -> None:
        self.reference = reference
        self.arrays = arrays

    @property
    def plan(self) -> Plan:
        """The plan, which lives as long as the function that was traced."""
        plan = self.reference()
        assert plan is not None
        return plan


jax.tree_util.register_pytree_node(
    Outputs, lambda node: (tuple(node.arrays), node.reference), Outputs
)


def _fresh(x: Any) -> Any:
    # jit returns an input or a repeated value as the very same buffer; a copy inside the trace
    # costs nothing where XLA computes the value and keeps torch tensors from sharing memory.
    if jnp.issubdtype(x.dtype, jax.dtypes.extended):
        return x
    return jnp.array(x, copy=True)


def _checked_outputs(out: Any) -> tuple[list[Any], Any]:
    paths, tree = jax.tree_util.tree_flatten_with_path(out)
    leaves = []
    for path, leaf in paths:
        name = leaf_name("output", path)
        if not isinstance(leaf, (jax.Array, np.ndarray, np.generic, bool, int, float, complex)):
            raise TypeError(
                f"the JAX function returned {leaf!r} as {name}; it must return a pytree of arrays, "
                "numbers or None"
            )
        array = jnp.asarray(leaf)
        if array.dtype not in TORCH_DTYPE:
            raise TypeError(
                f"the JAX function returned {name} with dtype {array.dtype}, which torch lacks; "
                "convert it inside the function (for PRNG keys: jax.random.key_data)"
            )
        leaves.append(array)
    return leaves, tree


def _is_inexact(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.inexact)


def _plan(leaves: Sequence[Any], tree: Any) -> Plan:
    types = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in leaves)
    return Plan(tree, types, tuple(_is_inexact(x) for x in leaves))


def evaluate(fn: FlatFn, plans: list[Plan], extras: Any, *arrays: Any) -> Any:
    """Traced: outputs only. The plan is put among ``plans``, which keep it."""
    leaves, tree = _checked_outputs(fn(extras, *arrays))
    plans.append(_plan(leaves, tree))
    return Outputs(weakref.ref(plans[-1]), [_fresh(x) for x in leaves])


def _linear_in(fn: FlatFn, mask: Mask, extras: Any, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """``(outputs, vjp, tree)`` of ``fn`` with respect to the arrays selected by ``mask``."""
    trees = []

    def of_selected(*selected: Any) -> list[Any]:
        chosen = iter(selected)
        full = [next(chosen) if m else a for m, a in zip(mask, arrays, strict=True)]
        leaves, tree = _checked_outputs(fn(extras, *full))
        trees.append(tree)
        return leaves

    leaves, vjp = jax.vjp(of_selected, *(a for m, a in zip(mask, arrays, strict=True) if m))
    return leaves, vjp, trees[-1]


def _linear_as_before(
    fn: FlatFn, out_tree: Any, mask: Mask, extras: Any, arrays: Sequence[Any]
) -> tuple[Any, Any]:
    """`_linear_in`, for outputs of a structure that the caller already relies on."""
    leaves, vjp, tree = _linear_in(fn, mask, extras, arrays)
    if tree != out_tree:
        raise TypeError(
            f"the JAX function returned the structure {tree} where it returned {out_tree} before; "
            "it must depend on its arguments only"
        )
    return leaves, vjp


def forward(
    fn: FlatFn, policy: str, mask: Mask, plans: list[Plan], extras: Any, *arrays: Any
) -> Any:
    """Traced: outputs, followed by the residuals for the gradients selected by ``mask``."""
    if policy == "auto":
        costly = worth_keeping(lambda *a: _checked_outputs(fn(extras, *a))[0], arrays)
        policy = "residual" if costly else "recompute"
    if policy == "recompute":
        result = evaluate(fn, plans, extras, *arrays)
        result.plan.mask, result.plan.recompute = mask, True
        result.plan.needed_inputs = tuple(range(len(arrays)))
        return result
    leaves, vjp, tree = _linear_in(fn, mask, extras, arrays)
    plan = _plan(leaves, tree)
    plan.mask = mask
    values, plan.vjp_tree = jax.tree_util.tree_flatten(vjp)
    inputs = {id(a): i for i, a in enumerate(arrays)}
    kept: dict[int, tuple[int, Any]] = {}
    sources = []
    for value in values:
        if id(value) in inputs:
            sources.append(Residual("input", inputs[id(value)]))
        elif not isinstance(value, Tracer):
            sources.append(Residual("constant", value))
        else:
            position, _ = kept.setdefault(id(value), (len(kept), value))
            sources.append(Residual("kept", position))
    plan.residuals = tuple(sources)
    plan.needed_inputs = tuple(sorted({r.value for r in sources if r.source == "input"}))
    plans.append(plan)
    arrays = (*leaves, *(value for _, value in kept.values()))
    return Outputs(weakref.ref(plan), [_fresh(x) for x in arrays])


def _cotangents(outputs: Sequence[Any], given: Mask, values: Sequence[Any]) -> list[Any]:
    """Cotangents for every output (or output type), zeros where torch has none.

    Complex ones are conjugated: torch's gradient of a real loss with respect to z is the
    conjugate of JAX's.
    """
    rest = iter(values)
    cotangents = []
    for out, there in zip(outputs, given, strict=True):
        if not _is_inexact(out):
            cotangents.append(np.zeros(out.shape, jax.dtypes.float0))
        elif there:
            cotangents.append(jnp.conj(next(rest)))
        else:
            cotangents.append(jnp.zeros(out.shape, out.dtype))
    return cotangents


def _gradients(vjp: Callable[..., Any], cotangents: Any, mask: Mask, needed: Mask) -> tuple:
    """The gradients selected by ``needed``, in torch's convention."""
    of_mask = iter(vjp(cotangents))
    gradients = [(next(of_mask), n) for m, n in zip(mask, needed, strict=True) if m]
    return tuple(jnp.conj(g) for g, n in gradients if n)


def backward(
    plan: Plan, fn: FlatFn, needed: Mask, given: Mask, extras: Any, inputs: Any, kept: Any, cts: Any
) -> tuple[Any, ...]:
    """Traced: the gradients selected by ``needed``, from the forward's inputs and kept residuals.

    Only those are outputs, so XLA removes what they do not need; outputs outside ``given`` have
    zero cotangents, known at compile time.
    """
    if plan.recompute:
        _, vjp = _linear_as_before(fn, plan.out_tree, plan.mask, extras, inputs)
    else:
        by_position = dict(zip(plan.needed_inputs, inputs, strict=True))
        values = {"input": by_position.__getitem__, "kept": kept.__getitem__}
        leaves = [values.get(r.source, lambda constant: constant)(r.value) for r in plan.residuals]
        vjp = jax.tree_util.tree_unflatten(plan.vjp_tree, leaves)
    gradients = _gradients(vjp, _cotangents(plan.out_types, given, cts), plan.mask, needed)
    return tuple(_fresh(g) for g in gradients)


def vjp_of(fn: FlatFn, out_tree: Any, needed: Mask, given: Mask) -> FlatFn:
    """``fn(extras, *inputs, *cotangents) -> gradients``: the backward pass as a function that
    can be differentiated again, for outputs of the structure ``out_tree``."""

    def gradients(extras: Any, *arrays: Any) -> tuple[Any, ...]:
        inputs, values = arrays[: len(needed)], arrays[len(needed) :]
        outputs, vjp = _linear_as_before(fn, out_tree, needed, extras, inputs)
        return _gradients(vjp, _cotangents(outputs, given, values), needed, needed)

    return gradients


def jvp_of(fn: FlatFn, given: Mask) -> FlatFn:
    """``fn(extras, *inputs, *tangents) -> tangents`` of the differentiable outputs."""

    def tangents(extras: Any, *arrays: Any) -> tuple[Any, ...]:
        inputs, values = arrays[: len(given)], arrays[len(given) :]
        selected = [a for a, g in zip(inputs, given, strict=True) if g]

        def of_selected(*chosen: Any) -> list[Any]:
            rest = iter(chosen)
            full = [next(rest) if g else a for a, g in zip(inputs, given, strict=True)]
            return _checked_outputs(fn(extras, *full))[0]

        outputs, out = jax.jvp(of_selected, tuple(selected), tuple(values))
        return tuple(t for t, o in zip(out, outputs, strict=True) if _is_inexact(o))

    return tangents


def vmap_of(fn: FlatFn, dims: tuple[int | None, ...]) -> FlatFn:
    """``fn`` over one more axis of its arrays, which is the first axis of every output."""

    def batched(extras: Any, *arrays: Any) -> Any:
        return jax.vmap(partial(fn, extras), in_axes=dims)(*arrays)

    return batched
