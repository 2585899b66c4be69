"""Checks of what encoders are given."""

from typing import Any

import torch
from torch import Tensor

from .._validate import check_tensor, values_are_checked


def checked_values(
    values: Any, low: float = 0.0, high: float = 1.0, axes: tuple[str, ...] = ("n",)
) -> Tensor:
    """Check values ``(..., *axes)`` in ``[low, high]``; **returns** them, not in half precision.

    Half precision is taken under autocast only.
    """
    is_unit = (low, high) == (0.0, 1.0)
    if isinstance(values, Tensor) and not values.is_floating_point():
        pixels = (
            "; they lie in [0, 1], so for 8-bit pixels take values.float() / 255" if is_unit else ""
        )
        remedy = pixels or "; convert them with values.float()"
        raise TypeError(f"values must be float32 or float64, got {values.dtype}{remedy}")
    if isinstance(values, Tensor) and torch.is_autocast_enabled(values.device.type):
        values = values if values.dtype == torch.float64 else values.float()
    shape = f"(..., {', '.join(axes)})"
    check_tensor(values, "values", f"a tensor {shape}")
    if values.ndim < len(axes):
        got = f"shape {tuple(values.shape)}" if values.ndim else "a scalar"
        raise ValueError(f"values must have shape {shape}, got {got}")
    if values_are_checked():
        good = (values >= low) & (values <= high) & values.isfinite()
        if not bool(good.all()):
            raise ValueError(_message(values[~good][0].item(), low, high))
    return values


def _message(bad: float, low: float, high: float) -> str:
    if (low, high) == (0.0, 1.0):
        remedy = "scale them, or apply torch.sigmoid to the outputs of another layer"
        return f"values must lie in [0, 1], but one is {bad}; {remedy}"
    if high == float("inf"):
        return f"values must be finite, but one is {bad}; fill gaps in the recording"
    return (
        f"values must lie in [low, high] = [{low:g}, {high:g}], but one is {bad}; scale or clamp "
        f"them, or widen the range"
    )
