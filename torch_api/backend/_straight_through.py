"""What was observed, with the gradient of what was computed."""

from typing import Any

import torch
from torch import Tensor


class StraightThrough(torch.autograd.Function):
    """The second argument, with the gradient going to the first."""

    generate_vmap_rule = True

    @staticmethod
    def forward(computed: Tensor, observed: Tensor) -> Tensor:
        return observed.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(computed: Tensor, observed: Tensor) -> Tensor:
    """``observed``, whose gradient goes to ``computed``."""
    result: Tensor = StraightThrough.apply(computed, observed)  # pyright: ignore[reportAssignmentType]
    return result
