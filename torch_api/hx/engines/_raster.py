"""Dense rasters that remember the exact times of their spikes."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...spikes._events import spike_times_from_dense

_CONVERTING = (Tensor.to, Tensor.float, Tensor.double, Tensor.int, Tensor.long, Tensor.bool)
_KEEPING = (
    Tensor.cpu,
    Tensor.cuda,
    Tensor.clone,
    Tensor.contiguous,
    Tensor.detach,
)
_JOINING = (torch.cat, torch.concat)
_MASKING = (torch.mul, Tensor.mul)
NEVER = math.inf


class SpikeRaster(Tensor):
    """Zeros and ones ``(time, batch, neurons)``, with the exact times of the spikes.

    Copies, conversions, what ``repeat``, indexing and ``torch.cat`` make along batch and neurons,
    and products with a mask of zeros and ones that is the same at all times keep the times.
    Anything else that is computed from it is an ordinary tensor. A raster that was changed in
    place has lost them.
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
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
            if not isinstance(result, Tensor) or result.layout != torch.strided:
                return result
            if result.ndim != 3 or any(result is each for each in args):
                return result
            exact = _times_behind(func, args, kwargs)
            if exact is None or exact[0].shape[:2] != result.shape[1:]:
                return result
            times, dt = exact
            # Integers have no gradient to hand on.
            times = times.to(result) if result.is_floating_point() else times.detach()
            return SpikeRaster.remembering(result, times.to(result.device), dt)


def _times_behind(func: Any, args: Any, kwargs: Any) -> tuple[Tensor, float] | None:
    """Exact times, and their time step, of what a function makes of rasters, if known."""
    if func in _JOINING:
        return _joined(args[0], kwargs.get("dim", args[1] if len(args) > 1 else 0))
    if func in _MASKING and len(args) == 2:
        return _masked(*args)
    exact = exact_times(args[0]) if args else None
    if exact is None:
        return None
    times, dt = exact
    if func in _CONVERTING:
        return exact
    if func in _KEEPING:
        return func(times, *args[1:], **kwargs), dt
    if func is Tensor.repeat and len(args) == 4 and args[1] == 1:
        return times.repeat(args[2], args[3], 1), dt
    if func is Tensor.__getitem__:
        key = _beyond_time(args[1], len(args[0]))
        return None if key is None else (times[key], dt)
    return None


def _beyond_time(key: Any, steps: int) -> tuple[Any, ...] | None:
    """The index of batch and neurons that belongs to one of a raster, if it takes all steps."""
    key = key if isinstance(key, tuple) else (key,)
    for k, part in enumerate(key):
        if part is Ellipsis:
            key = (*key[:k], *[slice(None)] * (4 - len(key)), *key[k + 1 :])
            break
    whole = key and isinstance(key[0], slice) and range(steps)[key[0]] == range(steps)
    return key[1:] if whole and not any(part is None for part in key) else None


def _joined(parts: Any, dim: int) -> tuple[Tensor, float] | None:
    """Times of rasters that are joined along the batch (``dim`` 1) or the neurons (2)."""
    steps = [exact[1] for exact in map(exact_times, parts) if exact is not None]
    known = (exact_times(p) is not None or (not p.requires_grad and _is_binary(p)) for p in parts)
    if not steps or dim % 3 == 0 or not all(known):
        return None
    times = with_same_room([times_of(each, steps[0], dtype=torch.float64) for each in parts])
    return torch.cat(times, dim=dim % 3 - 1), steps[0]


def _masked(first: Any, second: Any) -> tuple[Tensor, float] | None:
    """Times of the product of a raster and a mask that broadcasts over its steps."""
    raster, mask = (second, first) if exact_times(first) is None else (first, second)
    exact = exact_times(raster)
    if exact is None or not isinstance(mask, Tensor) or mask.requires_grad:
        return None
    if mask.ndim == 3 and len(mask) == 1:
        mask = mask[0]
    if mask.ndim > 2 or not _is_binary(mask):
        return None
    return torch.where((mask != 0)[..., None], exact[0], NEVER), exact[1]


def _is_binary(x: Tensor) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def with_same_room(times: Sequence[Tensor]) -> list[Tensor]:
    """Spike times ``(..., k)`` padded to the same ``k``."""
    room = max(each.shape[-1] for each in times)
    return [
        torch.nn.functional.pad(each, (0, room - each.shape[-1]), value=NEVER) for each in times
    ]


def exact_times(raster: Tensor) -> tuple[Tensor, float] | None:
    """The exact times that a raster remembers, and its time step; ``None`` if it has none."""
    exact = getattr(raster, "_exact", None)
    if exact is None or raster._version != exact[2]:
        return None
    return exact[:2]


def times_of(
    raster: Tensor,
    dt: float,
    reader: str = "spike times",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Spike times ``(batch, neurons, k)``, seconds: exact ones, or those of the time steps.

    A step takes ``dt`` seconds, whatever it took where the raster was drawn. ``dtype``: of the
    times of a raster of integers or truth values; torch's default for ``None``.

    **Raises:** ``ValueError``, which names the ``reader``, for spikes that need a gradient and have
    no exact times, through which it would pass.
    """
    exact = exact_times(raster)
    if exact is not None:
        times, drawn_dt = exact
        if not raster.is_floating_point():
            times = times.to(dtype or torch.get_default_dtype())
        return times if drawn_dt == dt else times * (dt / drawn_dt)
    if raster.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            f"{reader}: its input spikes need a gradient, but were computed so that their exact "
            f"times are unknown; hand on a layer's handle or its spikes, indexed along batch and "
            f"neurons, joined with torch.cat, or times a mask of 0 and 1; or detach() them"
        )
    raster = raster.detach()
    dtype = raster.dtype if raster.is_floating_point() else dtype or torch.get_default_dtype()
    raster = (raster > 0).to(dtype)
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
