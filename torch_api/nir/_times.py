"""Times of recordings, from the clock of their source to `Events` in floating-point seconds."""

import numbers
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from ...jax_core import Events
from ...jax_core._validate import check_integer
from ..layers._overflow import SpikeOverflowError
from ..spikes._room import bucket

Origin = int | float | Literal["first"] | None
Sample = tuple[np.ndarray, np.ndarray]
"""Times and addresses of the events of one sample."""


def check_time_unit(time_unit: float) -> None:
    """Check the duration of a unit of time, seconds."""
    if not 0 < time_unit < float("inf"):
        raise ValueError(f"time_unit must be finite and > 0 (seconds), got {time_unit}")


def check_origin(origin: Any) -> Origin:
    """Check what becomes time 0; **returns** it, a number as one of Python's."""
    if origin is None or (isinstance(origin, str) and origin == "first"):
        return origin
    if isinstance(origin, bool) or not isinstance(origin, numbers.Real):
        raise TypeError(
            f"origin must be a number in units of the times, 'first' or None, got {origin!r}"
        )
    if not np.isfinite(float(origin)):
        raise ValueError(f"origin must be finite, got {origin}")
    return int(origin) if isinstance(origin, numbers.Integral) else float(origin)


def numeric_times(ticks: Any, name: str) -> np.ndarray:
    """Times as an array of finite numbers, in the type that they come in."""
    ticks = np.asarray(ticks)
    if ticks.size == 0:
        return ticks.astype(np.int64) if ticks.dtype.kind not in "iuf" else ticks
    if ticks.dtype.kind not in "iuf":
        raise TypeError(
            f"times of {name} must be whole or floating-point numbers, got {ticks.dtype}; "
            f"convert them to numbers of one unit"
        )
    finite = np.isfinite(ticks)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(
            f"times must be finite and >= 0, but event {first} of {name} is at {ticks[first]}; "
            f"drop such events"
        )
    return ticks


def since(ticks: np.ndarray, origin: Origin, name: str) -> tuple[np.ndarray, int | float]:
    """Times since an origin, subtracted in the type of the times, where it is exact.

    **Returns:** the times, >= 0, and the origin as a number.
    """
    start = 0 if origin is None else origin
    if isinstance(start, str):
        start = ticks.min().item() if ticks.size else 0
    if ticks.dtype.kind == "f":
        ticks = ticks.astype(np.promote_types(ticks.dtype, np.float64))
    elif not isinstance(start, int):
        ticks = ticks.astype(np.float64)
    early = ticks < start
    if early.any():
        first = int(np.argmax(early))
        limit, remedy = "0", "drop such events, or subtract the first time with origin='first'"
        if start:
            limit, remedy = f"origin = {start}", "lower origin, or pass origin='first'"
        raise ValueError(
            f"times must be finite and >= {limit}, but event {first} of {name} is at "
            f"{ticks[first]}; {remedy}"
        )
    if ticks.dtype.kind == "f":
        return ticks - start, start
    if not -(2**63) <= start < 2**64:
        # Later than all of an empty sample; any other one was refused.
        return ticks, start
    # Differences of 64-bit integers are right modulo 2**64, whatever their signs.
    return ticks.astype(np.uint64) - np.uint64(start % 2**64), start


def seconds(
    ticks: np.ndarray,
    given: np.ndarray,
    time_unit: float,
    dtype: torch.dtype,
    name: str,
    origin: Origin,
) -> np.ndarray:
    """Ascending times in seconds, of ``dtype``, in which different ones stay different.

    **Arguments:** ``ticks``: since the origin; ``given``: the same as the source has them.
    """
    kind = np.float64 if dtype == torch.float64 else np.float32
    time = (ticks.astype(np.promote_types(ticks.dtype, np.float64)) * time_unit).astype(kind)
    if not np.isfinite(time).all():
        raise ValueError(f"times of {name} exceed {dtype}; correct time_unit = {time_unit}")
    merged = (given[1:] > given[:-1]) & (time[1:] == time[:-1])
    if merged.any():
        first = int(np.argmax(merged))
        ways = ["pass origin='first'"] if origin is None else ["cut the recording into parts"]
        if dtype == torch.float32:
            ways.append("dtype=torch.float64 (with layers of that dtype)")
        raise ValueError(
            f"{dtype} cannot tell all times of {name} apart: {given[first]} and "
            f"{given[first + 1]} (in units of {time_unit:g} s) would both be {time[first]} s, and "
            f"{int(merged.sum())} times in all would be lost so; {', or '.join(ways)}; or round "
            f"the times to a coarser unit before"
        )
    return time


def padded(
    samples: Sequence[Sample],
    dtype: torch.dtype,
    max_events: int | None,
    names: Sequence[str],
    least: int = 0,
) -> Events:
    """Samples as ``Events`` ``(samples, M)``, with room of one of few sizes, or ``max_events``.

    Each size that layers see is compiled anew. ``least``: what the room is at least by itself.
    """
    longest = max((len(time) for time, _ in samples), default=0)
    if max_events is None:
        room = bucket(max(longest, least))
    else:
        check_integer(max_events, "max_events", 1)
        room = int(max_events)
        for (time, _), name in zip(samples, names, strict=True):
            if len(time) > room:
                raise SpikeOverflowError(
                    f"{name} has {len(time)} events, more than max_events = {room}; raise "
                    f"max_events, or cut the recordings"
                )
    times = np.full((len(samples), room), np.inf)
    indices = np.full((len(samples), room), -1, np.int32)
    for place, (time, index) in enumerate(samples):
        times[place, : len(time)], indices[place, : len(time)] = time, index
    return Events(torch.as_tensor(times).to(dtype), torch.as_tensor(indices))
