"""A model and its loss as one module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


class Whole(torch.nn.Module):
    """``loss(model(*inputs), target)``. While it is captured, a loss that looks at the model's
    parameters sees those of the program, too, and a loss that is a module is watched like the
    model."""

    def __init__(self, model: torch.nn.Module, loss: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, args: Sequence[Any], kwargs: dict[str, Any], with_loss: bool) -> Any:
        """What the loss returns for inputs and, as last, the target; or the model's output."""
        *inputs, target = args
        output = self.model(*inputs, **kwargs)
        return self.loss(output, target) if with_loss else output
