"""Whether a model is still the one that was captured."""

from __future__ import annotations

import operator
import threading
import types
import warnings
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from typing import Any

import torch

from ._static import Static

capturing = threading.RLock()
"""Held while torch code is captured: its modules have other parameters then, in all threads."""

# Without None, which stands for objects as well: those are not looked at. Neither are tensors, as
# models note some for their users: `Constants` knows those that matter.
_SIMPLE = (bool, int, float, complex, str, torch.dtype, torch.device, torch.Size)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, type)
# So many programs of one model are worth a warning, as in torch.compile.
_MANY = 8


class Watch:
    """What a captured model is made of: its modules and hooks as objects, and the numbers, strings
    and functions among its modules' attributes (the training mode, time constants, ...).

    Its parameters and buffers count by name, and, if ``values``, as objects of some dtype, shape
    and device. Raises ``ValueError`` for lazy modules that were not initialised.
    """

    def __init__(self, model: torch.nn.Module, values: bool) -> None:
        # TorchScript makes new objects at each look.
        self._modules = [m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
        self.scripted = [m for m in model.modules() if isinstance(m, torch.jit.ScriptModule)]
        self._tables = [own for m in self._modules for own in (m._parameters, m._buffers)]
        self._holders = [own for m in self._modules for own in _holders(m)]
        if values:
            self._holders += self._tables
        self.parameters = dict(model.named_parameters())
        self.buffers = dict(model.named_buffers())
        self._tensors = [*self.parameters.values(), *self.buffers.values()] if values else []
        # These keep them alive, so that nothing else gets their identity.
        self._objects, self._names = self._present_objects(), self._present_names()
        self._kinds = [(t.dtype, t.device, t.shape) for t in self._tensors]
        self._snapshots: list[dict[str, Any]] = []
        self._variants: dict[Hashable, int] = {}
        self._variant = 0

    def _present_objects(self) -> list[Any]:
        return list(chain.from_iterable(own.values() for own in self._holders))

    def _present_names(self) -> list[str]:
        return [name for own in self._tables for name, value in own.items() if value is not None]

    def is_same(self) -> bool:
        """Whether it is made of the same objects as in the beginning."""
        found = self._present_objects()
        return (
            len(found) == len(self._objects)
            and all(map(operator.is_, found, self._objects))
            and self._present_names() == self._names
            and self._kinds == [(t.dtype, t.device, t.shape) for t in self._tensors]
        )

    def variant(self, stacklevel: int) -> int:
        """A number for what makes it another program while the objects are the same. Warns if it
        is the ninth."""
        if not self._snapshots or any(map(_differ, self._modules, self._snapshots)):
            self._snapshots = [_snapshot(module) for module in self._modules]
            key = tuple(
                [
                    described
                    for module in self._modules
                    for value in vars(module).values()
                    if (described := _described(value)) is not None
                ]
            )
            known = len(self._variants)
            self._variant = self._variants.setdefault(key, known)
            if self._variant == known == _MANY:
                warnings.warn(
                    f"numbers, strings or functions among the model's attributes have had {_MANY} "
                    "values in as many calls, each of which compiled; keep counters in buffers",
                    stacklevel=stacklevel,
                )
        return self._variant


class Constants:
    """Tensors that a captured program holds as they were: no parameters, buffers or arguments."""

    def __init__(self, tensors: Iterable[torch.Tensor], model: Any) -> None:
        known = [t for t in tensors if not t.is_inference()]  # those cannot be written to
        self._versions = [(t, t._version) for t in known]
        identities = set(map(id, known))
        modules = model.modules() if isinstance(model, torch.nn.Module) else ()
        self._places = [
            (vars(module), name, value)
            for module in modules
            for name, value in vars(module).items()
            if id(value) in identities
        ]

    def are_same(self) -> bool:
        """Whether none was written to, or replaced where the model has it as an attribute."""
        return all(t._version == version for t, version in self._versions) and all(
            own.get(name) is value for own, name, value in self._places
        )


def _holders(module: torch.nn.Module) -> Sequence[dict[Any, Any]]:
    return (
        module._modules,
        module._forward_pre_hooks,
        module._forward_hooks,
        module._backward_pre_hooks,
        module._backward_hooks,
    )


def _snapshot(module: torch.nn.Module) -> dict[str, Any]:
    """The attributes, with copies of those that may change in place."""
    return {
        name: value.copy() if type(value) in (list, dict) else value
        for name, value in vars(module).items()
    }


def _differ(module: torch.nn.Module, before: dict[str, Any]) -> bool:
    try:
        return vars(module) != before
    except Exception:  # An attribute such as an array, which another one has replaced.
        return True


def _described(value: Any) -> Hashable:
    """What of an attribute counts; None if nothing does."""
    kind = type(value)
    if kind in _SIMPLE:
        return Static(value, repr(value))
    if kind in (list, tuple):
        parts = [_described(part) for part in value]
        return None if None in parts else (kind, *parts)
    if kind is dict:
        return _described([part for pair in value.items() for part in pair])
    return Static(value, id(value)) if isinstance(value, _FUNCTIONS) else None
