"""Delays as parameters that an optimiser may change freely."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ._validate import check_dtype, check_size


def delay_parameter(
    init: float | Tensor,
    features: int,
    *,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
) -> nn.Parameter:
    """A parameter of shape ``(features,)``, seconds, with values >= 0."""
    check_size(features, "features")
    if isinstance(init, str | bool) or init is None:
        raise TypeError(
            f"init must be a number or a tensor ({features},), seconds, got {type(init).__name__}"
        )
    dtype = check_dtype(dtype)
    # On its own device, because a device that holds no values ("meta") has none to check.
    value = init if isinstance(init, Tensor) else torch.tensor(init, device="cpu")
    value = value.detach().to(dtype)
    if value.shape not in ((), (features,)):
        raise ValueError(
            f"init must be a number or have shape ({features},), got {tuple(value.shape)}"
        )
    if not value.is_meta and not bool(((value >= 0) & (value < math.inf)).all()):
        raise ValueError(f"init must be finite and >= 0 (seconds), got {init}")
    device = device or (value.device if isinstance(init, Tensor) else torch.get_default_device())
    return nn.Parameter(value.expand(features).to(device, copy=True))


def nonnegative(delay: Tensor) -> Tensor:
    """``max(delay, 0)`` with a projected gradient, so that a delay below 0 can return."""
    return _Project.apply(delay)


class _Project(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(delay: Tensor) -> Tensor:
        return delay.clamp(min=0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (delay,) = ctx.saved_tensors
        (grad,) = grads
        return torch.where(delay >= 0, grad, grad.clamp(max=0))
