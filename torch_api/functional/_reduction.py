"""From losses of samples to one number."""

from typing import Literal

from torch import Tensor

Reduction = Literal["none", "mean", "sum"]


def check_reduction(reduction: str) -> None:
    """Check the name of a reduction."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def reduce_loss(loss: Tensor, reduction: Reduction) -> Tensor:
    """The mean (0 of an empty tensor), the sum, or the losses as they are."""
    if reduction == "mean" and loss.numel():
        return loss.mean()
    return loss if reduction == "none" else loss.sum()
