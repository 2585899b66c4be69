"""Order in time, after something has changed the times."""

import math
from typing import overload

import torch
from torch import Tensor

from ...jax_core import Events


@overload
def sorted_spikes(times: Tensor, index: Tensor) -> Events: ...
@overload
def sorted_spikes(times: Tensor, index: None = None) -> Tensor: ...
@overload
def sorted_spikes(times: Tensor, index: Tensor | None) -> Tensor | Events: ...
def sorted_spikes(times: Tensor, index: Tensor | None = None) -> Tensor | Events:
    """Times along the last axis in ascending order, together with the neurons of events, if given.

    Equal times keep their order.
    """
    if times.shape[-1] < 2:
        return times if index is None else Events(times, index)
    time, order = times.sort(dim=-1, stable=True)
    return time if index is None else Events(time, index.gather(-1, order))


def without(gone: Tensor, times: Tensor, index: Tensor | None) -> Tensor | Events:
    """Spikes without those that are ``gone``, in whose places there is padding, at the end."""
    times = torch.where(gone, math.inf, times)
    if index is not None:
        # Unsigned integers have no -1.
        index = torch.where(
            gone, -1, index.to(torch.int32) if index.dtype == torch.uint8 else index
        )
    return sorted_spikes(times, index)
