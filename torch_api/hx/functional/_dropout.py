"""Dropout on dense tensors."""

from torch import Tensor


def batch_dropout(input: Tensor, mask: Tensor) -> Tensor:
    """Spikes of those neurons that the boolean ``mask`` ``(neurons,)`` leaves."""
    return input * mask.to(input.device)
