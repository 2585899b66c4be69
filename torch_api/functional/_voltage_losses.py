"""Losses on voltages that leaky integrators are read out by. NaN stays NaN."""

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


def voltage_cross_entropy(
    voltages: Tensor,
    target: Tensor,
    *,
    scale: float | Tensor = 1.0,
    penalty: float = 0.0,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of read-outs; see `VoltageCrossEntropyLoss`."""
    if not isinstance(scale, Tensor):
        check_number(scale, "scale", positive=True)
    check_voltage_settings(penalty, label_smoothing, reduction)
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
    return reduce_loss(loss, reduction)


def check_voltages(voltages: Tensor) -> None:
    """Check that there is a read-out per class."""
    check_tensor(voltages, "voltages", "a tensor of read-outs (..., classes)")
    if voltages.ndim < 1 or voltages.shape[-1] == 0:
        raise ValueError(
            f"voltages must have shape (..., classes) with classes >= 1, got "
            f"{tuple(voltages.shape)}; pass what an LI layer returns"
        )


def check_voltage_settings(penalty: float, label_smoothing: float, reduction: str) -> None:
    """Check the constants of `voltage_cross_entropy`, its scale apart."""
    check_number(penalty, "penalty")
    check_smoothing(label_smoothing)
    check_reduction(reduction)
