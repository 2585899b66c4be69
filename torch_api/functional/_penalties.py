"""Terms of a loss that keep rates and latencies of hidden neurons within bounds."""

import math
from typing import Any

import torch
from torch import Tensor

from .._validate import check_like, check_tensor, values_are_checked
from ..layers._constants import Constant
from ._counts import check_count_settings, soft_count
from ._loss_checks import check_number, check_output_spikes
from ._reduction import reduce_loss


def rate_penalty(
    spikes: Tensor,
    lower: Constant,
    upper: Constant,
    t_max: float,
    width: float | None = None,
) -> Tensor:
    """How far the mean spike counts of neurons lie outside of ``[lower, upper]``, squared.

    With ``c_n`` the mean over samples of a neuron's `soft_count`, the mean over neurons of

        max(0, c_n - upper)^2 + max(0, lower - c_n)^2

    The gradient moves spikes: later where there are too many, until they leave the window, and
    earlier where there are too few, which raises weights. A neuron that is silent in all samples
    has no spike to move and gradient 0: `silent_loss` and `rescue_silent_` make it spike.

    **Arguments:**

    - ``spikes``: spike times of a layer, seconds, shape ``(..., neurons, k)``.
    - ``lower``, ``upper``: soft spikes per sample, >= 0, numbers or tensors ``(neurons,)``; 0 and
      ``inf`` for no bound. With the default ``width`` a spike in the middle of the window is one
      half.
    - ``t_max``, ``width``: as in `soft_count`, seconds.

    **Returns:** a scalar, 0 for an empty batch.
    """
    check_count_settings(t_max, width)
    check_output_spikes(spikes)
    bounds = [_bound(lower, "lower", spikes), _bound(upper, "upper", spikes)]
    if values_are_checked() and not all(
        bool(good.all()) for good in (bounds[0] < math.inf, bounds[0] <= bounds[1])
    ):
        raise ValueError(
            f"lower must be finite and <= upper, got {lower} and {upper}; 0 and inf are no bounds"
        )
    counts = soft_count(spikes, t_max, width)
    if counts.numel() == 0:
        return counts.sum()
    mean = counts.reshape(-1, counts.shape[-1]).mean(dim=0)
    outside = (mean - bounds[1]).relu().square() + (bounds[0] - mean).relu().square()
    return outside.mean()


def latency_penalty(spikes: Tensor, t_late: float, *, time_unit: float | None = None) -> Tensor:
    """How much later than ``t_late`` spikes come, squared: draws late spikes forward.

    The mean over samples and neurons of ``sum_k max(0, (t_k - t_late) / time_unit)^2``. No spike
    (``inf``) adds nothing and has gradient 0.

    **Arguments:**

    - ``spikes``: spike times of a layer, seconds, shape ``(..., neurons, k)``.
    - ``t_late``: seconds, >= 0; spikes up to then are early enough.
    - ``time_unit``: seconds in which lateness is measured before it is squared; ``None`` for
      ``t_late``.

    **Returns:** a scalar, 0 for an empty batch.
    """
    check_number(t_late, "t_late")
    if time_unit is not None:
        check_number(time_unit, "time_unit", positive=True)
    elif t_late == 0:
        raise ValueError("time_unit must be given where t_late is 0; give it in seconds")
    check_output_spikes(spikes)
    times = torch.where(spikes == math.inf, t_late, spikes)
    late = (times - t_late).relu() / (t_late if time_unit is None else time_unit)
    return reduce_loss(late.square().sum(dim=-1), "mean")


def _bound(value: Any, name: str, spikes: Tensor) -> Tensor:
    """A bound as a tensor of shape ``()`` or ``(neurons,)``, checked."""
    if not isinstance(value, Tensor):
        if value != math.inf:
            check_number(value, name)
        return torch.as_tensor(value, dtype=spikes.dtype, device=spikes.device)
    neurons = spikes.shape[-2]
    check_tensor(value, name, f"a number or a tensor of shape ({neurons},)")
    check_like(value, spikes, name)
    if value.shape not in ((), (neurons,)):
        raise ValueError(
            f"{name} must be a number or a tensor of shape ({neurons},), got {tuple(value.shape)}"
        )
    if values_are_checked() and not bool((value >= 0).all()):
        raise ValueError(f"{name} must be >= 0, got {value.tolist()}; 0 and inf are no bounds")
    return value
