"""From model weights to weights on the scale of the hardware."""

from torch import Tensor

__all__ = ["linear_saturating"]


def linear_saturating(
    weight: Tensor, scale: float = 1.0, min_weight: float = -63.0, max_weight: float = 63.0
) -> Tensor:
    """``scale * weight``, clipped to what the hardware has."""
    return (scale * weight).clamp(min_weight, max_weight)
