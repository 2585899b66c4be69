"""What is kept of the spikes of a population."""

import warnings
from typing import Any

import torch
from torch import Tensor

from ...layers._health import Health
from ._call import Call, Clock
from ._traces import fill_spiking


def keep_spikes(
    call: Call, out: Tensor, health: Health, arriving: tuple[Tensor, Tensor], clock: Clock
) -> None:
    """Keep counts of simulated spikes, and fill the handle of the population.

    **Arguments:** ``out``: spike times ``(batch, neurons, k)``; ``arriving``: those of its input,
    and the weights through which they act.
    """
    call.module.remember(len(out), health)
    _check_alive(call.module, health, *arriving)
    fill_spiking(call, out, clock)


def _check_alive(neurons: Any, health: Health, times: Tensor, weight: Tensor) -> None:
    """Warn once per experiment if training meets a population that no input lets spike."""
    samples = len(times)
    if neurons.experiment.has_warned or not (neurons.training and torch.is_grad_enabled()):
        return
    if not weight.requires_grad or not bool(torch.isfinite(times).any()):
        return
    if bool((health.silent == samples).all()):
        neurons.experiment.has_warned = True
        warnings.warn(
            f"{neurons.title} did not spike in any of {samples} samples. Without spikes there is "
            f"no exact gradient, and what is before it does not learn: raise the weights of "
            f"its synapses, or lower its threshold",
            RuntimeWarning,
            stacklevel=2,
        )
