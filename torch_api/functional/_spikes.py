"""Spike times: encode values, delay, decide."""

import math
from typing import overload

import torch
from torch import Tensor

from ...jax_core import Events
from ...jax_core._resolution import RESOLUTION
from ...jax_core._validate import check_duration
from .._constants import Constant
from .._validate import (
    check_like,
    check_spike_tensor,
    check_spikes,
    check_tensor,
    values_are_checked,
)


def latency_encode(
    values: Tensor, t_early: float, t_late: float, bias: float | None = None
) -> Tensor:
    """One spike per value, the later the larger the value is.

    **Arguments:**

    - ``values``: shape ``(..., n)``, each in [0, 1]; under autocast also of half precision.
    - ``t_early``, ``t_late``: spike times of the values 0 and 1, seconds,
      ``0 <= t_early <= t_late``.
    - ``bias``: time of one more spike, the same for all samples, seconds; ``None`` for none.

    **Returns:** ``t_early + values * (t_late - t_early)`` as spike times ``(..., n, 1)``, with
    ``bias`` ``(..., n + 1, 1)``, the bias spike last. Differentiable.

    **Raises:** ``ValueError`` for a value outside [0, 1] or NaN (see `validation`), and for times
    so late that different values would get one time.
    """
    check_latencies(t_early, t_late, bias)
    if isinstance(values, Tensor) and not values.is_floating_point():
        raise TypeError(
            f"values must be float32 or float64, got {values.dtype}; they lie in [0, 1], so for "
            f"8-bit pixels take values.float() / 255"
        )
    if isinstance(values, Tensor) and torch.is_autocast_enabled(values.device.type):
        values = values if values.dtype == torch.float64 else values.float()
    check_tensor(values, "values", "a tensor (..., n)")
    _check_resolution(t_early, t_late, values.dtype)
    if values.ndim < 1:
        raise ValueError("values must have shape (..., n), got a scalar")
    if values_are_checked():
        good = (values >= 0) & (values <= 1)
        if not bool(good.all()):
            raise ValueError(
                f"values must lie in [0, 1], but one is {values[~good][0].item()}; scale them, or "
                f"apply torch.sigmoid to the outputs of another layer"
            )
    times = t_early + values * (t_late - t_early)
    if bias is not None:
        times = torch.cat([times, times.new_full((*times.shape[:-1], 1), bias)], dim=-1)
    return times.unsqueeze(-1)


def _check_resolution(t_early: float, t_late: float, dtype: torch.dtype) -> None:
    """Refuse an interval so late that values between its ends would get equal times."""
    between = (t_late - t_early) / (torch.finfo(dtype).eps * max(t_late, 1e-300))
    if t_late > t_early and between < 1 / RESOLUTION:
        raise ValueError(
            f"{dtype} has only {between:.2g} numbers between t_early = {t_early:g} and t_late = "
            f"{t_late:g} s, so that different values would get one time; let samples begin at 0, "
            f"or pass values.double()"
        )


def check_latencies(t_early: float, t_late: float, bias: float | None) -> None:
    """Check the times between which values are encoded."""
    check_duration(t_early, "t_early", infinite=False)
    check_duration(t_late, "t_late", infinite=False)
    if t_late < t_early:
        raise ValueError(f"t_late must be >= t_early = {t_early}, got {t_late}")
    if bias is not None:
        check_duration(bias, "bias", infinite=False)


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
    time, order = shifted.sort(dim=-1, stable=True)
    return Events(time, spikes.index.gather(-1, order))


def first_to_spike(spikes: Tensor) -> Tensor:
    """The neuron that spikes first, for the decision of a network with one output per class.

    **Arguments:** ``spikes``: spike times ``(..., neurons, k)``.

    **Returns:** its index, int64, shape ``(...)``; the lowest one of several at the same time, and
    -1 where no neuron spikes, or a time is NaN.
    """
    check_spike_tensor(spikes)
    check_spikes(spikes)
    if spikes.shape[-2] == 0 or spikes.shape[-1] == 0:
        return torch.full(spikes.shape[:-2], -1, device=spikes.device)
    time, neuron = spikes[..., 0].min(dim=-1)
    return neuron.where(time < math.inf, -1)


def _shift(times: Tensor, by: Tensor) -> Tensor:
    return torch.where(times == math.inf, math.inf, times + by)
