"""One way of calling a torch module, as a function of tensors alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import torch

from ._records import known_to_jax
from ._static import Static


def call_with(
    module: torch.nn.Module, own: dict[str, torch.Tensor], args: Any, kwargs: Any = None
) -> Any:
    """`torch.func.functional_call`, which by itself leaves the given tensors in a module that is
    part of another one under several names."""
    tables: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (table, dict(table))
        for each in module.modules()
        if not isinstance(each, torch.jit.ScriptModule)
        for table in (each._parameters, each._buffers)
    ]
    try:
        return torch.func.functional_call(module, own, args, kwargs)
    finally:
        for table, before in tables:
            table.update({name: value for name, value in before.items() if value is not None})


class TorchCall:
    """``call(tensors) -> (flat outputs and buffers, their pytree)``.

    ``tree`` is that of ``(params, buffers, args, kwargs)``, with tensors where ``kinds`` is None,
    which go to ``device``.
    """

    def __init__(
        self,
        module: Callable[..., Any],
        tree: Any,
        kinds: Sequence[Static | None],
        device: torch.device | None,
    ) -> None:
        self.module = module
        self.tree = tree
        self.kinds = kinds
        self.device = device
        self.seen: dict[str, torch.Tensor] | None = None
        """If a dict, a call puts the buffers into it as it got them."""

    def __call__(self, tensors: Sequence[torch.Tensor]) -> tuple[list[Any], Any]:
        device = self.device
        rest = iter(tensors if device is None else [t.to(device) for t in tensors])
        values = [next(rest) if kind is None else kind.value for kind in self.kinds]
        params, state, args, kwargs = jax.tree_util.tree_unflatten(self.tree, values)
        state = dict(state)
        if isinstance(self.module, torch.nn.Module):
            own = {**params, **state}
            if self.seen is not None:
                self.seen.update(state)
            result = call_with(self.module, own, args, kwargs)
            state = {name: own[name] for name in state}
        else:
            result = self.module(*args, **kwargs)
        return jax.tree_util.tree_flatten((known_to_jax(result), state))
