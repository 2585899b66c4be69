"""The distance of van Rossum between spike trains, in closed form."""

import math
from typing import Any

import torch
from torch import Tensor

from .._validate import check_like
from ._loss_checks import check_number, check_output_spikes
from ._reduction import Reduction, check_reduction, reduce_loss


def van_rossum(
    spikes: Tensor, target: Tensor, tau: float, *, reduction: Reduction = "mean"
) -> Tensor:
    """Squared distance of van Rossum between spike trains; see `VanRossumLoss`."""
    check_van_rossum_settings(tau, reduction)
    check_output_spikes(spikes)
    check_output_spikes(target, "target")
    check_like(target, spikes, "target")
    if spikes.shape[:-1] != target.shape[:-1]:
        raise ValueError(
            f"target must have the shape of spikes up to the number of spikes, "
            f"{(*spikes.shape[:-1], 'k')}, got {tuple(target.shape)}; fill up with inf where there "
            f"are fewer"
        )
    times = torch.cat([spikes, target], dim=-1)
    signs = torch.cat([torch.ones_like(spikes), -torch.ones_like(target)], dim=-1)
    silent = times == math.inf
    signs = torch.where(silent, 0, signs)
    times = torch.where(silent, 0, times)
    # The sum over pairs of s_i s_j exp(-|t_i - t_j| / tau), without the 1 in each exponential,
    # beside which a small shift would be lost.
    apart = (times.unsqueeze(-1) - times.unsqueeze(-2)).abs() / tau
    pairs = (signs.unsqueeze(-1) * signs.unsqueeze(-2) * torch.expm1(-apart)).sum(dim=(-2, -1))
    squared = (signs.sum(dim=-1).square() + pairs) / 2
    # Rounding may take it below 0, of which users want the root; the gradient is not touched.
    return reduce_loss(squared + (-squared.detach()).clamp(min=0), reduction)


def check_van_rossum_settings(tau: Any, reduction: str) -> None:
    """Check the constants of `van_rossum`."""
    check_number(tau, "tau", positive=True)
    check_reduction(reduction)
