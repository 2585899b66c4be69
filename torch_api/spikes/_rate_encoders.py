"""Values to spike trains, whose rates tell the values."""

from typing import Any

import torch
from torch import Tensor

from .. import functional
from ..functional._random import check_generator
from ..functional._rates import check_poisson, check_rate
from ..layers._checkpoint import RecordsNumbers
from ..layers._overflow import OnOverflow
from ._encoders import listed


class PoissonEncoder(RecordsNumbers):
    """Poisson spike trains of the rates ``values * max_rate``, within ``[0, t_max]``.

    Drawn anew at each call, in evaluation too.

    **Arguments:**

    - ``max_rate``: rate of the value 1, Hz, > 0.
    - ``t_max``: end of the trains, seconds, > 0.
    - ``max_spikes``: room for this many spikes per value. ``None`` takes enough for all but one in
      1e9 trains of the value 1, rounded up to one of few sizes.
    - ``on_overflow``: what to do about spikes beyond a ``max_spikes`` that is given: ``"error"``,
      ``"warn"``, or ``"truncate"``, which keeps the first ones.
    - ``generator``: of the random numbers, on the device of the values; ``None`` for torch's own.

    **Shapes:** values in [0, 1] ``(..., n)`` give spike times ``(..., n, room)``; none for the
    value 0. Differentiable with the random numbers held fixed: a larger value has its spikes
    earlier.

    **Raises:** ``ValueError`` at the call for a value outside [0, 1] or NaN (see `validation`);
    `SpikeOverflowError` for more than ``max_spikes`` spikes.
    """

    def __init__(
        self,
        max_rate: float,
        t_max: float,
        max_spikes: int | None = None,
        *,
        on_overflow: OnOverflow = "error",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_poisson(max_rate, t_max, max_spikes, on_overflow)
        check_generator(generator)
        self.max_rate, self.t_max, self.max_spikes = max_rate, t_max, max_spikes
        self.on_overflow: OnOverflow = on_overflow
        self.generator = generator

    def forward(self, values: Tensor) -> Tensor:
        return functional.poisson_encode(
            values,
            self.max_rate,
            self.t_max,
            self.max_spikes,
            on_overflow=self.on_overflow,
            generator=self.generator,
        )

    def numbers(self) -> dict[str, Any]:
        return {"max_rate": self.max_rate, "t_max": self.t_max, "max_spikes": self.max_spikes}

    def extra_repr(self) -> str:
        return listed(self.numbers()) + f", on_overflow={self.on_overflow!r}"


class RegularEncoder(RecordsNumbers):
    """Regular spike trains of the rates ``values * max_rate``, within ``[0, t_max]``.

    With the interval ``T = 1 / (value * max_rate)``, spikes come at ``T / 2``, ``3 T / 2`` and so
    on: a train starts in the middle of an interval, so that the number of spikes is that of ``value
    * max_rate * t_max`` rounded to a whole number.

    **Arguments:** ``max_rate``: rate of the value 1, Hz, > 0; ``t_max``: end of the trains,
    seconds, > 0.

    **Shapes:** values in [0, 1] ``(..., n)`` give spike times ``(..., n, k)``, with room for the
    value 1, ``k = max_rate * t_max`` rounded up; none for the value 0. Differentiable: a larger
    value has its spikes earlier.

    **Raises:** ``ValueError`` at the call for a value outside [0, 1] or NaN (see `validation`).
    """

    def __init__(self, max_rate: float, t_max: float) -> None:
        super().__init__()
        check_rate(max_rate, t_max)
        self.max_rate, self.t_max = max_rate, t_max

    def forward(self, values: Tensor) -> Tensor:
        return functional.regular_encode(values, self.max_rate, self.t_max)

    def numbers(self) -> dict[str, Any]:
        return {"max_rate": self.max_rate, "t_max": self.t_max}

    def extra_repr(self) -> str:
        return listed(self.numbers())
