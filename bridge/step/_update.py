"""Loss, gradients and update of the parameters as one function of arrays."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._packing import Packing
from ._loss import Loss, loss_value


class Moved(NamedTuple):
    """What a step's program returns."""

    result: Any
    checked: list[Any]
    sums: dict[int, Any]
    """Gradients so far by parameter, where this step only adds some."""
    written: list[Any]
    """Parameters, buffers and the state that torch holds, packed."""
    state: Any
    """The state that JAX holds."""


class Plan(NamedTuple):
    """What a step's program is made of."""

    loss: Loss
    moving: tuple[int, ...]
    """The parameters that it updates, in the optimiser's order."""
    update: Callable[..., Any]
    kind: Hashable
    accumulate: int
    is_last: bool
    """Whether the parameters move, or gradients are only added up."""
    packing: Packing

    def __call__(
        self,
        params: Sequence[Any],
        buffers: Sequence[Any],
        inputs: Sequence[Any],
        seed: Any,
        state: Any,
        numbers: Any,
        sums: Any,
        bounds: tuple[Any, Any],
    ) -> Moved:
        key = jax.random.wrap_key_data(seed, impl="threefry2x32") if self.loss.random else None

        def loss_of(moving: list[Any]) -> Any:
            own = list(params)
            for i, p in zip(self.moving, moving, strict=True):
                own[i] = p
            result, after, checked = self.loss(key, [*own, *buffers, *inputs])
            return loss_value(result), (result, after, checked)

        moving = [params[i] for i in self.moving]
        found, gradients = jax.value_and_grad(loss_of, has_aux=True)(moving)
        value, (result, after, checked) = found
        if self.accumulate > 1:
            gradients = [g / self.accumulate for g in gradients]
        summed = dict(zip(self.moving, gradients, strict=True))
        # What an earlier step's loss did not depend on has no sum yet.
        summed = {i: sums[i] + g if i in sums else g for i, g in summed.items()}
        if not self.is_last:
            return Moved(result, checked, summed, self.packing.pack(after), None)
        gradients = list(summed.values())
        gradients = _clipped(gradients, *bounds)
        new, for_torch, kept = self.update(self.kind, moving, gradients, state, numbers, value)
        new = [n.astype(p.dtype) for n, p in zip(new, moving, strict=True)]
        # A copy, as what only passes through would come out as torch's own memory.
        written = [jnp.array(x, copy=True) for x in (*new, *after, *for_torch)]
        return Moved(result, checked, {}, self.packing.pack(written), kept)


def _clipped(gradients: Sequence[Any], max_value: Any, max_norm: Any) -> Sequence[Any]:
    """As `torch.nn.utils.clip_grad_value_`, then `clip_grad_norm_`, do it."""
    if max_value is not None:
        bounds = [jnp.asarray(max_value, g.dtype) for g in gradients]
        gradients = [jnp.clip(g, -b, b) for g, b in zip(gradients, bounds, strict=True)]
    if max_norm is None:
        return gradients
    norm = jnp.linalg.norm(jnp.stack([jnp.linalg.norm(g.ravel()) for g in gradients]))
    factor = jnp.minimum(max_norm / (norm + 1e-6), 1)
    return [g * factor.astype(g.dtype) for g in gradients]
