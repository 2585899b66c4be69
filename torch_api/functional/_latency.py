"""Values to single spikes, whose latencies tell the values."""

import math
import numbers

import torch
from torch import Tensor

from ...jax_core._validate import check_duration, check_integer
from ...jax_core.spikes._resolution import RESOLUTION
from ._values import checked_values


def latency_encode(
    values: Tensor,
    t_early: float,
    t_late: float,
    bias: float | None = None,
    *,
    threshold: float | None = None,
    complement: bool = False,
    large_early: bool = False,
) -> Tensor:
    """One spike per value, the later the larger the value is, or the earlier.

    **Arguments:**

    - ``values``: shape ``(..., n)``, each in [0, 1]; under autocast also of half precision.
    - ``t_early``, ``t_late``: earliest and latest spike time, seconds, ``0 <= t_early <= t_late``.
      The value 0 spikes at ``t_early`` and 1 at ``t_late``; with ``large_early`` it is the other
      way round.
    - ``bias``: time of one more spike, the same for all samples, seconds; ``None`` for none.
    - ``threshold``: values up to this one stay silent, in [0, 1); ``None`` lets all spike.
    - ``complement``: append a channel for ``1 - value`` of each value, in their order, before the
      bias. ``threshold`` holds for what a channel stands for: ``1 - value`` here.
    - ``large_early``: whether large values spike early.

    **Returns:** ``t_early + x * (t_late - t_early)`` as spike times ``(..., channels, 1)``, with
    ``x`` the value of a channel, or with ``large_early`` one minus that; ``inf`` where it is
    silent. There are ``n`` channels, with ``complement`` ``2 n``, with ``bias`` one more, the last.
    Differentiable; a silent channel has gradient 0.

    **Raises:** ``ValueError`` for a value outside [0, 1] or NaN (see `validation`), and for times
    so late that different values would get one time.
    """
    check_latencies(t_early, t_late, bias)
    check_threshold(threshold)
    values = checked_values(values)
    _check_resolution(t_early, t_late, values.dtype)
    if complement:
        values = torch.cat([values, 1 - values], dim=-1)
    times = t_early + (1 - values if large_early else values) * (t_late - t_early)
    if threshold is not None:
        times = torch.where(values <= threshold, math.inf, times)
    if bias is not None:
        times = torch.cat([times, times.new_full((*times.shape[:-1], 1), bias)], dim=-1)
    return times.unsqueeze(-1)


def population_encode(
    values: Tensor,
    neurons: int,
    t_early: float,
    t_late: float,
    *,
    low: float = 0.0,
    high: float = 1.0,
    sigma: float | None = None,
    threshold: float = 0.1,
) -> Tensor:
    """Each value by several neurons with Gaussian receptive fields; the nearest one speaks first.

    Neuron ``i`` responds by ``r = exp(-(value - c_i)^2 / (2 sigma^2))`` and spikes at ``t_early +
    (1 - r) * (t_late - t_early)``, or not at all if ``r <= threshold``. The centres ``c_i`` divide
    ``[low, high]`` evenly, the first and the last one at its ends; a single one is in the middle.

    **Arguments:**

    - ``values``: shape ``(..., n)``, each in ``[low, high]``; under autocast also of half
      precision.
    - ``neurons``: number of neurons per value.
    - ``t_early``, ``t_late``: spike times of the responses 1 and 0, seconds,
      ``0 <= t_early <= t_late``.
    - ``low``, ``high``: range of the values, ``low < high``.
    - ``sigma``: width of the fields, in the unit of the values; ``None`` for the distance of
      neighbouring centres, for a single neuron ``(high - low) / 2``.
    - ``threshold``: responses up to this one stay silent, in [0, 1).

    **Returns:** spike times ``(..., n * neurons, 1)``: all neurons of the first value, then those
    of the second, and so on. Differentiable; a silent neuron has gradient 0.

    **Raises:** ``ValueError`` for a value outside ``[low, high]`` or NaN (see `validation`).

    **References:** Bohte et al. 2002, *Error-backpropagation in temporally encoded networks of
    spiking neurons*, doi:10.1016/S0925-2312(01)00658-0; centres and times are other ones here.
    """
    check_population(neurons, t_early, t_late, low, high, sigma, threshold)
    values = checked_values(values, low, high)
    _check_resolution(t_early, t_late, values.dtype)
    step = (high - low) / max(neurons - 1, 1)
    width = sigma if sigma is not None else step if neurons > 1 else step / 2
    first = low if neurons > 1 else low + step / 2
    places = torch.arange(neurons, dtype=values.dtype, device=values.device)
    distance = (values.unsqueeze(-1) - (first + places * step)) / width
    response = torch.exp(-(distance**2) / 2)
    times = t_early + (1 - response) * (t_late - t_early)
    times = torch.where(response <= threshold, math.inf, times)
    return times.reshape(*values.shape[:-1], values.shape[-1] * neurons, 1)


def _check_resolution(t_early: float, t_late: float, dtype: torch.dtype) -> None:
    """Refuse an interval so late that values between its ends would get equal times."""
    between = (t_late - t_early) / (torch.finfo(dtype).eps * max(t_late, 1e-300))
    if t_late > t_early and between < 1 / RESOLUTION:
        raise ValueError(
            f"{dtype} has only {between:.2g} numbers between t_early = {t_early:g} and t_late = "
            f"{t_late:g} s, so that different values would get one time; let samples begin at 0, "
            f"or pass values.double()"
        )


def check_latencies(t_early: float, t_late: float, bias: float | None = None) -> None:
    """Check the times between which values are encoded."""
    check_duration(t_early, "t_early", infinite=False)
    check_duration(t_late, "t_late", infinite=False)
    if t_late < t_early:
        raise ValueError(
            f"t_late must be >= t_early = {t_early}, got {t_late}; exchange the two "
            f"(latency_encode has large_early=True for large values first)"
        )
    if bias is not None:
        check_duration(bias, "bias", infinite=False)


def check_threshold(threshold: float | None) -> None:
    """Check the value up to which a channel is silent."""
    if threshold is None:
        return
    check_number(threshold, "threshold")
    if not 0 <= threshold < 1:
        raise ValueError(
            f"threshold must lie in [0, 1), got {threshold}; values and responses are at most 1"
        )


def check_number(value: float, name: str) -> None:
    """Check a finite number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not -math.inf < value < math.inf:
        raise ValueError(f"{name} must be finite, got {value}")


def check_population(
    neurons: int,
    t_early: float,
    t_late: float,
    low: float,
    high: float,
    sigma: float | None,
    threshold: float,
) -> None:
    """Check the settings of `population_encode`."""
    check_integer(neurons, "neurons", 1)
    check_latencies(t_early, t_late)
    check_number(low, "low")
    check_number(high, "high")
    if low >= high:
        raise ValueError(f"high must be > low = {low}, got {high}")
    if sigma is not None:
        check_duration(sigma, "sigma", infinite=False, positive=True)
    if threshold is None:
        raise TypeError("threshold must be a number, got None; with 0.0 all that respond spike")
    check_threshold(threshold)
