"""Where torch stops gradients: what the graph of operators of captured code does not show.

What is computed under `torch.no_grad` gets detached inputs. A tensor that is a view without
gradients (``x.detach()``, ``x.data``, a slice made under `torch.no_grad`) is detached where it is
used; until then it stays a view, as what is written to it is written to ``x``. What is written
without autograd's knowledge changes values and not gradients.
"""

from __future__ import annotations

from typing import Any

import jax
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from .._torch_internals import functorch_active, note_line
from . import _inner_gradient as _inner_gradient  # It defines the operator.
from ._operators._registry import Operator
from ._operators._table import TABLE
from ._reasons import NotLowered, user_line

_aten: Any = torch.ops.aten
_GRADIENT: Any = torch.ops.evtorch.gradient.default
_CLOSED_OVER = (
    "it uses tensors that require gradients and are neither its parameters nor its arguments, or "
    "computes gradients inside otherwise than by torch.autograd.grad"
)
# JAX has NaN where these raise.
_CHECKS = {
    _aten._linalg_check_errors.default,
    _aten._assert_async.default,
    _aten._assert_async.msg,
    _aten._assert_tensor_metadata.default,
}
# torch refuses tensors of several dtypes here, but not where they have no values.
_OF_ONE_DTYPE = {
    getattr(_aten, name).default
    for name in ("mm", "bmm", "mv", "dot", "vdot", "addmm", "baddbmm", "addmv", "convolution")
}
_MARK = "_evtorch_stopped"
_LEAF = "_evtorch_leaf"
_NO_LEAF = object()


@torch.library.custom_op("evtorch::substitute", mutates_args=())
def substitute(value: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """``value``, with the gradient of ``source``."""
    return value.clone()


@substitute.register_fake
def _(value: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(value)


@jax.custom_jvp
def _substitute(value: Any, source: Any) -> Any:
    return value


_substitute.defjvp(lambda primals, tangents: (_substitute(*primals), tangents[1]))
TABLE[torch.ops.evtorch.substitute.default] = Operator(_substitute)


def _is_differentiable(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())


def _tensors(values: Any) -> list[torch.Tensor]:
    return [t for t in jax.tree_util.tree_leaves(values) if isinstance(t, torch.Tensor)]


def detached(value: Any) -> Any:
    """``value`` without gradient if it is a view without one."""
    if _is_differentiable(value) and getattr(value, _MARK, False):
        leaf = getattr(value, _LEAF, _NO_LEAF)
        if leaf is None:
            setattr(value, _LEAF, leaf := _aten.detach.default(value))
        return _aten.detach.default(value) if leaf is _NO_LEAF else leaf
    return value


def make_leaf(tensor: torch.Tensor) -> None:
    """Have a tensor without gradients be the same node wherever it is used, so that gradients with
    respect to it exist."""
    if getattr(tensor, _MARK, False) and not hasattr(tensor, _LEAF):
        setattr(tensor, _LEAF, None)  # It is made where it is used first.


class GradientMode(TorchDispatchMode):
    """Makes explicit where gradients stop."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        note_line(user_line())
        enabled = torch.is_grad_enabled()
        if func in _CHECKS:
            return None
        if func is _aten.detach.default:
            if enabled and (args[0].requires_grad or functorch_active()):
                # Autograd detaches what it saves, too, which must not stop higher gradients.
                raise NotLowered(_CLOSED_OVER)
            return _marked(_aten.alias.default(args[0]))
        schema = func._schema
        if any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns):
            if hasattr(args[0], _LEAF):
                args = (detached(args[0]), *args[1:])
            found = func(*args, **kwargs)
            stopped = not enabled or getattr(args[0], _MARK, False)
            return _marked(found) if stopped else found
        return _run(func, schema, args, kwargs, enabled)


def _marked(value: Any) -> Any:
    for tensor in value if isinstance(value, (list, tuple)) else [value]:
        setattr(tensor, _MARK, True)
    return value


def _run(func: Any, schema: Any, args: Any, kwargs: Any, enabled: bool) -> Any:
    if enabled and any(t.requires_grad for t in _tensors((args, kwargs))):
        raise NotLowered(_CLOSED_OVER)
    if func in _OF_ONE_DTYPE and len({t.dtype for t in _tensors((args, kwargs))}) > 1:
        dtypes = ", ".join(str(t.dtype) for t in _tensors((args, kwargs)))
        raise RuntimeError(
            f"{func} got tensors of the dtypes {dtypes}; convert the inputs or the module to one"
        )
    names = [argument.name for argument in schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    written = {
        argument.name: given[argument.name]
        for argument in schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
        if argument.name in given
    }
    before = [
        (target, target.clone())
        for target in written.values()
        if _is_differentiable(target) and not (enabled and not getattr(target, _MARK, False))
    ]

    def stopped(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [stopped(v) for v in value]
        if not enabled and func is not _GRADIENT and _is_differentiable(value):
            return _aten.detach.default(value)
        return detached(value)

    found = func(
        *(a if n in written else stopped(a) for n, a in zip(names, args, strict=False)),
        **{n: a if n in written else stopped(a) for n, a in kwargs.items()},
    )
    for target, old in before:
        if target.shape == old.shape:
            target.copy_(substitute(_aten.detach.default(target), old))
    return found
