"""Traces as the chip's fast converter records them: one neuron, finely sampled."""

from collections.abc import Callable

import torch
from torch import Tensor

from ._call import Clock

_PERIOD = 34e-9
"""Seconds between two samples."""
_CYCLE = 8e-9
"""Seconds per unit of their times."""


def recorded(trace: Callable[[Tensor], Tensor], clock: Clock, like: Tensor) -> Tensor:
    """Times in cycles of 8 ns and values, ``(2, samples, batch)``.

    **Arguments:** ``trace``: the neuron's values ``(batch, samples)`` at times, seconds.
    """
    samples = int(clock.steps * clock.dt / _PERIOD)
    times = torch.arange(samples, dtype=like.dtype, device=like.device) * _PERIOD
    values = trace(times).T
    return torch.stack([(times / _CYCLE)[:, None].expand_as(values), values])
