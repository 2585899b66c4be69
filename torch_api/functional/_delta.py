"""Signals to spikes, one whenever a signal has changed by a threshold."""

import math

import torch
from torch import Tensor

from ...jax_core import _validate as rules
from .._validate import is_transformed
from ..layers._overflow import OnOverflow
from ..spikes._room import bucket
from ._room import check_room, with_room
from ._values import checked_values


def delta_encode(
    values: Tensor,
    threshold: float,
    dt: float,
    max_spikes: int | None = None,
    *,
    on_overflow: OnOverflow = "error",
) -> Tensor:
    """A spike whenever a signal has moved by ``threshold`` since its last one (send-on-delta).

    The signal runs straight from each sample to the next. It starts with its first value as the
    reference. Where it reaches the reference plus ``threshold``, the channel "up" of the signal
    spikes, where it reaches the reference minus ``threshold``, the channel "down"; the level
    reached is the next reference. A step that passes several levels gives as many spikes.

    **Arguments:**

    - ``values``: samples of the signals, finite, in any unit, shape ``(..., channels, T)``; the
      first is of time 0.
    - ``threshold``: in the unit of the values, > 0.
    - ``dt``: from one sample to the next, seconds, > 0.
    - ``max_spikes``: room for this many spikes of a channel. ``None`` rounds the most that there
      are up to one of few sizes, as each size that a layer sees is compiled anew.
    - ``on_overflow``: what to do about spikes beyond a ``max_spikes`` that is given: ``"error"``,
      ``"warn"``, or ``"truncate"``, which keeps the first ones.

    **Returns:** spike times ``(..., 2 * channels, room)``: "up" of all signals, then "down" of all.
    Differentiable in the values between which a level is passed, and in the first one, which the
    levels count from.

    **Raises:** ``ValueError`` for a value that is not finite (see `validation`), and under ``vmap``
    if ``max_spikes`` is ``None``; `SpikeOverflowError` for more than ``max_spikes`` spikes.
    """
    check_delta(threshold, dt, max_spikes, on_overflow)
    values = checked_values(values, -math.inf, math.inf, ("channels", "T"))
    steps = values.shape[-1]
    rules.check_steps(steps, values.dtype == torch.float64, "values")
    if max_spikes is None and is_transformed():
        raise ValueError(
            "max_spikes must be given inside of torch.func, where the number of spikes is not known"
        )
    if steps < 2:
        channels = (*values.shape[:-2], 2 * values.shape[-2])
        return values.new_full((*channels, max_spikes or 1), math.inf)
    height = (values - values[..., :1]) / threshold
    level = _levels(height.detach())
    move = level.diff(dim=-1).to(torch.int64)
    moves = torch.cat([move.clamp(min=0), -move.clamp(max=0)], dim=-2)
    reached = moves.cumsum(dim=-1).contiguous()
    if max_spikes is None:
        drawn = room = bucket(max(int(reached.amax()) if reached.numel() else 0, 1))
    else:
        room, drawn = max_spikes, max_spikes + (on_overflow != "truncate")
    # Of the shape that `searchsorted` wants, under vmap too.
    number = torch.arange(1, drawn + 1, device=values.device) + 0 * reached[..., -1:]
    times = _crossing_times(height, level, moves, reached, number) * dt
    return with_room(times, room, "max_spikes", on_overflow)


def _levels(height: Tensor) -> Tensor:
    """The last level reached at each sample, of levels at whole heights; 0 at the first.

    A sample at height ``y`` takes a level ``L`` to ``floor(y)`` if ``y >= L + 1``, to ``ceil(y)``
    if ``y <= L - 1``, and else leaves it: it clamps ``L`` to ``[floor(y), ceil(y)]``. One clamp
    after another is a clamp again, so that all samples are done in ``log2(T)`` doublings.
    """
    low, high = height.floor(), height.ceil()
    span = 1
    while span < height.shape[-1]:
        past, now = slice(None, -span), slice(span, None)
        ends = [
            torch.minimum(torch.maximum(end[..., past], low[..., now]), high[..., now])
            for end in (low, high)
        ]
        low = torch.cat([low[..., :span], ends[0]], dim=-1)
        high = torch.cat([high[..., :span], ends[1]], dim=-1)
        span *= 2
    # Both are the same: the first sample, of height 0, leaves no choice.
    return low


def _crossing_times(
    height: Tensor, level: Tensor, moves: Tensor, reached: Tensor, number: Tensor
) -> Tensor:
    """When a channel passes its ``number``-th level, in steps; ``inf`` if it never does.

    **Arguments:** ``moves``: levels passed in each step, ``reached``: their sums, by channel.
    """
    present = number <= reached[..., -1:]
    step = torch.searchsorted(reached, number).clamp(max=reached.shape[-1] - 1)

    def at(signal: Tensor) -> Tensor:
        return torch.cat([signal, signal], dim=-2).gather(-1, step)

    passed = number - (reached - moves).gather(-1, step)
    channels = height.shape[-2]
    sign = (torch.arange(2 * channels, device=height.device) < channels).to(height.dtype) * 2 - 1
    target = at(level[..., :-1]) + sign.unsqueeze(-1) * passed
    start, end = at(height[..., :-1]), at(height[..., 1:])
    rise = torch.where(present, end - start, 1.0)
    return torch.where(present, step + (target - start) / rise, math.inf)


def check_delta(
    threshold: float, dt: float, max_spikes: int | None, on_overflow: OnOverflow
) -> None:
    """Check the settings of `delta_encode`."""
    rules.check_duration(threshold, "threshold", infinite=False, positive=True)
    rules.check_duration(dt, "dt", infinite=False, positive=True)
    check_room(max_spikes, "max_spikes", on_overflow)
