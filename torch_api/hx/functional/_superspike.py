"""A step with a surrogate derivative."""

from typing import Any

import torch
from torch import Tensor


class SuperSpike(torch.autograd.Function):
    """Heaviside step with the derivative ``1 / (alpha |x| + 1)^2``.

    Zenke & Ganguli 2018, doi:10.1162/neco_a_01086.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, alpha: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.alpha = alpha
        # A voltage that is NaN must not look like silence.
        return torch.where(x.isnan(), x, (x > 0).to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradients[0] / (ctx.alpha * x.abs() + 1).square(), None


def superspike(x: Tensor, alpha: float = 50.0) -> Tensor:
    """1 where ``x > 0``, else 0 (NaN where ``x`` is), with the SuperSpike derivative."""
    result: Tensor = SuperSpike.apply(x, alpha)  # pyright: ignore[reportAssignmentType]
    return result
