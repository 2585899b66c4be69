"""A captured graph, run by JAX."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch

from .._arrays import host_view
from .._config import ambient_x64, product_precision
from .._custom_op import recorded_function
from .._dtypes import NUMPY_DTYPE, WIDE_FLOAT, WIDTH
from ._capture import capture
from ._custom_function import application
from ._custom_rule import with_own_gradient
from ._inner_gradient import inner_gradient, nodes_between
from ._operators._registry import Needs, Operator
from ._operators._table import TABLE
from ._reasons import NotLowered, first_line, line_of

_CALL: Any = torch.ops.evtorch.call.default
_RECURRENT: Any = torch.ops.evtorch.recurrent.default
_FUNCTION: Any = torch.ops.evtorch.function.default
_GRADIENT: Any = torch.ops.evtorch.gradient.default
_NARROW = {np.dtype(np.int64): np.dtype(np.int32), np.dtype(np.uint64): np.dtype(np.uint32)}


def jax_dtype(dtype: torch.dtype, x64: bool) -> np.dtype:
    """The dtype that torch's has in JAX; 64-bit integers are narrow while JAX's x64 mode is off."""
    found = NUMPY_DTYPE[dtype]
    return found if x64 else _NARROW.get(found, found)


class Step(NamedTuple):
    """One node of the graph: what to run on which earlier results."""

    position: int
    run: Callable[..., Any]
    args: Any
    kwargs: Any
    needs: Needs
    outputs: Any
    name: str
    line: str


class Reference(NamedTuple):
    """The result of an earlier step, among a step's arguments."""

    position: int


class Program(NamedTuple):
    """A graph in the form in which it is run."""

    inputs: list[tuple[int, np.dtype]]
    constants: list[tuple[int, np.ndarray]]
    steps: list[Step]
    outputs: list[Any]
    random: bool


def _output_type(value: Any, x64: bool) -> Any:
    if isinstance(value, torch.Tensor):
        return jax.ShapeDtypeStruct(tuple(value.shape), jax_dtype(value.dtype, x64))
    return [_output_type(v, x64) for v in value] if isinstance(value, (list, tuple)) else None


def _constant(tensor: torch.Tensor, x64: bool, name: str) -> np.ndarray:
    array = np.array(host_view(tensor.detach().cpu()))
    dtype = array.dtype if x64 else _NARROW.get(array.dtype, array.dtype)
    narrow = array.astype(dtype)
    if not np.array_equal(narrow, array) and dtype != array.dtype:
        raise NotLowered(
            f"the constant {name} has values that need 64-bit integers; enter jax.enable_x64(True)"
        )
    return narrow


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [t for v in value for t in _tensors(v)] if isinstance(value, (list, tuple)) else []


def _check_types(node: torch.fx.Node, x64: bool) -> None:
    for tensor in _tensors(node.meta.get("val")):
        if tensor.dtype not in WIDTH:
            raise NotLowered(f"it computes in {tensor.dtype}, which JAX lacks{line_of(node)}")
        if WIDTH[tensor.dtype] == WIDE_FLOAT and not x64:
            raise NotLowered(
                f"it computes in {tensor.dtype} inside, while JAX's x64 mode is off; enter "
                f"jax.enable_x64(True){line_of(node)}"
            )


def _bridged(number: int) -> Callable[..., Any]:
    function = recorded_function(number)

    def run(arrays: Sequence[Any], _: int) -> Any:
        return jax.tree_util.tree_leaves(function([], *arrays))

    return run


def _compiled(fn: Any, shapes: Any, dtypes: Any) -> Any:
    """What `with_own_gradient` wants of an autograd.Function's forward or backward."""
    captured = capture(fn, shapes, dtypes, "the autograd.Function")
    program = compiled_steps(captured.graph)
    if program.random:
        raise NotLowered("an autograd.Function draws random numbers")
    places = {position: i for i, (position, _) in enumerate(program.inputs)}
    sources = [places.get(position) for position in program.outputs]
    outputs: Any = captured.graph.graph.output_node().args[0]
    return (partial(run_steps, program, None), sources), [n.meta["val"] for n in outputs]


def _found(node: torch.fx.Node) -> Operator:
    target: Any = node.target
    if target is _CALL:
        return Operator(_bridged(int(str(node.args[1]))))
    if target is _FUNCTION:
        inputs: Any = node.args[0]
        values = [n.meta["val"] for n in inputs]
        run = with_own_gradient(application(int(str(node.args[1]))), values, _compiled)
        return Operator(run)
    if target is operator.getitem:
        return Operator(operator.getitem)
    found = TABLE.get(target)
    if found is None:
        raise NotLowered(f"the operator {target} is not known{line_of(node)}")
    if node.kwargs.get("generator") is not None:
        raise NotLowered(f"it draws from a torch.Generator of its own{line_of(node)}")
    if target is torch.ops.aten.as_strided.default:
        base: Any = node.args[0]
        value = base.meta["val"]
        if not value.is_contiguous() or value.storage_offset():
            raise NotLowered(f"as_strided of a tensor that is not contiguous{line_of(node)}")
    return found


def _draws(node: torch.fx.Node) -> bool:
    """Whether an operator that may draw random numbers does: recurrent layers have dropout."""
    if node.target is not _RECURRENT:
        return True
    *_, dropout, train, _, _, _ = node.args
    return bool(dropout and train)


