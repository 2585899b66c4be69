"""Values to spike trains, whose rates tell the values."""

import math

import torch
from torch import Tensor

from ...jax_core._validate import check_duration
from ..layers._overflow import OnOverflow
from ._random import arrivals
from ._room import check_room, slots, with_room
from ._values import checked_values


def poisson_encode(
    values: Tensor,
    max_rate: float,
    t_max: float,
    max_spikes: int | None = None,
    *,
    on_overflow: OnOverflow = "error",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Poisson spike trains of the rates ``values * max_rate``, within ``[0, t_max]``.

    **Arguments:**

    - ``values``: shape ``(..., n)``, each in [0, 1]; under autocast also of half precision.
    - ``max_rate``: rate of the value 1, Hz, > 0.
    - ``t_max``: end of the trains, seconds, > 0.
    - ``max_spikes``: room for this many spikes per value. ``None`` takes enough for all but one in
      1e9 trains of the value 1, rounded up to one of few sizes.
    - ``on_overflow``: what to do about spikes beyond a ``max_spikes`` that is given: ``"error"``,
      ``"warn"``, or ``"truncate"``, which keeps the first ones.
    - ``generator``: of the random numbers, ``None`` for torch's own.

    **Returns:** spike times ``(..., n, room)``; none for the value 0. Differentiable with the
    random numbers held fixed: a larger value has its spikes earlier.

    **Raises:** ``ValueError`` for a value outside [0, 1] or NaN (see `validation`);
    `SpikeOverflowError` for more than ``max_spikes`` spikes.
    """
    check_poisson(max_rate, t_max, max_spikes, on_overflow)
    values = checked_values(values)
    room, drawn = slots(max_rate * t_max, max_spikes, on_overflow)
    phases = arrivals((*values.shape, drawn), values, generator)
    times = _times_of_phases(values, phases, max_rate, t_max)
    return with_room(times, room, "max_spikes", on_overflow)


def regular_encode(values: Tensor, max_rate: float, t_max: float) -> Tensor:
    """Regular spike trains of the rates ``values * max_rate``, within ``[0, t_max]``.

    With the interval ``T = 1 / (value * max_rate)``, spikes come at ``T / 2``, ``3 T / 2`` and so
    on: a train starts in the middle of an interval, so that the number of spikes is that of ``value
    * max_rate * t_max`` rounded to a whole number.

    **Arguments:**

    - ``values``: shape ``(..., n)``, each in [0, 1]; under autocast also of half precision.
    - ``max_rate``: rate of the value 1, Hz, > 0.
    - ``t_max``: end of the trains, seconds, > 0.

    **Returns:** spike times ``(..., n, k)``, with room for the value 1, ``k = max_rate * t_max``
    rounded up; none for the value 0. Differentiable: a larger value has its spikes earlier.

    **Raises:** ``ValueError`` for a value outside [0, 1] or NaN (see `validation`).
    """
    check_rate(max_rate, t_max)
    values = checked_values(values)
    room = max(math.ceil(max_rate * t_max), 1)
    phases = torch.arange(room, dtype=values.dtype, device=values.device) + 0.5
    return _times_of_phases(values, phases, max_rate, t_max)


def _times_of_phases(values: Tensor, phases: Tensor, max_rate: float, t_max: float) -> Tensor:
    """When trains of rates ``values * max_rate`` reach the phases, in intervals; else ``inf``."""
    rates = (values * max_rate).unsqueeze(-1)
    present = phases / rates.detach() <= t_max
    # Where nothing comes, the derivative of a quotient by 0 would be NaN.
    return torch.where(present, phases / torch.where(present, rates, 1.0), math.inf)


def check_rate(max_rate: float, t_max: float) -> None:
    """Check the settings of `regular_encode`."""
    check_duration(max_rate, "max_rate", infinite=False, positive=True)
    check_duration(t_max, "t_max", infinite=False, positive=True)


def check_poisson(
    max_rate: float, t_max: float, max_spikes: int | None, on_overflow: OnOverflow
) -> None:
    """Check the settings of `poisson_encode`."""
    check_rate(max_rate, t_max)
    check_room(max_spikes, "max_spikes", on_overflow)
