"""Losses on voltages that leaky integrators are read out by. NaN stays NaN."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .._validate import check_tensor
from ._loss_checks import (
    check_class_shape,
    check_class_tensor,
    check_classes,
    check_number,
    check_smoothing,
)
from ._reduction import Reduction, check_reduction, reduce_loss

# Enough to hold the mean against noise, little beside a cross-entropy.
_WEIGHT_OF_LEVEL = 0.5


def voltage_cross_entropy(
    voltages: Tensor,
    target: Tensor,
    *,
    scale: float | Tensor = 1.0,
    penalty: float = 0.0,
    level: float = 2.0,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of read-outs; see `VoltageCrossEntropyLoss`."""
    if not isinstance(scale, Tensor):
        check_number(scale, "scale", positive=True)
    check_voltage_settings(penalty, level, label_smoothing, reduction)
    check_voltages(voltages)
    check_class_tensor(target)
    check_class_shape(target, voltages, "voltages", 1)
    classes = voltages.shape[-1]
    check_classes(target, classes)
    loss = F.cross_entropy(
        (scale * voltages).reshape(-1, classes),
        target.reshape(-1).long(),
        label_smoothing=label_smoothing,
        reduction="none",
    ).reshape(target.shape)
    if penalty:
        loss = loss + penalty * voltages.square().mean(dim=-1)
    if level:
        loss = loss + _WEIGHT_OF_LEVEL * _sunk(voltages, level).square()
    return reduce_loss(loss, reduction)


def _sunk(voltages: Tensor, level: float) -> Tensor:
    """How far below ``level`` each sample's mean is, in units of the spread within samples; 0
    where some read-out is negative."""
    mean, fixed = voltages.mean(dim=-1), voltages.detach()
    spread = (fixed - fixed.mean(dim=-1, keepdim=True)).square().mean().sqrt()
    applies = (fixed >= 0).all() & (spread > 0)
    sunk = (level - mean / torch.where(applies, spread, 1)).clamp(min=0)
    return torch.where(applies, sunk, 0)


def check_voltages(voltages: Tensor) -> None:
    """Check that there is a read-out per class."""
    check_tensor(voltages, "voltages", "a tensor of read-outs (..., classes)")
    if voltages.ndim < 1 or voltages.shape[-1] == 0:
        raise ValueError(
            f"voltages must have shape (..., classes) with classes >= 1, got "
            f"{tuple(voltages.shape)}; pass what an LI layer returns"
        )


def check_voltage_settings(
    penalty: float, level: float, label_smoothing: float, reduction: str
) -> None:
    """Check the constants of `voltage_cross_entropy`, its scale apart."""
    check_number(penalty, "penalty")
    check_number(level, "level")
    check_smoothing(label_smoothing)
    check_reduction(reduction)