def _gradient_step(
    node: torch.fx.Node, places: dict[torch.fx.Node, int], steps: Sequence[Step], x64: bool
) -> Step:
    """A gradient that the torch code computes, of what earlier steps do."""
    outputs: Any = node.args[0]
    inputs: Any = node.args[1]
    between = nodes_between(outputs, inputs)
    positions = {places[n] for n in between}
    inner = [step for step in steps if step.position in positions]
    if any(step.needs is Needs.KEY and _draws(n) for step, n in zip(inner, between, strict=True)):
        raise NotLowered(f"it computes gradients through random numbers{line_of(node)}")

    def run(results: dict[int, Any]) -> None:
        for step in inner:
            results[step.position] = _run_step(step, None, results)

    used = {n for each in between for n in each.all_input_nodes} | set(outputs)
    known = {places[n]: Reference(places[n]) for n in used - {*between, *inputs}}
    weights, create_graph = torch.fx.map_arg(node.args[2:], lambda n: Reference(places[n]))
    return Step(
        places[node],
        inner_gradient(run, [places[n] for n in outputs], [places[n] for n in inputs]),
        (known, [Reference(places[n]) for n in inputs], weights, create_graph),
        {},
        Needs.NOTHING,
        _output_type(node.meta.get("val"), x64),
        "torch.autograd.grad",
        line_of(node),
    )


def compiled_steps(graph: torch.fx.GraphModule) -> Program:
    """The program of a graph in JAX's present x64 mode. Raises `NotLowered` for what is not in the
    table."""
    x64 = ambient_x64()
    places: dict[torch.fx.Node, int] = {}
    inputs, constants, steps, outputs = [], [], [], []
    random = False
    for position, node in enumerate(graph.graph.nodes):
        places[node] = position
        _check_types(node, x64)
        if node.op == "placeholder":
            inputs.append((position, jax_dtype(node.meta["val"].dtype, x64)))
        elif node.op == "get_attr":
            value = operator.attrgetter(str(node.target))(graph)
            if isinstance(value, torch.Generator):
                raise NotLowered("it draws from a torch.Generator of its own")
            if not isinstance(value, torch.Tensor):
                raise NotLowered(f"it uses {node.target}, which is no tensor")
            constants.append((position, _constant(value, x64, str(node.target))))
        elif node.op == "output":
            outputs = [places[n] for n in node.args[0]]
        elif node.target is _GRADIENT:
            steps.append(_gradient_step(node, places, steps, x64))
        else:
            found = _found(node)
            random |= found.needs is Needs.KEY and _draws(node)
            args, kwargs = torch.fx.map_arg(
                (node.args, node.kwargs), lambda n: Reference(places[n])
            )
            types = _output_type(node.meta.get("val"), x64)
            steps.append(
                Step(
                    position,
                    found.run,
                    args,
                    dict(kwargs),
                    found.needs,
                    types,
                    str(node.target),
                    line_of(node),
                )
            )
    return Program(inputs, constants, steps, outputs, random)


def _resolved(value: Any, results: dict[int, Any]) -> Any:
    if isinstance(value, Reference):
        return results[value.position]
    if isinstance(value, (list, tuple)):
        return [_resolved(v, results) for v in value]
    if isinstance(value, dict):
        return {key: _resolved(v, results) for key, v in value.items()}
    return value


def _typed(value: Any, expected: Any) -> Any:
    """A result with the shape and dtype that torch says."""
    if isinstance(expected, list):
        return [_typed(v, e) for v, e in zip(value, expected, strict=True)]
    if expected is None:
        return value
    if jnp.shape(value) != expected.shape:
        value = jnp.broadcast_to(value, expected.shape)
    return value if value.dtype == expected.dtype else value.astype(expected.dtype)


def _run_step(step: Step, key: Any, results: dict[int, Any]) -> Any:
    before: list[Any] = []
    if step.needs is Needs.KEY:
        before = [key if key is None else jax.random.fold_in(key, step.position), step.outputs]
    elif step.needs is Needs.OUTPUT:
        before = [step.outputs]
    args, kwargs = _resolved(step.args, results), _resolved(step.kwargs, results)
    try:
        return _typed(step.run(*before, *args, **kwargs), step.outputs)
    except Exception as error:
        raise NotLowered(
            f"the operator {step.name} failed in JAX: {first_line(error)}{step.line}"
        ) from error


def run_steps(program: Program, key: Any, arrays: Sequence[Any]) -> list[Any]:
    """The outputs for these inputs; each random step has a key of its own."""
    results: dict[int, Any] = {}
    for (position, dtype), array in zip(program.inputs, arrays, strict=True):
        # What came from torch keeps its 64-bit integers while JAX's x64 mode is off.
        results[position] = jnp.asarray(array).astype(dtype)
    for position, value in program.constants:
        results[position] = jnp.asarray(value)
    # torch's promotion is made explicit, except with numbers of Python.
    with jax.numpy_dtype_promotion("standard"), jax.default_matmul_precision(product_precision()):
        for step in program.steps:
            results[step.position] = _run_step(step, key, results)
    return [results[position] for position in program.outputs]
