"""What was observed, with the gradient of what was computed."""

from typing import Any

import torch
from torch import Tensor


class StraightThrough(torch.autograd.Function):
    """The second argument, with the gradient going to the first."""

    @staticmethod
    def forward(ctx: Any, computed: Tensor, observed: Tensor) -> Tensor:
        return observed.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(computed: Tensor, observed: Tensor) -> Tensor:
    """``observed``, whose gradient goes to ``computed``."""
    result: Tensor = StraightThrough.apply(computed, observed)  # pyright: ignore[reportAssignmentType]
    return result
