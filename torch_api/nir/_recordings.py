"""Times and addresses of recordings in the forms that users and sensors have them."""

from typing import Any

import numpy as np
from torch import Tensor

from ._times import Sample


def is_one_sample(array: Any) -> bool:
    """Whether this is one recording, not a list of several."""
    if isinstance(array, np.ndarray | Tensor):
        return _names(array) != () or (array.ndim < 3 and array.dtype != np.object_)
    if not isinstance(array, list | tuple):
        raise TypeError(
            f"array must be an array of events or a list of such arrays, got {type(array).__name__}"
        )
    return len(array) > 0 and all(_is_row(one) for one in array)


def plain(given: Any, name: str) -> Sample:
    """Times and addresses of one sample, with the fields t and address or as two columns."""
    array = _as_array(given, name)
    if _names(array):
        _check_fields(array, ("t", "address"), name)
        return array["t"], array["address"]
    if array.shape == (0,):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(
            f"{name} must have the fields t and address, or shape (events, 2), got {array.shape}"
        )
    return array[:, 0], array[:, 1]


def pixels(given: Any, size: tuple[int, ...], name: str) -> Sample:
    """Times and flat addresses of one sample with the fields x, y, t, p."""
    array = _as_array(given, name)
    _check_fields(array, ("x", "t"), name)
    address = np.zeros(len(array), np.int64)
    for field, count in (("p", size[2]), ("y", size[1]), ("x", size[0])):
        address *= count
        if field in _names(array):
            address += _pixel_field(array[field], field, count, name)
        elif count > 1:
            raise ValueError(
                f"{name} has no field {field!r}, but sensor_size {size} (width, height, "
                f"polarities) has {count} values of it; add the field, or correct sensor_size"
            )
    return array["t"], address


def check_addresses(address: np.ndarray, neurons: int, name: str) -> None:
    """Check that addresses are whole numbers from 0 to ``neurons - 1``."""
    first = _first_bad(address, neurons, f"addresses of {name}")
    if first is not None:
        raise ValueError(
            f"addresses must be whole numbers from 0 to {neurons - 1}, but event {first} of {name} "
            f"has {address[first]}; correct the addresses or raise neurons"
        )


def _first_bad(value: np.ndarray, count: int, what: str) -> int | None:
    """The first place where there is no whole number from 0 to ``count - 1``."""
    if value.size and value.dtype.kind not in "biuf":
        raise TypeError(f"{what} must be numbers, got {value.dtype}; convert them")
    good = (value >= 0) & (value < count) & (value == np.floor(value))
    return None if good.all() else int(np.argmin(good))


def _pixel_field(value: np.ndarray, field: str, count: int, name: str) -> np.ndarray:
    remedy = "correct sensor_size (width, height, polarities), or drop such events"
    if field == "p":
        if count == 2 and value.dtype.kind in "if" and (np.abs(value) == 1).all():
            # Some sensors write the polarities as -1 and +1.
            value = value > 0
        if count == 1 and value.dtype.kind in "iu" and (value == 1).all():
            # What tonic writes where there is but one polarity.
            value = np.zeros_like(value)
        remedy = (
            "polarities are 0, 1, ..., or -1 and +1 where sensor_size has two of them; convert "
            "them, or correct the last number of sensor_size"
        )
    first = _first_bad(value, count, f"{name}['{field}']")
    if first is not None:
        whole = "" if value[first] == np.floor(value[first]) else "whole, "
        raise ValueError(
            f"{name}['{field}'] must be {whole}0 to {count - 1}, but {name}['{field}'][{first}] = "
            f"{value[first]}; {remedy}"
        )
    return value.astype(np.int64)


def _names(array: Any) -> tuple[str, ...]:
    """The names of an array's fields and their titles, by which NumPy knows them too."""
    return tuple(getattr(array.dtype, "fields", None) or ())


def _is_row(one: Any) -> bool:
    if isinstance(one, np.ndarray | Tensor):
        return one.ndim == 1 and not _names(one) and one.dtype != np.object_
    if isinstance(one, list | tuple):
        return len(one) > 0 and all(np.ndim(each) == 0 for each in one)
    return isinstance(one, np.void)


def _as_array(given: Any, name: str) -> np.ndarray:
    if isinstance(given, Tensor):
        return given.detach().cpu().numpy()
    if isinstance(given, np.ndarray):
        return given
    if not isinstance(given, list | tuple):
        raise TypeError(
            f"{name} must be an array of events, got {type(given).__name__}; data sets yield "
            f"(events, target): pass the events alone"
        )
    try:
        # Rows of a structured array keep their fields.
        kinds = {one.dtype for one in given if isinstance(one, np.void)}
        return np.array(given, kinds.pop() if kinds else None)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} must have one time and one address for each event: {error}"
        ) from error


def _check_fields(array: np.ndarray, fields: tuple[str, ...], name: str) -> None:
    if set(fields) - set(_names(array)):
        raise ValueError(
            f"{name} must have the fields {', '.join(fields)}, but has "
            f"{', '.join(_names(array)) or 'none'}; rename them"
        )
