"""Address-event arrays, plain and those of sensors as tonic has them, from and to `Events`."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from ...jax_core import Events
from .._validate import check_dtype, check_spikes
from ._recordings import check_addresses, is_one_sample, pixels, plain
from ._times import (
    Origin,
    Sample,
    check_origin,
    check_time_unit,
    numeric_times,
    padded,
    seconds,
    since,
)

_AER = np.dtype([("t", np.int64), ("address", np.int32)])
_TONIC = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.bool_)])


@overload
def events_from_aer(
    array: Any,
    neurons: int,
    *,
    time_unit: float = ...,
    sort: bool = ...,
    dtype: torch.dtype | None = ...,
    origin: Origin = ...,
    return_origin: Literal[False] = ...,
    max_events: int | None = ...,
) -> Events: ...
@overload
def events_from_aer(
    array: Any,
    neurons: int,
    *,
    time_unit: float = ...,
    sort: bool = ...,
    dtype: torch.dtype | None = ...,
    origin: Origin = ...,
    return_origin: Literal[True],
    max_events: int | None = ...,
) -> tuple[Events, Any]: ...
def events_from_aer(
    array: Any,
    neurons: int,
    *,
    time_unit: float = 1e-6,
    sort: bool = False,
    dtype: torch.dtype | None = None,
    origin: Origin = None,
    return_origin: bool = False,
    max_events: int | None = None,
) -> Events | tuple[Events, Any]:
    """Make `Events` of address-event arrays.

    **Arguments:**

    - ``array``: one sample, a structured array with the fields ``t`` and ``address``, or a plain
      one or nested lists of shape ``(events, 2)`` with these columns; or a list of samples.
    - ``neurons``: number of neurons; addresses are 0 to ``neurons - 1``.
    - ``time_unit``: seconds per unit of ``t``, microseconds by default.
    - ``sort``: sort events that do not ascend in time instead of raising.
    - ``dtype``: of the times. float32 resolves microseconds within the first 16 seconds.
    - ``origin``: what becomes time 0, in units of ``t``, subtracted in the type of ``t``, so that
      absolute time stamps lose nothing: a number, or ``"first"`` for the first event of each
      sample; ``None`` leaves times as they are.
    - ``return_origin``: also return the origins, for `aer_from_events`.
    - ``max_events``: room for this many events per sample. ``None`` rounds the most that a sample
      has up to one of few sizes, at most a quarter more, as each size that a layer sees is compiled
      anew.

    **Returns:** ``Events`` of shape ``(M,)``, or ``(samples, M)`` for a list, padded; with
    ``return_origin`` a tuple of them and the origin, a number, or a list of one per sample.

    **Raises:** ``ValueError`` for times that are negative, not finite or not ascending, for
    different times that would become equal in ``dtype``, and for addresses out of range;
    `SpikeOverflowError` for more than ``max_events`` events.
    """
    events, origins = _batch(array, plain, neurons, time_unit, sort, dtype, origin, max_events)
    return (events, origins) if return_origin else events


def aer_from_events(
    events: Events | Tensor,
    *,
    time_unit: float = 1e-6,
    origin: int | Sequence[int] = 0,
) -> list[np.ndarray]:
    """Make address-event arrays, with the fields ``t`` (int64) and ``address``, one per sample.

    **Arguments:** ``events``: ``Events`` or spike times; ``time_unit``: seconds per unit of ``t``,
    to which times are rounded; ``origin``: ``t`` of time 0, for all samples or for each.
    """
    found = []
    for ticks, address in _samples(events, time_unit, origin):
        array = np.empty(len(ticks), _AER)
        array["t"], array["address"] = ticks, address
        found.append(array)
    return found


@overload
def events_from_tonic(
    array: Any,
    sensor_size: tuple[int, int, int],
    *,
    time_unit: float = ...,
    sort: bool = ...,
    dtype: torch.dtype | None = ...,
    origin: Origin = ...,
    return_origin: Literal[False] = ...,
    max_events: int | None = ...,
) -> Events: ...
@overload
def events_from_tonic(
    array: Any,
    sensor_size: tuple[int, int, int],
    *,
    time_unit: float = ...,
    sort: bool = ...,
    dtype: torch.dtype | None = ...,
    origin: Origin = ...,
    return_origin: Literal[True],
    max_events: int | None = ...,
) -> tuple[Events, Any]: ...
def events_from_tonic(
    array: Any,
    sensor_size: tuple[int, int, int],
    *,
    time_unit: float = 1e-6,
    sort: bool = False,
    dtype: torch.dtype | None = None,
    origin: Origin = None,
    return_origin: bool = False,
    max_events: int | None = None,
) -> Events | tuple[Events, Any]:
    """Make `Events` of the structured arrays of a `tonic <https://tonic.readthedocs.io>`_ data set.

    Pixel (x, y) of polarity p becomes neuron ``(p height + y) width + x``: flat, in C order of
    (polarities, height, width), as layers read from a NIR Conv2d expect it.

    **Arguments:** ``array``: one sample with the fields (or titles) ``x``, ``t`` and, where the
    sensor has more than one of them, ``y`` and ``p``; or a list of samples. Polarities are 0 and 1,
    or -1 and +1. ``sensor_size``: (width, height, polarities), the data set's ``sensor_size``. The
    others as in `events_from_aer`.

    **Returns:** ``Events`` of shape ``(M,)``, or ``(samples, M)`` for a list, padded; with
    ``return_origin`` a tuple of them and the origins.

    **Raises:** as `events_from_aer`, and ``ValueError`` for x, y, p that are no whole numbers
    within ``sensor_size``.
    """
    size = tuple(int(n) for n in sensor_size)
    if len(size) != 3 or min(size) < 1:
        raise ValueError(
            f"sensor_size must be (width, height, polarities), each >= 1, got {sensor_size}"
        )
    neurons = size[0] * size[1] * size[2]

    def read(one: Any, name: str) -> Sample:
        return pixels(one, size, name)

    events, origins = _batch(array, read, neurons, time_unit, sort, dtype, origin, max_events)
    return (events, origins) if return_origin else events


def tonic_from_events(
    events: Events | Tensor,
    sensor_size: tuple[int, int, int],
    *,
    time_unit: float = 1e-6,
    origin: int | Sequence[int] = 0,
) -> list[np.ndarray]:
    """Make structured arrays with the fields x, y, t, p as tonic has them, one per sample.

    **Arguments:** as in `events_from_tonic` and `aer_from_events`; one polarity or two.
    """
    width, height, polarities = sensor_size
    if polarities > 2:
        raise ValueError(f"sensor_size must have 1 or 2 polarities, got {polarities}")
    found = []
    for ticks, address in _samples(events, time_unit, origin, width * height * polarities):
        array = np.empty(len(ticks), _TONIC)
        array["t"] = ticks
        array["x"] = address % width
        array["y"] = address // width % height
        array["p"] = address // (width * height)
        found.append(array)
    return found


def _batch(
    array: Any,
    read: Callable[[Any, str], Sample],
    neurons: int,
    time_unit: float,
    sort: bool,
    dtype: torch.dtype | None,
    origin: Origin,
    max_events: int | None,
) -> tuple[Events, Any]:
    dtype = check_dtype(dtype)
    check_time_unit(time_unit)
    origin = check_origin(origin)

    def convert(one: Any, name: str) -> tuple[Sample, int | float]:
        return _checked(read(one, name), neurons, time_unit, sort, dtype, origin, name)

    if is_one_sample(array):
        sample, own = convert(array, "array")
        time, index = padded([sample], dtype, max_events, ["array"])
        return Events(time[0], index[0]), own
    names = [f"array[{place}]" for place in range(len(array))]
    found = [convert(one, name) for one, name in zip(array, names, strict=True)]
    events = padded([sample for sample, _ in found], dtype, max_events, names)
    return events, [own for _, own in found]


def _checked(
    sample: Sample,
    neurons: int,
    time_unit: float,
    sort: bool,
    dtype: torch.dtype,
    origin: Origin,
    name: str,
) -> tuple[Sample, int | float]:
    given, address = numeric_times(sample[0], name), np.asarray(sample[1])
    ticks, own = since(given, origin, name)
    check_addresses(address, neurons, name)
    backwards = np.flatnonzero(ticks[1:] < ticks[:-1])
    if backwards.size and not sort:
        first = int(backwards[0]) + 1
        raise ValueError(
            f"events must ascend in time, but event {first} of {name} ({given[first]}) comes "
            f"before event {first - 1} ({given[first - 1]}); pass sort=True"
        )
    order = np.argsort(ticks, kind="stable") if backwards.size else slice(None)
    time = seconds(ticks[order], given[order], time_unit, dtype, name, origin)
    return (time, address[order].astype(np.int32)), own


def _samples(
    events: Events | Tensor,
    time_unit: float,
    origin: int | Sequence[int],
    neurons: int | None = None,
) -> list[Sample]:
    """Times in units and addresses of each sample, without padding."""
    check_time_unit(time_unit)
    time, index = flat_samples(events, neurons)
    origins: list[Any] = (
        list(origin) if isinstance(origin, Sequence | np.ndarray) else [origin] * len(time)
    )
    if len(origins) != len(time):
        raise ValueError(
            f"origin must be one number or one per sample, but there are {len(time)} samples and "
            f"{len(origins)} origins"
        )
    found = []
    for times, indices, start in zip(time, index, origins, strict=True):
        if start != int(start):
            raise ValueError(f"origin must be whole, as the times that are written, got {start}")
        there = indices >= 0
        ticks = np.rint(times[there] / time_unit).astype(np.int64) + int(start)
        found.append((ticks, indices[there]))
    return found


def flat_samples(
    events: Events | Tensor, neurons: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Times (float64) and addresses of events or spike times, ``(samples, M)``, padded."""
    check_spikes(events, neurons, "events")
    if isinstance(events, Events):
        time, index = (part.detach().cpu().numpy() for part in events)
        return time.astype(np.float64).reshape(-1, time.shape[-1]), index.reshape(
            -1, index.shape[-1]
        )
    times = events.detach().cpu().double().numpy()
    flat = times.reshape(-1, times.shape[-2] * times.shape[-1])
    order = np.argsort(flat, axis=-1, kind="stable")
    time = np.take_along_axis(flat, order, -1)
    index = np.where(np.isfinite(time), order // max(times.shape[-1], 1), -1).astype(np.int32)
    return time, index
