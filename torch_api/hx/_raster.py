"""Dense rasters that remember the exact times of their spikes."""

import math
from typing import Any

import torch
from torch import Tensor

from .._events import spike_times_from_dense
from .._overflow import SpikeOverflowError

_KEEPING = (
    Tensor.to,
    Tensor.float,
    Tensor.double,
    Tensor.cpu,
    Tensor.cuda,
    Tensor.clone,
    Tensor.contiguous,
    Tensor.detach,
)


class SpikeRaster(Tensor):
    """Zeros and ones ``(time, batch, neurons)``, with the exact times of the spikes.

    What is computed from it is an ordinary tensor; copies, conversions and ``repeat`` along the
    neurons keep the times. A raster that was changed in place has lost them.
    """

    _exact: tuple[Tensor, float, int]

    @staticmethod
    def draw(times: Tensor, dt: float, steps: int) -> "SpikeRaster":
        """Draw spikes ``(batch, neurons, k)`` at the step nearest to their times.

        The gradient of a time is the slope over time of the raster's gradient: exact for losses
        that weight spikes with a linear function of time, and 0 for those that count them.
        """
        return SpikeRaster.remembering(_Draw.apply(times, dt, steps), times, dt)

    @staticmethod
    def remembering(raster: Tensor, times: Tensor, dt: float) -> "SpikeRaster":
        """``raster`` with the exact times ``(batch, neurons, k)`` of its spikes."""
        result = raster.as_subclass(SpikeRaster)
        result._exact = (times, dt, result._version)
        return result

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
            source = args[0] if args else None
            if not (isinstance(source, SpikeRaster) and isinstance(result, Tensor)):
                return result
            exact = exact_times(source)
            if exact is None or result is source:
                return result
            times, dt = exact
            if func in _KEEPING:
                times = func(times, *args[1:], **(kwargs or {}))
                return SpikeRaster.remembering(result, times, dt)
            if func is Tensor.repeat and tuple(args[1:3]) == (1, 1) and len(args) == 4:
                return SpikeRaster.remembering(result, times.repeat(1, args[3], 1), dt)
            return result


def exact_times(raster: Tensor) -> tuple[Tensor, float] | None:
    """The exact times that a raster remembers, and its time step; ``None`` if it has none."""
    exact = getattr(raster, "_exact", None)
    if exact is None or raster._version != exact[2]:
        return None
    return exact[:2]


def times_of(raster: Tensor, dt: float) -> Tensor:
    """Spike times ``(batch, neurons, k)``, seconds: exact ones, or those of the time steps."""
    exact = exact_times(raster)
    if exact is not None:
        return exact[0]
    raster = raster.detach()
    raster = (raster > 0).to(raster.dtype if raster.is_floating_point() else torch.float32)
    most = int(raster.sum(dim=0).max().item()) if raster.numel() else 0
    # Few different shapes, as each is compiled.
    room = 1 << max(most - 1, 0).bit_length()
    return spike_times_from_dense(raster, dt, room)


class _Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, times: Tensor, dt: float, steps: int) -> Tensor:
        finite = torch.isfinite(times)
        step = torch.where(finite, times / dt, -1).round().long()
        seen = finite & (step < steps)
        ctx.save_for_backward(step, seen)
        ctx.dt = dt
        raster = times.new_zeros(steps, *times.shape[:2])
        sample, neuron, _ = torch.nonzero(seen, as_tuple=True)
        raster[step[seen], sample, neuron] = 1
        return raster

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        step, seen = ctx.saved_tensors
        (gradient,) = gradients
        if gradient.shape[0] < 2:
            return torch.zeros_like(step, dtype=gradient.dtype), None, None
        (slope,) = torch.gradient(gradient, spacing=ctx.dt, dim=0)
        at_spikes = slope.movedim(0, -1).gather(-1, torch.where(seen, step, 0))
        return torch.where(seen, at_spikes, 0), None, None


def check_room(slots: int) -> None:
    """Refuse a number of spikes per neuron that no sensible run has."""
    if slots > 1 << 14:
        raise SpikeOverflowError(
            f"a neuron has more than {slots // 2} spikes in one run; give it a refractory_time "
            f"or smaller weights"
        )


NEVER = math.inf
