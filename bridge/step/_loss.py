"""The loss of a model's output, captured, as a function of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import torch

from .._config import ambient_x64
from .._guards import BridgeError
from .._records import known_to_jax
from .._static import Static
from .._torch_call import call_with
from .._watch import Constants
from ..lower._capture import Captured, capture, constants
from ..lower._interpret import jax_dtype
from ..lower._lower import Lowered
from ..lower._reasons import NotLowered, explained
from ._whole import Whole

_DETACH: Any = torch.ops.aten.detach.default
_GRADIENT: Any = torch.ops.evtorch.gradient.default
_JAX = ("jax", "jaxlib", "optax")


class Call(NamedTuple):
    """One way of calling a step: everything but the values of its tensors."""

    tree: Any
    """Of ``(parameters, buffers, args, kwargs)``; the last of the args is the target."""
    kinds: tuple[Static | None, ...]
    shapes: tuple[Any, ...]
    dtypes: tuple[torch.dtype, ...]

    def unflatten(self, tensors: Sequence[Any]) -> Any:
        """The four again."""
        rest = iter(tensors)
        values = [next(rest) if kind is None else kind.value for kind in self.kinds]
        return jax.tree_util.tree_unflatten(self.tree, values)


class Loss:
    """``loss(key, arrays) -> (result, buffers, checked)``: what the user's loss returns, the
    buffers afterwards, and what `checks` look at."""

    def __init__(
        self, captured: Captured, whole: Whole, call: Call, after: Callable[..., Any] | None
    ) -> None:
        self._lowered = Lowered(captured)
        self.constants = Constants(constants(captured.graph), whole)
        self._tree = captured.tree
        self._call = call
        self._after = after
        self.checks = captured.checks
        self.random = self._lowered.random
        self.depends = _dependencies(captured, after is not None)
        """Of which of the tensors the loss is a differentiable function."""

    def __call__(self, key: Any, arrays: Sequence[Any]) -> Any:
        outputs, checked = self._lowered.run(key, arrays)
        result, buffers, _ = jax.tree_util.tree_unflatten(self._tree, outputs)
        if self._after is not None:
            target = self._call.unflatten(arrays)[2][-1]
            result = self._after(result, target)
        return result, list(jax.tree_util.tree_leaves(buffers)), checked


def loss_value(result: Any) -> Any:
    """The loss in what the user's loss returned."""
    value = result[0] if isinstance(result, tuple) else result
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape != () or dtype is None or not jax.numpy.issubdtype(dtype, jax.numpy.floating):
        what = type(value).__name__ if dtype is None else f"{dtype}{list(shape or ())}"
        raise ValueError(
            "`loss` must return a floating-point scalar, or a tuple that begins with one, got "
            f"{what}; reduce it, for example with .mean()"
        )
    return value


def captured_loss(whole: Whole, call: Call) -> Loss:
    """The loss of a model's output and a target. It counts as torch's if it can be captured on
    torch's tensors, else as JAX's.

    **Raises:** `BridgeError` for what has no form in JAX; what model and loss raise.
    """
    if _is_of(whole.loss, _JAX):
        return _with_jax_loss(whole, call)
    try:
        return Loss(_captured(whole, call, True), whole, call, None)
    except Exception as error:
        refused = _refused(error)
        try:
            return _with_jax_loss(whole, call)
        except Exception as other:
            if not _is_of(whole.loss, ("torch",)) and str(other) != str(refused):
                refused.add_note(f"As a function of JAX, the loss fails too: {other}")
        if refused is error:
            raise
        raise refused from error


def _captured(whole: Whole, call: Call, with_loss: bool) -> Captured:
    def run(tensors: Sequence[torch.Tensor]) -> tuple[list[Any], Any]:
        params, buffers, args, kwargs = call.unflatten(tensors)
        own = {**params, **buffers}
        result = call_with(whole, own, (args, kwargs, with_loss))
        after = [{name: own[name] for name in names} for names in (buffers, params)]
        return jax.tree_util.tree_flatten((known_to_jax(result), *after))

    for name, each in whole.named_modules():
        if each._backward_hooks or each._backward_pre_hooks:
            raise NotLowered(f"`{name}` has a backward hook, which runs in torch")
    found = capture(run, call.shapes, call.dtypes, "`loss`" if with_loss else "the model")
    _refuse_written_parameters(found, call)
    return found


def _refuse_written_parameters(captured: Captured, call: Call) -> None:
    nodes = captured.graph.graph.find_nodes(op="placeholder")
    outputs: Any = captured.graph.graph.output_node().args[0]
    names = sorted(call.unflatten([None] * len(call.shapes))[0])
    after = outputs[len(captured.dtypes) - len(names) :]
    for name, before, now in zip(names, nodes, after, strict=False):
        if now is not before:
            raise NotLowered(f"`{name}` is a parameter to which the model writes")


def _with_jax_loss(whole: Whole, call: Call) -> Loss:
    try:
        found = Loss(_captured(whole, call, False), whole, call, whole.loss)
    except Exception as error:
        refused = _refused(error)
        if refused is error:
            raise
        raise refused from error
    x64 = ambient_x64()
    types = [
        jax.ShapeDtypeStruct(shape, jax_dtype(dtype, x64))
        for shape, dtype in zip(call.shapes, call.dtypes, strict=True)
    ]
    key = jax.random.key(0) if found.random else None
    jax.eval_shape(lambda arrays: found(key, arrays)[0], types)
    return found


def _is_of(loss: Any, packages: Sequence[str]) -> bool:
    kinds = (loss, type(loss))
    return any((getattr(k, "__module__", None) or "").split(".")[0] in packages for k in kinds)


def _refused(error: Exception) -> Exception:
    reason = explained(error)
    if not isinstance(reason, NotLowered):
        return error
    return BridgeError(
        f"the model and its loss cannot become one program: {reason}. Change that, or train in a "
        "plain loop of torch (loss.backward(), optimizer.step())"
    )


def _dependencies(captured: Captured, on_all: bool) -> list[bool]:
    """Which placeholders the loss, or all of the result, reach through what has gradients."""
    nodes = list(captured.graph.graph.nodes)
    outputs: Any = captured.graph.graph.output_node().args[0]
    count = captured.tree.children()[0].num_leaves if on_all else 1
    wanted = list(outputs[:count])
    seen: set[torch.fx.Node] = set()
    while wanted:
        node = wanted.pop()
        if node in seen or _is_detached(node) or not _has_gradient(node.meta.get("val")):
            continue
        seen.add(node)
        wanted += node.all_input_nodes
    return [node in seen for node in nodes if node.op == "placeholder"]


def _is_detached(node: torch.fx.Node) -> bool:
    without_graph = node.target is _GRADIENT and not node.args[3]
    return node.target is _DETACH or without_graph


def _has_gradient(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_gradient, value))
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())
