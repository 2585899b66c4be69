"""Room for output spikes that grows to what the data need."""

import math
from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ...bridge._torch_internals import values_are_unknown
from ._constants import Constant
from ._overflow import SpikeOverflowError

Room = int | Literal["auto"]
"""``max_spikes`` as layers take it."""

# Few layers need less room than this where it may grow, and none sensible needs more than that.
_FIRST, _MOST = 4, 1 << 14


class Growing(Protocol):
    """A layer whose ``max_spikes`` may grow."""

    max_spikes: int
    grows: bool


def set_room(layer: Any, max_spikes: Any, refractory: Constant) -> None:
    """Set ``max_spikes``, and whether it grows, of a layer."""
    layer.grows = isinstance(max_spikes, str)
    if layer.grows and max_spikes != "auto":
        raise ValueError(f'max_spikes must be an integer >= 1 or "auto", got {max_spikes!r}')
    once = not isinstance(refractory, Tensor) and refractory == math.inf
    layer.max_spikes = (1 if once else _FIRST) if layer.grows else max_spikes


def room_repr(layer: Growing) -> str:
    """The room as text."""
    return f"max_spikes={'auto' if layer.grows else layer.max_spikes}"


def with_room(layer: Growing, run: Callable[[], Any]) -> Any:
    """``run()``, which gives spikes, health and more, with twice the room until the spikes fit.

    Room grows by factors of two, as each size is compiled, and stays. Where torch traces, so that
    counts have no values, it does not grow.
    """
    while True:
        found = run()
        if not layer.grows or values_are_unknown():
            return found
        if not bool(torch.func.debug_unwrap(found[1].overflow).any()):
            return found
        if layer.max_spikes >= _MOST:
            raise SpikeOverflowError(
                f"neurons have more than {_MOST} spikes in one run, beyond which max_spikes='auto' "
                f"does not grow; lower t_max or the weights, give neurons a refractory period, or "
                f"choose max_spikes"
            )
        layer.max_spikes *= 2
