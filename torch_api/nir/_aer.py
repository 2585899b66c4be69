"""Address-event arrays, plain and those of sensors as tonic has them, from and to `Events`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...jax_core import Events
from .._validate import check_dtype, check_spikes

_AER = np.dtype([("t", np.int64), ("address", np.int32)])
_TONIC = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", np.bool_)])


def events_from_aer(
    array: np.ndarray | Sequence[np.ndarray],
    neurons: int,
    *,
    time_unit: float = 1e-6,
    sort: bool = False,
    dtype: torch.dtype | None = None,
) -> Events:
    """Make `Events` of address-event arrays.

    **Arguments:**

    - ``array``: one sample, a structured array with the fields ``t`` and ``address``, or a plain
      one of shape ``(events, 2)`` with these columns; or a list of samples.
    - ``neurons``: number of neurons; addresses are 0 to ``neurons - 1``.
    - ``time_unit``: seconds per unit of ``t``, microseconds by default.
    - ``sort``: sort events that do not ascend in time instead of raising.
    - ``dtype``: of the times. float32 resolves microseconds within the first 16 seconds.

    **Returns:** ``Events`` of shape ``(M,)``, or ``(samples, M)`` for a list, padded.

    **Raises:** ``ValueError`` for times that are negative, not finite or not ascending, and for
    addresses out of range.
    """
    return _batch(array, lambda one: _plain(one), neurons, time_unit, sort, dtype)


def aer_from_events(events: Events | Tensor, *, time_unit: float = 1e-6) -> list[np.ndarray]:
    """Make address-event arrays, with the fields ``t`` (int64) and ``address``, one per sample.

    **Arguments:** ``events``: ``Events`` or spike times; ``time_unit``: seconds per unit of ``t``,
    to which times are rounded.
    """
    found = []
    for ticks, address in _samples(events, time_unit):
        array = np.empty(len(ticks), _AER)
        array["t"], array["address"] = ticks, address
        found.append(array)
    return found


def events_from_tonic(
    array: np.ndarray | Sequence[np.ndarray],
    sensor_size: tuple[int, int, int],
    *,
    time_unit: float = 1e-6,
    sort: bool = False,
    dtype: torch.dtype | None = None,
) -> Events:
    """Make `Events` of the structured arrays of a `tonic <https://tonic.readthedocs.io>`_ data set.

    Pixel (x, y) of polarity p becomes neuron ``(p height + y) width + x``: flat, in C order of
    (polarities, height, width), as layers read from a NIR Conv2d expect it.

    **Arguments:** ``array``: one sample with the fields ``x``, ``t`` and, where the sensor has more
    than one of them, ``y`` and ``p``; or a list of samples. ``sensor_size``: (width, height,
    polarities), the data set's ``sensor_size``. The others as in `events_from_aer`.

    **Returns:** ``Events`` of shape ``(M,)``, or ``(samples, M)`` for a list, padded.
    """
    size = tuple(int(n) for n in sensor_size)
    if len(size) != 3 or min(size) < 1:
        raise ValueError(
            f"sensor_size must be (width, height, polarities), each >= 1, got {sensor_size}"
        )
    neurons = size[0] * size[1] * size[2]
    return _batch(array, lambda one: _pixels(one, size), neurons, time_unit, sort, dtype)


def tonic_from_events(
    events: Events | Tensor, sensor_size: tuple[int, int, int], *, time_unit: float = 1e-6
) -> list[np.ndarray]:
    """Make structured arrays with the fields x, y, t, p as tonic has them, one per sample.

    **Arguments:** as in `events_from_tonic` and `aer_from_events`; one polarity or two.
    """
    width, height, polarities = sensor_size
    if polarities > 2:
        raise ValueError(f"sensor_size must have 1 or 2 polarities, got {polarities}")
    found = []
    for ticks, address in _samples(events, time_unit, width * height * polarities):
        array = np.empty(len(ticks), _TONIC)
        array["t"] = ticks
        array["x"] = address % width
        array["y"] = address // width % height
        array["p"] = address // (width * height)
        found.append(array)
    return found


def _batch(
    array: Any, read: Any, neurons: int, time_unit: float, sort: bool, dtype: torch.dtype | None
) -> Events:
    dtype = check_dtype(dtype)
    if not 0 < time_unit < float("inf"):
        raise ValueError(f"time_unit must be finite and > 0 (seconds), got {time_unit}")
    if isinstance(array, np.ndarray):
        time, index = _checked(read(array), neurons, time_unit, sort, "array")
        return Events(torch.as_tensor(time).to(dtype), torch.as_tensor(index))
    samples = [
        _checked(read(one), neurons, time_unit, sort, f"array[{place}]")
        for place, one in enumerate(array)
    ]
    room = max((len(time) for time, _ in samples), default=0)
    times = np.full((len(samples), room), np.inf)
    indices = np.full((len(samples), room), -1, np.int32)
    for place, (time, index) in enumerate(samples):
        times[place, : len(time)], indices[place, : len(time)] = time, index
    return Events(torch.as_tensor(times).to(dtype), torch.as_tensor(indices))


def _plain(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if array.dtype.names is not None:
        _check_fields(array, ("t", "address"))
        return array["t"], array["address"]
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(
            f"array must have the fields t and address, or shape (events, 2), got {array.shape}"
        )
    return array[:, 0], array[:, 1]


def _pixels(array: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    _check_fields(array, ("x", "t"))
    address = np.zeros(len(array), np.int64)
    for name, count in (("p", size[2]), ("y", size[1]), ("x", size[0])):
        address *= count
        if name not in (array.dtype.names or ()):
            if count > 1:
                raise ValueError(
                    f"array has no field {name!r}, but sensor_size {size} (width, height, "
                    f"polarities) has {count} values of it; add the field, or correct sensor_size"
                )
            continue
        value = array[name].astype(np.int64)
        good = (value >= 0) & (value < count)
        if not good.all():
            first = int(np.argmin(good))
            raise ValueError(
                f"array['{name}'] must be 0 to {count - 1}, but array['{name}'][{first}] = "
                f"{value[first]}; correct sensor_size (width, height, polarities)"
            )
        address += value
    return array["t"], address


def _check_fields(array: np.ndarray, names: tuple[str, ...]) -> None:
    missing = set(names) - set(array.dtype.names or ())
    if missing:
        raise ValueError(
            f"array must have the fields {', '.join(names)}, but has "
            f"{', '.join(array.dtype.names or ()) or 'none'}; rename them"
        )


def _checked(
    sample: tuple[np.ndarray, np.ndarray], neurons: int, time_unit: float, sort: bool, name: str
) -> tuple[np.ndarray, np.ndarray]:
    ticks, address = (np.asarray(part) for part in sample)
    time = ticks.astype(np.float64) * time_unit
    finite = np.isfinite(time) & (time >= 0)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(
            f"times must be finite and >= 0, but event {first} of {name} is at {ticks[first]}; "
            f"drop such events or subtract the first time"
        )
    inside = (address >= 0) & (address < neurons) & (address == np.floor(address))
    if not inside.all():
        first = int(np.argmin(inside))
        raise ValueError(
            f"addresses must be whole numbers from 0 to {neurons - 1}, but event {first} of {name} "
            f"has {address[first]}; correct the addresses or raise neurons"
        )
    backwards = np.flatnonzero(np.diff(time) < 0)
    if backwards.size and not sort:
        first = int(backwards[0]) + 1
        raise ValueError(
            f"events must ascend in time, but event {first} of {name} ({ticks[first]}) comes "
            f"before event {first - 1} ({ticks[first - 1]}); pass sort=True"
        )
    order = np.argsort(time, kind="stable") if backwards.size else slice(None)
    return time[order], address[order].astype(np.int32)


def _samples(
    events: Events | Tensor, time_unit: float, neurons: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times in units and addresses of each sample, without padding."""
    if not 0 < time_unit < float("inf"):
        raise ValueError(f"time_unit must be finite and > 0 (seconds), got {time_unit}")
    time, index = flat_samples(events, neurons)
    found = []
    for times, indices in zip(time, index, strict=True):
        there = indices >= 0
        found.append((np.rint(times[there] / time_unit).astype(np.int64), indices[there]))
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
