"""Losses on spike times. No spike (``inf``) never makes a loss or a gradient infinite or NaN; a
time that is NaN always does."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .._validate import check_like, check_spike_tensor, check_spikes, values_are_checked
from ._loss_checks import check_class_shape, check_class_tensor, check_classes
from ._reduction import Reduction, check_reduction, reduce_loss

# Beyond it, the term on late spikes would make a sum over samples overflow float32.
_LARGEST_EXPONENT = 50.0


def ttfs_cross_entropy(
    spikes: Tensor,
    target: Tensor,
    *,
    tau_syn: float = 1e-2,
    xi: float = 0.2,
    alpha: float = 0.0,
    beta: float = 1.0,
    silent_time: float | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Cross-entropy of first-spike times; see `TTFSCrossEntropyLoss`."""
    check_ttfs_settings(tau_syn, xi, alpha, beta, silent_time, reduction)
    check_spike_tensor(spikes)
    check_class_tensor(target)
    first = _first_spikes(spikes, target)
    check_classes(target, first.shape[-1])
    target = target.long()
    late = 10 * tau_syn if silent_time is None else silent_time
    times = torch.where(first == math.inf, late, first)
    classes = times.shape[-1]
    loss = F.cross_entropy(
        times.reshape(-1, classes) / (-xi * tau_syn), target.reshape(-1), reduction="none"
    )
    if alpha:
        correct = first.gather(-1, target.unsqueeze(-1)).reshape(-1)
        fired = correct != math.inf
        growth = torch.where(fired, correct, 0) / (beta * tau_syn)
        growth = torch.expm1(growth.clamp(max=_LARGEST_EXPONENT))
        loss = loss + alpha * growth
    return reduce_loss(loss.reshape(target.shape), reduction)


def spike_time_mse(
    spikes: Tensor,
    target: Tensor,
    *,
    t_correct: float | None = None,
    t_wrong: float | None = None,
    silent_time: float | None = None,
    time_unit: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Squared error of spike times; see `SpikeTimeMSELoss`."""
    check_mse_settings(t_correct, t_wrong, silent_time, time_unit, reduction)
    check_spike_tensor(spikes)
    if not isinstance(target, Tensor):
        raise TypeError(f"target must be a tensor, got {type(target).__name__}")
    if target.dtype.is_floating_point:
        times, wanted = _match(spikes, target)
    else:
        times = _first_spikes(spikes, target)
        wanted = _class_times(times, target, t_correct, t_wrong)
    late = _twice_the_latest(wanted) if silent_time is None else silent_time
    error = torch.where(times == math.inf, late, times) - torch.where(
        wanted == math.inf, late, wanted
    )
    return reduce_loss((error / time_unit) ** 2, reduction)


def _twice_the_latest(wanted: Tensor) -> Tensor:
    """When silence counts as a spike: twice the latest of the target times."""
    finite = wanted.detach() < math.inf
    if wanted.numel() == 0:
        return wanted.new_zeros(())
    if values_are_checked() and not bool(finite.any()):
        raise ValueError(
            "silent_time must be given where no target is finite: it is the time to which outputs "
            "that should be silent are drawn, and twice the latest target time by default; choose "
            "one after the latest spike"
        )
    return 2 * torch.where(finite, wanted.detach(), 0).amax()


def check_ttfs_settings(
    tau_syn: float,
    xi: float,
    alpha: float,
    beta: float,
    silent_time: float | None,
    reduction: str,
) -> None:
    """Check the constants of `ttfs_cross_entropy`."""
    for name, value in (("tau_syn", tau_syn), ("xi", xi), ("beta", beta)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and > 0, got {value}")
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha must be finite and >= 0, got {alpha}")
    _check_silent_time(silent_time)
    check_reduction(reduction)


def check_mse_settings(
    t_correct: float | None,
    t_wrong: float | None,
    silent_time: float | None,
    time_unit: float,
    reduction: str,
) -> None:
    """Check the constants of `spike_time_mse`."""
    if (t_correct is None) != (t_wrong is None):
        raise ValueError("t_correct and t_wrong must be given both or not at all")
    for name, value in (("t_correct", t_correct), ("t_wrong", t_wrong)):
        if value is not None and not value >= 0:
            raise ValueError(f"{name} must be >= 0 (inf: no spike), got {value}")
    if not 0 < time_unit < math.inf:
        raise ValueError(f"time_unit must be finite and > 0, got {time_unit}")
    _check_silent_time(silent_time)
    check_reduction(reduction)


def _check_silent_time(silent_time: float | None) -> None:
    if silent_time is not None and not 0 <= silent_time < math.inf:
        raise ValueError(f"silent_time must be None or a time, finite and >= 0, got {silent_time}")


def _first_spikes(spikes: Tensor, target: Tensor) -> Tensor:
    """First-spike times ``(..., classes)`` for class indices ``target (...)``."""
    if spikes.shape[:-1] == target.shape and spikes.shape[-1] != 1:
        raise ValueError(
            f"spikes must have shape (..., classes, k), got {tuple(spikes.shape)} for target "
            f"{tuple(target.shape)}: with one spike per class, spikes.unsqueeze(-1)"
        )
    check_class_shape(target, spikes, "spikes", 2)
    if spikes.shape[-1] == 0:
        raise ValueError("spikes must have room for a spike: shape (..., classes, k) with k >= 1")
    check_spikes(spikes)
    return spikes[..., 0]


def _class_times(
    times: Tensor, target: Tensor, t_correct: float | None, t_wrong: float | None
) -> Tensor:
    if t_correct is None or t_wrong is None:
        raise ValueError(
            "t_correct and t_wrong must be given where target holds classes; or pass the target "
            "times themselves"
        )
    check_classes(target, times.shape[-1])
    correct = torch.arange(times.shape[-1], device=times.device) == target.unsqueeze(-1)
    return torch.where(correct, t_correct, t_wrong).to(times.dtype)


def _match(spikes: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Spike times and target times of one shape: all spikes, or the first ones."""
    check_like(target, spikes, "target")
    check_spikes(spikes)
    if values_are_checked() and not bool((target >= 0).all()):
        raise ValueError("target times must be >= 0, not NaN; inf stands for no spike")
    if target.shape == spikes.shape:
        return spikes, target
    if spikes.ndim >= 1 and spikes.shape[-1] >= 1 and target.shape == spikes.shape[:-1]:
        return spikes[..., 0], target
    raise ValueError(
        f"target times must have the shape of spikes {tuple(spikes.shape)} or, for the first "
        f"spikes, {tuple(spikes.shape[:-1])}; got {tuple(target.shape)}"
    )
