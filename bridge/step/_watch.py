"""Whether a model is still the one that was captured."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import chain
from typing import Any

import torch

# Without None, which stands for objects as well: those are not looked at.
_SIMPLE = (bool, int, float, str)


class Watch:
    """What a captured model is made of: its modules, parameters and buffers as objects, and the
    numbers and strings among its modules' attributes (the training mode, time constants, ...)."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._modules = list(model.modules())
        self._holders = [
            own for m in self._modules for own in (m._modules, m._parameters, m._buffers)
        ]
        self._objects = self._present_objects()
        self.parameters = dict(model.named_parameters())
        self.buffers = dict(model.named_buffers())
        self._tensors = [*self.parameters.values(), *self.buffers.values()]
        self._kinds = [(t.dtype, t.device, t.shape) for t in self._tensors]
        self._snapshots: list[dict[str, Any]] = []
        self._attributes: Hashable = None

    def _present_objects(self) -> tuple[int, ...]:
        return tuple(map(id, chain.from_iterable(own.values() for own in self._holders)))

    def is_same(self) -> bool:
        """Whether modules, parameters and buffers are the same objects, of the same dtypes and
        shapes and on the same devices."""
        return self._present_objects() == self._objects and self._kinds == [
            (t.dtype, t.device, t.shape) for t in self._tensors
        ]

    def attributes(self) -> Hashable:
        """What makes it another program while the objects are the same; the same object as before
        if nothing was assigned since."""
        if not self._snapshots or any(map(_differ, self._modules, self._snapshots)):
            self._snapshots = [dict(vars(module)) for module in self._modules]
            self._attributes = tuple(
                [
                    (type(value), str(value))
                    for module in self._modules
                    for value in vars(module).values()
                    if type(value) in _SIMPLE
                ]
            )
        return self._attributes


def _differ(module: torch.nn.Module, before: dict[str, Any]) -> bool:
    try:
        return vars(module) != before
    except Exception:  # An attribute such as an array, which another one has replaced.
        return True
