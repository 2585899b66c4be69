"""From values to spikes. Rasters remember the exact times, which the event engine uses."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ...layers._checkpoint import RecordsNumbers
from ..engines._raster import SpikeRaster

__all__ = [
    "CoordinatesToSpikes",
    "PixelsToSpikeTimes",
    "SpikeTimesToDense",
    "SpikeTimesToSparseTensor",
]


class PixelsToSpikeTimes(RecordsNumbers):
    """Spike times of a leaky integrator with constant input: ``tau log(x / (x - threshold))``.

    Values below ``threshold`` get ``t_max``, and so do all that would come later.
    """

    def __init__(
        self, tau: float = 20, threshold: float = 0.2, t_max: float = 1.0, epsilon: float = 1e-7
    ) -> None:
        super().__init__()
        self._tau, self._threshold, self._t_max = tau, threshold, t_max
        self._epsilon = epsilon

    def forward(self, pic: Tensor) -> Tensor:
        """Times of the shape of ``pic``."""
        above = pic.clamp(min=self._threshold + self._epsilon)
        times = self._tau * torch.log(above / (above - self._threshold))
        return torch.where(pic < self._threshold, self._t_max, times).clamp(0, self._t_max)

    def numbers(self) -> dict[str, Any]:
        numbers = {"tau": self._tau, "threshold": self._threshold, "t_max": self._t_max}
        return {**numbers, "epsilon": self._epsilon}


class SpikeTimesToSparseTensor(RecordsNumbers):
    """Spike times of any shape as the indices of a sparse raster of ``size`` steps.

    Later spikes are dropped.
    """

    def __init__(self, bin_width: float, size: int = 100) -> None:
        super().__init__()
        self._dt, self._size = bin_width, size

    def forward(self, spikes: Tensor) -> Tensor:
        """Ones at the spikes, int64, ``(size, *spikes.shape)``."""
        step, seen = _steps(spikes, self._dt, self._size)
        at = torch.stack([step[seen], *torch.nonzero(seen, as_tuple=True)])
        ones = torch.ones(at.shape[1], dtype=torch.long, device=spikes.device)
        return torch.sparse_coo_tensor(
            at, ones, (self._size, *spikes.shape), check_invariants=False
        )

    def numbers(self) -> dict[str, Any]:
        return {"bin_width": self._dt, "size": self._size}


class SpikeTimesToDense(RecordsNumbers):
    """Spike times ``(batch, neurons)`` or of any other shape, drawn on ``size`` steps.

    Later spikes are dropped.
    """

    def __init__(self, bin_width: float, size: int = 100) -> None:
        super().__init__()
        self._dt, self._size = bin_width, size

    def forward(self, spikes: Tensor) -> Tensor:
        """Zeros and ones, int64, ``(size, *spikes.shape)``; ``.float()`` keeps the exact times."""
        step, seen = _steps(spikes, self._dt, self._size)
        raster = torch.zeros(self._size, *spikes.shape, dtype=torch.long, device=spikes.device)
        raster.scatter_(0, step[None], seen[None].long())
        if spikes.ndim != 2:
            return raster
        return SpikeRaster.remembering(
            raster, torch.where(seen, spikes, math.inf)[..., None], self._dt
        )

    def numbers(self) -> dict[str, Any]:
        return {"bin_width": self._dt, "size": self._size}


def _steps(spikes: Tensor, dt: float, size: int) -> tuple[Tensor, Tensor]:
    """The steps that spikes fall into, and which of them are among the first ``size``."""
    step = (spikes / dt).floor()
    seen = step < size
    return torch.where(seen, step, 0).long(), seen


class CoordinatesToSpikes(RecordsNumbers):
    """Values in [0, 1] as spikes between ``t_early`` and ``t_late``.

    **Arguments:** ``seq_length``: number of steps of ``dt`` seconds; ``t_bias``: time of a further
    spike in a further channel, or ``None``.
    """

    def __init__(
        self,
        seq_length: int,
        t_early: float,
        t_late: float,
        dt: float = 1e-6,
        t_bias: float | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= t_early <= t_late or round(t_late / dt) >= seq_length:
            raise ValueError(
                f"CoordinatesToSpikes needs 0 <= t_early <= t_late < seq_length * dt, got "
                f"{t_early:g}, {t_late:g}, {seq_length * dt:g} s"
            )
        self._seq_length, self._dt = seq_length, dt
        self._t_early, self._t_late, self._t_bias = t_early, t_late, t_bias

    def forward(self, coordinate_values: Tensor) -> Tensor:
        """Zeros and ones ``(seq_length, batch, channels)`` of values ``(batch, channels)``."""
        if not coordinate_values.is_floating_point():
            coordinate_values = coordinate_values.float()
        times = self._t_early + coordinate_values * (self._t_late - self._t_early)
        step = (times / self._dt).round().long()
        if self._t_bias is not None:
            times = nn.functional.pad(times, (0, 1), value=self._t_bias)
            step = nn.functional.pad(step, (0, 1), value=int(self._t_bias / self._dt))
        raster = torch.zeros(self._seq_length, *times.shape, device=times.device)
        raster.scatter_(0, step[None], 1.0)
        return SpikeRaster.remembering(raster, times.to(raster.dtype)[..., None], self._dt)

    def numbers(self) -> dict[str, Any]:
        times = {"t_early": self._t_early, "t_late": self._t_late, "t_bias": self._t_bias}
        return {"seq_length": self._seq_length, "dt": self._dt, **times}
