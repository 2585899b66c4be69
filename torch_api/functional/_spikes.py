"""Spike times: delay, repeat, count, decide."""

import math
from typing import overload

import torch
from torch import Tensor

from ...jax_core import Events
from ...jax_core._validate import check_duration, check_integer
from .._validate import (
    check_like,
    check_spike_tensor,
    check_spikes,
    check_tensor,
    values_are_checked,
)
from ..layers._constants import Constant
from ._sorting import sorted_spikes


@overload
def delay(spikes: Tensor, delay: Constant) -> Tensor: ...
@overload
def delay(spikes: Events, delay: Constant) -> Events: ...
def delay(spikes: Tensor | Events, delay: Constant) -> Tensor | Events:
    """Delay all spikes of a neuron by the same time.

    **Arguments:**

    - ``spikes``: spike times ``(..., neurons, k)`` or ``Events``, seconds.
    - ``delay``: seconds, finite and >= 0, a tensor ``(neurons,)``; or one for all neurons, a number
      or a tensor ``()``.

    **Returns:** the delayed spikes, in the form they came in; Events sorted anew. ``inf`` (no
    spike) stays ``inf``, with gradient 0. Differentiable in the times and in ``delay``.
    """
    if isinstance(delay, float | int) and not isinstance(delay, bool):
        times = check_spikes(spikes)
        delay = torch.tensor(float(delay), dtype=times.dtype, device=times.device)
    check_tensor(delay, "delay", "a number or a tensor (neurons,)")
    assert isinstance(delay, Tensor)
    if delay.ndim > 1:
        raise ValueError(f"delay must have shape (neurons,) or (), got {tuple(delay.shape)}")
    times = check_spikes(spikes, delay.shape[0] if delay.ndim else None)
    check_like(delay, times, "delay")
    if values_are_checked():
        good = (delay >= 0) & (delay < math.inf)
        if not bool(good.all()):
            raise ValueError(
                f"delay must be finite and >= 0, but one is {delay[~good][0].item()}; clamp it"
            )
    if not delay.ndim:
        # The order stays.
        shifted = _shift(times, delay)
        return Events(shifted, spikes.index) if isinstance(spikes, Events) else shifted
    if not isinstance(spikes, Events):
        return _shift(spikes, delay.unsqueeze(-1))
    if delay.shape[0] == 0:
        return spikes
    shifted = _shift(spikes.time, delay[spikes.index.long().clamp(min=0)])
    return sorted_spikes(shifted, spikes.index)


@overload
def repeat(spikes: Tensor, count: int, interval: float) -> Tensor: ...
@overload
def repeat(spikes: Events, count: int, interval: float) -> Events: ...
def repeat(spikes: Tensor | Events, count: int, interval: float) -> Tensor | Events:
    """Each spike several times, one ``interval`` after the other.

    **Arguments:**

    - ``spikes``: spike times ``(..., neurons, k)`` or ``Events`` ``(..., M)``, seconds.
    - ``count``: how often each spike comes, >= 1; 1 leaves the spikes as they are.
    - ``interval``: from each one to the next, seconds, > 0.

    **Returns:** spike times ``(..., neurons, k * count)`` or ``Events`` ``(..., M * count)``,
    sorted anew. Differentiable in the times.
    """
    check_repeat(count, interval)
    times = check_spikes(spikes)
    later = torch.arange(count, dtype=times.dtype, device=times.device) * interval
    # `inf` stays so, with gradient 0: padding is no function of a time.
    repeated = _shift(times.unsqueeze(-1), later).flatten(-2)
    index = spikes.index.repeat_interleave(count, -1) if isinstance(spikes, Events) else None
    return sorted_spikes(repeated, index)


def check_repeat(count: int, interval: float) -> None:
    """Check the settings of `repeat`."""
    check_integer(count, "count", 1)
    check_duration(interval, "interval", infinite=False, positive=True)


def first_to_spike(spikes: Tensor) -> Tensor:
    """The neuron that spikes first, for the decision of a network with one output per class.

    **Arguments:** ``spikes``: spike times ``(..., neurons, k)``.

    **Returns:** its index, int64, shape ``(...)``; the lowest one of several at the same time, and
    -1 where no neuron spikes, or a time is NaN.
    """
    _check_tensor_of_times(spikes)
    if spikes.shape[-2] == 0 or spikes.shape[-1] == 0:
        return torch.full(spikes.shape[:-2], -1, device=spikes.device)
    time, neuron = spikes[..., 0].min(dim=-1)
    return neuron.where(time < math.inf, -1)


def spike_count(spikes: Tensor, t_max: float = math.inf) -> Tensor:
    """How often each neuron spikes, up to ``t_max``.

    **Arguments:** ``spikes``: spike times ``(..., neurons, k)``; ``t_max``: seconds, >= 0.

    **Returns:** whole numbers in the dtype of the times, shape ``(..., neurons)``, 0 for a silent
    neuron. They have no gradient: train on spike times, or on voltages of `li`.
    """
    check_duration(t_max, "t_max")
    _check_tensor_of_times(spikes)
    times = spikes.detach()
    return ((times <= t_max) & (times < math.inf)).sum(dim=-1).to(times.dtype)


def spike_rate(spikes: Tensor, t_max: float) -> Tensor:
    """Spikes of each neuron up to ``t_max``, per second.

    **Arguments:** ``spikes``: spike times ``(..., neurons, k)``; ``t_max``: seconds, > 0.

    **Returns:** Hz, in the dtype of the times, shape ``(..., neurons)``. It has no gradient, as
    `spike_count`.
    """
    check_duration(t_max, "t_max", infinite=False, positive=True)
    return spike_count(spikes, t_max) / t_max


def _check_tensor_of_times(spikes: Tensor) -> None:
    check_spike_tensor(spikes)
    check_spikes(spikes)


def _shift(times: Tensor, by: Tensor) -> Tensor:
    return torch.where(times == math.inf, math.inf, times + by)
