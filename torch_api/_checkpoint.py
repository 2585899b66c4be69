"""Numbers that a module's results depend on: kept in checkpoints, compared on loading."""

import json
import warnings
from typing import Any

import torch
from torch import Tensor, nn


class CheckpointWarning(UserWarning):
    """A checkpoint is of a module with other constants than those of the one that loads it."""


class RecordsNumbers(nn.Module):
    """Base of modules with numbers that belong into checkpoints.

    A ``state_dict`` holds them as ``_extra_state``: the characters of a JSON text, one
    floating-point number each, since tools for checkpoints take floating-point tensors, and round
    them to half precision or average them. Loading compares and keeps the module's own.
    """

    def numbers(self) -> dict[str, Any]:
        """Numbers and names by the arguments of the constructor that set them."""
        raise NotImplementedError

    def get_extra_state(self) -> Tensor:
        text = list(json.dumps(self.numbers()).encode())
        return torch.tensor(text, dtype=self._dtype(), device="cpu")

    def set_extra_state(self, state: Any) -> None:
        self._compare(state, type(self).__name__)

    def _compare(self, state: Any, name: str) -> None:
        stored, own = _decoded(state), self.numbers()
        different = [key for key in own if key in stored and stored[key] != own[key]]
        if different:
            theirs = ", ".join(f"{key}={stored[key]}" for key in different)
            ours = ", ".join(f"{key}={own[key]}" for key in different)
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
            self._compare(state_dict.pop(key), f"{name or 'this'} ({type(self).__name__})")
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
