"""An `OptaxOptimizer` that steps inside a compiled program."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import jax
import torch

from .._optimizer import OptaxOptimizer
from .._param_group import ParamGroup


class OptaxRule:
    """As `TorchRule`; optax's state stays in JAX."""

    def __init__(self, optimizer: OptaxOptimizer) -> None:
        self.optimizer = optimizer
        self._groups: list[ParamGroup] = []

    def begin(self, live: Sequence[torch.Tensor], x64: bool) -> tuple[Hashable, Any, Any]:
        """As that of `TorchRule`. Raises ``ValueError`` for parameters without gradient in a group
        in which others have one."""
        wanted = {id(p) for p in live}
        self._groups, rates = [], []
        for group, lr in self.optimizer.compiled_groups():
            moving = [id(p) in wanted for p in group.params]
            if not any(moving):
                continue
            if not (all(moving) and group.moves_together(moving)):
                raise ValueError(
                    f"{moving.count(False)} of {len(moving)} parameters in a param group of the "
                    "optimizer are frozen, have no effect on the loss, or missed earlier steps, "
                    "and a compiled step of optax moves all of a group. Give them a group of their "
                    "own, leave them out, or use loss.backward() and optimizer.step()"
                )
            self._groups.append(group)
            rates.append(group.rate(lr))
        sizes = tuple(len(group.params) for group in self._groups)
        return sizes, [[_committed(x) for x in g.packed_state] for g in self._groups], rates

    def update(
        self, kind: Any, params: Any, gradients: Any, state: Any, numbers: Any, loss: Any
    ) -> Any:
        """As that of `TorchRule`. Transformations that take a ``value`` get the loss."""
        new_params, new_state, start = [], [], 0
        for group, size, own, rate in zip(self._groups, kind, state, numbers, strict=True):
            part = slice(start, start + size)
            start += size
            updates, own = group.advance(gradients[part], own, params[part], rate, {"value": loss})
            new_params += [p + u for p, u in zip(params[part], updates, strict=True)]
            new_state.append(own)
        return new_params, [], new_state

    def written(self, is_last: bool) -> list[torch.Tensor]:
        """As that of `TorchRule`: none."""
        return []

    def finish(self, state: Sequence[list[jax.Array]]) -> None:
        """Take over the new state."""
        for group, own in zip(self._groups, state, strict=True):
            group.packed_state = own
        # torch's schedulers warn where no step was taken before theirs.
        self.optimizer._opt_called = True  # pyright: ignore[reportAttributeAccessIssue]


def _committed(array: jax.Array) -> jax.Array:
    """The array as a program returns it that reads torch's memory: else the second step, whose
    state the first one returned, would be compiled anew."""
    return array if array.committed else jax.device_put(array, next(iter(array.devices())))
