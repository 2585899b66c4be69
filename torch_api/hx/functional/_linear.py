"""Synapses on dense tensors."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear as linear

_MAX_WEIGHT = 63


def linear_sparse(
    input: Tensor, weight: Tensor, connections: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """``linear`` with those weights only that the boolean ``connections`` ``(out, in)`` allow."""
    if connections is not None:
        weight = torch.where(connections, weight, 0)
    return linear(input, weight, bias)


class WeightRounding(torch.autograd.Function):
    """Weights rounded to multiples of ``cap / 63``, with a straight-through gradient."""

    @staticmethod
    def forward(ctx: Any, cap: float, weight: Tensor) -> Tensor:
        step = cap / _MAX_WEIGHT
        return torch.round(weight / step) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def linear_exponential_clamp(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    cap: float = 1.5,
    start_weight: float = 61.0,
    quantize: bool = False,
) -> Tensor:
    """``linear`` with weights that approach ``cap`` exponentially.

    **Arguments:** ``cap``: largest magnitude; ``start_weight``: where the roll-off begins, of 63;
    ``quantize``: whether to round to multiples of ``cap / 63`` (straight-through gradient).
    """
    if not 0 <= start_weight < _MAX_WEIGHT:
        raise ValueError(f"start_weight must be >= 0 and < {_MAX_WEIGHT}, got {start_weight}")
    begin = start_weight / _MAX_WEIGHT
    room = 1 - begin
    size = weight.abs() / cap
    saturating = weight.sign() * cap * (1 - room * torch.exp(-(size - begin) / room))
    clamped = torch.where(size > begin, saturating, weight)
    if quantize:
        clamped = WeightRounding.apply(cap, clamped)
    return linear(inputs, clamped, bias)  # pyright: ignore[reportArgumentType]
