"""torch's own samples of its operators, run by torch and by JAX."""

from __future__ import annotations

import sys
import types
import unittest
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from evtorch.bridge.lower._lower import Lowered, lower

# torch's tests of itself need this package for nothing that is used here.
_stand_in: Any = types.ModuleType("expecttest")
_stand_in.TestCase = unittest.TestCase
sys.modules.setdefault("expecttest", _stand_in)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

OPERATORS = {f"{op.name}.{op.variant_test_name}".rstrip("."): op for op in op_db}
"""By name, such as ``"std_mean.unbiased"``."""
# Nothing here runs long enough to be worth optimising.
_QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Sample(NamedTuple):
    """An operator's call as a function of its tensors."""

    name: str
    fn: Callable[[Sequence[torch.Tensor]], tuple[list[Any], Any]]
    tensors: list[torch.Tensor]
    differentiable: list[int]
    """Which of them have gradients."""


class Outcome(NamedTuple):
    """Outputs, and gradients of a sum of them with random weights."""

    values: list[np.ndarray]
    gradients: list[np.ndarray]


def samples(name: str, dtype: torch.dtype, count: int) -> list[Sample]:
    """At most ``count`` calls of an operator, from small to large."""
    op = OPERATORS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(op.sample_inputs("cpu", dtype, requires_grad=op.supports_autograd))
    last = len(found) - 1
    # One alone is from the middle.
    places = np.linspace(0, last, count) if count > 1 else [last / 2]
    chosen = sorted({round(i) for i in places}) if found else []
    return [_sample(f"{name}[{i}]", op, found[i]) for i in chosen]


def _sample(name: str, op: Any, given: Any) -> Sample:
    leaves, tree = jax.tree_util.tree_flatten((given.input, list(given.args), given.kwargs))
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    # Some need what they call gradcheck's wrapper, such as symmetric matrices.
    call = op if op.gradcheck_wrapper is None else lambda *a, **k: op.gradcheck_wrapper(op, *a, **k)

    def fn(tensors: Sequence[torch.Tensor]) -> tuple[list[Any], Any]:
        values = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            values[place] = tensor
        x, args, kwargs = jax.tree_util.tree_unflatten(tree, values)
        out = given.output_process_fn_grad(call(x, *args, **kwargs))
        found = jax.tree_util.tree_leaves(tuple(out) if isinstance(out, tuple) else out)
        return jax.tree_util.tree_flatten(
            [t if isinstance(t, torch.Tensor) else torch.tensor(t) for t in found]
        )

    tensors = [leaves[i] for i in places]
    differentiable = [i for i, tensor in enumerate(tensors) if tensor.requires_grad]
    return Sample(name, fn, [tensor.detach() for tensor in tensors], differentiable)


def numpy(tensor: torch.Tensor) -> np.ndarray:
    """The values of a tensor."""
    return tensor.detach().resolve_conj().resolve_neg().numpy(force=True)


def in_torch(sample: Sample) -> tuple[Outcome, list[int], list[np.ndarray]]:
    """The outcome, the outputs that have gradients, and their weights."""
    tensors = [t.clone() for t in sample.tensors]
    wanted = [tensors[i].requires_grad_() for i in sample.differentiable]
    # Some operators write to their inputs, which leaves must not allow.
    outputs, _ = sample.fn([t.clone() for t in tensors])
    used = [i for i, output in enumerate(outputs) if output.requires_grad]
    generator = torch.Generator().manual_seed(1)
    weights = [
        torch.randn(outputs[i].shape, dtype=outputs[i].dtype, generator=generator) for i in used
    ]
    gradients: Any = [None] * len(wanted)
    if used and wanted:
        chosen = [outputs[i] for i in used]
        gradients = torch.autograd.grad(chosen, wanted, weights, allow_unused=True)
    found = [
        np.zeros(t.shape, numpy(t).dtype) if g is None else numpy(g)
        for t, g in zip(wanted, gradients, strict=True)
    ]
    values = [numpy(output) for output in outputs]
    return Outcome(values, found), used, [numpy(w) for w in weights]


def _in_jax(
    sample: Sample, program: Lowered, used: list[int], arrays: Any, weights: Any
) -> tuple[list[Any], list[Any]]:
    places = sample.differentiable

    def run(*given: Any) -> tuple[list[Any], list[Any]]:
        operands = list(arrays)
        for place, array in zip(places, given, strict=True):
            operands[place] = array
        outputs = program(None, operands)
        return [outputs[i] for i in used], outputs

    _, back, outputs = jax.vjp(run, *(arrays[i] for i in places), has_aux=True)
    if not used:
        return outputs, [jnp.zeros_like(arrays[i]) for i in places]
    return outputs, [jnp.conj(g) for g in back([jnp.conj(w) for w in weights])]


def lowered(sample: Sample) -> Lowered:
    """The sample as a JAX program."""
    shapes = [tuple(t.shape) for t in sample.tensors]
    return lower(sample.fn, shapes, [t.dtype for t in sample.tensors], sample.name)


def run_together(
    programs: Sequence[tuple[Sample, Lowered, list[int], list[np.ndarray]]],
) -> list[Outcome]:
    """What JAX makes of samples, all compiled as one program."""

    def run(arrays: Any, weights: Any) -> Any:
        return [
            _in_jax(sample, program, used, a, w)
            for (sample, program, used, _), a, w in zip(programs, arrays, weights, strict=True)
        ]

    arrays = [[numpy(t) for t in sample.tensors] for sample, *_ in programs]
    weights = [w for *_, w in programs]
    found = jax.jit(run, compiler_options=_QUICKLY)(arrays, weights)
    return [Outcome(*jax.tree_util.tree_map(np.asarray, each)) for each in found]
