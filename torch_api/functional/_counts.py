"""Numbers of spikes with a gradient, and losses on them.

The number of spikes changes only by jumps, whose derivative is 0. Here a spike counts the less the
later it comes, so that moving it changes the count, and it leaves continuously.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._validate import check_like, values_are_checked
from ._loss_checks import (
    check_class_shape,
    check_class_tensor,
    check_classes,
    check_number,
    check_output_spikes,
    check_smoothing,
)
from ._reduction import Reduction, check_reduction, reduce_loss


def soft_count(spikes: Tensor, t_max: float, width: float | None = None) -> Tensor:
    """Numbers of spikes, each counted by ``clamp((t_max - t) / width, 0, 1)``.

    Spikes up to ``t_max - width`` count as 1, those from ``t_max`` on as 0, those between
    accordingly, and only these have a gradient, ``-1 / width``: more spikes means earlier ones.

    **Arguments:**

    - ``spikes``: spike times, seconds, shape ``(..., neurons, k)``.
    - ``t_max``: end of the window in which spikes are counted, seconds, > 0.
    - ``width``: seconds, > 0, over which a spike fades; ``None`` for ``t_max``, with which all
      spikes have a gradient. The smaller it is, the closer is the count to a whole number.

    **Returns:** shape ``(..., neurons)``. Differentiable in the times; a silent neuron has 0, and
    gradient 0.
    """
    check_count_settings(t_max, width)
    check_output_spikes(spikes)
    return ((t_max - spikes) / (t_max if width is None else width)).clamp(0, 1).sum(dim=-1)


def spike_count_cross_entropy(
    spikes: Tensor,
    target: Tensor,
    t_max: float,
    *,
    width: float | None = None,
    scale: float = 1.0,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of soft spike counts; see `SpikeCountCrossEntropyLoss`."""
    check_count_entropy_settings(t_max, width, scale, label_smoothing, reduction)
    counts = _counts_for_classes(spikes, target, t_max, width)
    classes = counts.shape[-1]
    loss = F.cross_entropy(
        (scale * counts).reshape(-1, classes),
        target.reshape(-1).long(),
        label_smoothing=label_smoothing,
        reduction="none",
    )
    return reduce_loss(loss.reshape(target.shape), reduction)


def spike_count_mse(
    spikes: Tensor,
    target: Tensor,
    t_max: float,
    *,
    correct: float | None = None,
    wrong: float | None = None,
    width: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Squared error of soft spike counts; see `SpikeCountMSELoss`."""
    check_count_mse_settings(t_max, correct, wrong, width, reduction)
    if not isinstance(target, Tensor):
        raise TypeError(f"target must be a tensor, got {type(target).__name__}")
    if target.dtype.is_floating_point:
        counts = soft_count(spikes, t_max, width)
        _check_wanted(target, counts)
        wanted = target
    else:
        counts = _counts_for_classes(spikes, target, t_max, width)
        if correct is None or wrong is None:
            raise ValueError(
                "correct and wrong must be given where target holds classes; or pass the target "
                "counts themselves, as floating-point numbers"
            )
        is_correct = torch.arange(counts.shape[-1], device=target.device) == target.unsqueeze(-1)
        wanted = torch.where(is_correct, correct, wrong).to(counts)
    return reduce_loss((counts - wanted).square(), reduction)


def _counts_for_classes(
    spikes: Tensor, target: Tensor, t_max: float, width: float | None
) -> Tensor:
    """Soft counts of outputs that stand for classes, of which ``target (...)`` holds the right."""
    check_output_spikes(spikes)
    check_class_tensor(target)
    check_class_shape(target, spikes, "spikes", 2)
    if spikes.shape[-2] == 0:
        raise ValueError(
            f"spikes must have shape (..., classes, k) with classes >= 1, got "
            f"{tuple(spikes.shape)}; pass the output of a layer with a neuron per class"
        )
    check_classes(target, spikes.shape[-2])
    return soft_count(spikes, t_max, width)


def _check_wanted(target: Tensor, counts: Tensor) -> None:
    check_like(target, counts, "target")
    if target.shape != counts.shape:
        raise ValueError(
            f"target counts must have the shape (..., neurons) of spikes without their last axis, "
            f"{tuple(counts.shape)}, got {tuple(target.shape)}"
        )
    if values_are_checked() and not bool(((target >= 0) & (target < math.inf)).all()):
        raise ValueError("target counts must be finite and >= 0, not NaN; correct the targets")


def check_count_settings(t_max: Any, width: Any) -> None:
    """Check the constants of `soft_count`."""
    check_number(t_max, "t_max", positive=True)
    if width is not None:
        check_number(width, "width", positive=True)


def check_count_entropy_settings(
    t_max: float, width: float | None, scale: float, label_smoothing: float, reduction: str
) -> None:
    """Check the constants of `spike_count_cross_entropy`."""
    check_count_settings(t_max, width)
    check_number(scale, "scale", positive=True)
    check_smoothing(label_smoothing)
    check_reduction(reduction)


def check_count_mse_settings(
    t_max: float, correct: float | None, wrong: float | None, width: float | None, reduction: str
) -> None:
    """Check the constants of `spike_count_mse`."""
    check_count_settings(t_max, width)
    if (correct is None) != (wrong is None):
        raise ValueError("correct and wrong must be given both or not at all")
    for name, value in (("correct", correct), ("wrong", wrong)):
        if value is not None:
            check_number(value, name)
    check_reduction(reduction)
