"""The options that all layers of leaky integrate-and-fire neurons share, with their defaults."""

from collections.abc import Iterable
from typing import Any

import torch

from ...jax_core.layer._differentiable import Gradient
from ...jax_core.layer._options import DEFAULTS as OF_NEURONS
from ..functional._options import CommonOptions
from ._room import Room

# What layers are called with, or have in a form of their own.
_OF_CALLS = {"connections", "current", "state", "return_state"}

DEFAULTS: dict[str, Any] = {
    **{name: value for name, value in OF_NEURONS.items() if name not in _OF_CALLS},
    "learn": (),
    "device": None,
    "dtype": None,
}


class Options(CommonOptions, total=False):
    """Options of `LIF` that layers with other connections take, too."""

    max_spikes: Room
    gradient: Gradient
    learn: Iterable[str]
    device: torch.device | str | None
    dtype: torch.dtype | None
