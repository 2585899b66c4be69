"""Checks of what losses take: output spikes, classes, and their own settings."""

import math
import numbers
from typing import Any

from torch import Tensor

from .._validate import check_spike_tensor, check_spikes, values_are_checked


def check_output_spikes(spikes: Any, name: str = "spikes") -> None:
    """Check spike times ``(..., neurons, k)``, the form in which layers return spikes."""
    check_spike_tensor(spikes, name)
    check_spikes(spikes, name=name)


def check_class_tensor(target: Any) -> None:
    """Check that ``target`` can hold classes."""
    if not isinstance(target, Tensor) or target.dtype.is_floating_point:
        kind = target.dtype if isinstance(target, Tensor) else type(target).__name__
        raise TypeError(f"target must be an integer tensor of class indices, got {kind}")


def check_class_shape(target: Tensor, outputs: Tensor, name: str, trailing: int) -> None:
    """Check that there is a class per sample; ``trailing``: how many axes of outputs come after."""
    if outputs.shape[:-trailing] != target.shape:
        form = "(..., classes, k)" if trailing == 2 else "(..., classes)"
        raise ValueError(
            f"target must hold one class per sample: {name} {tuple(outputs.shape)} {form} need "
            f"shape {tuple(outputs.shape[:-trailing])}, got {tuple(target.shape)}"
        )


def check_classes(target: Tensor, classes: int) -> None:
    """Check the values of class indices, all of them below ``classes``."""
    if values_are_checked() and target.numel():
        low, high = (int(x) for x in target.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(
                f"target must hold classes >= 0 and < {classes} (the number of outputs), but it "
                f"reaches from {low} to {high}"
            )


def check_number(value: Any, name: str, *, positive: bool = False) -> None:
    """Check a setting: a finite number, >= 0 or > 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    given = float(value)
    if not (given > 0 if positive else given >= 0) or given == math.inf:
        raise ValueError(f"{name} must be finite and {'> 0' if positive else '>= 0'}, got {value}")


def check_smoothing(label_smoothing: Any) -> None:
    """Check the share of a target that is spread over all classes."""
    check_number(label_smoothing, "label_smoothing")
    if label_smoothing > 1:
        raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
