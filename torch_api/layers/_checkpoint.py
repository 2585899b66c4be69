"""Numbers that a module's results depend on: kept in checkpoints, compared on loading."""

import json
import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

_RESOLUTION = 2e-7  # of single precision
_MOST_SHOWN = 4


class CheckpointWarning(UserWarning):
    """A checkpoint is of a module with other constants than those of the one that loads it."""


class RecordsNumbers(nn.Module):
    """Base of modules with numbers that belong into checkpoints.

    A ``state_dict`` holds them as ``_extra_state``: the characters of a JSON text, one
    floating-point number each, since tools for checkpoints take floating-point tensors, and round
    them to half precision or average them. Loading compares and keeps the module's own.
    """

    def numbers(self) -> dict[str, Any]:
        """Numbers, arrays of them, and names, by the constructor's arguments that set them."""
        raise NotImplementedError

    def get_extra_state(self) -> Tensor:
        return torch.tensor(list(self._text().encode()), dtype=self._dtype(), device="cpu")

    def set_extra_state(self, state: Any) -> None:
        self._compare(state, self._kind())

    def _text(self) -> str:
        return json.dumps(self.numbers(), default=_plain)

    def _kind(self) -> str:
        """The name of the class that was constructed; parametrising exchanges the class."""
        of_torch = is_parametrized(self)
        return (type(self).__base__ or type(self)).__name__ if of_torch else type(self).__name__

    def _compare(self, state: Any, name: str) -> None:
        stored, own = _decoded(state), json.loads(self._text())
        different = [key for key in own if key in stored and not _same(stored[key], own[key])]
        if different:
            theirs = ", ".join(f"{key}={_shown(stored[key])}" for key in different)
            ours = ", ".join(f"{key}={_shown(own[key])}" for key in different)
            warnings.warn(
                f"the checkpoint of {name} is of a layer with {theirs}, but this one has {ours} "
                f"and keeps that; construct it with {theirs} if the checkpoint is right",
                CheckpointWarning,
                stacklevel=2,
            )

    def _dtype(self) -> torch.dtype:
        weight = getattr(self, "weight", None)
        return weight.dtype if isinstance(weight, Tensor) else torch.get_default_dtype()

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *more: Any, **named: Any) -> None:
        # Taken out here, where the name is known; and checkpoints of earlier versions have none.
        key = f"{prefix}_extra_state"
        if key in state_dict:
            name = prefix.removesuffix(".")
            self._compare(state_dict.pop(key), f"{name or 'this'} ({self._kind()})")
        super()._load_from_state_dict(state_dict, prefix, *more, **named)
        missing: list[str] = more[2] if len(more) > 2 else named["missing_keys"]
        if key in missing:
            missing.remove(key)


def _decoded(state: Any) -> dict[str, Any]:
    """The numbers of an entry; none if it was written or changed by something else."""
    try:
        found = json.loads(bytes(round(x) for x in state.tolist()))
    except (AttributeError, TypeError, ValueError, OverflowError, RuntimeError):
        return {}
    return found if isinstance(found, dict) else {}


def _plain(value: Any) -> Any:
    """Tensors, arrays and numbers of NumPy as numbers of Python."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _same(a: Any, b: Any) -> bool:
    """Whether two values are equal, up to what single precision makes of a number.

    One number is the same as an array of it.
    """
    if isinstance(a, list) or isinstance(b, list):
        longest = max(len(x) for x in (a, b) if isinstance(x, list))
        a, b = (x if isinstance(x, list) else [x] * longest for x in (a, b))
        return len(a) == len(b) and all(map(_same, a, b))
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b))
    return a == b or (numbers and math.isclose(a, b, rel_tol=_RESOLUTION))


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) > _MOST_SHOWN:
        first = ", ".join(map(str, value[:_MOST_SHOWN]))
        return f"[{first}, ... ({len(value)} values)]"
    return str(value)
