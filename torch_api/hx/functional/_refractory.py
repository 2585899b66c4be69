"""The time after a spike in which a neuron rests."""

from typing import Any

import torch
from torch import Tensor

from ...backend._straight_through import straight_through


def refractory_update(
    z: Tensor,
    v: Tensor,
    ref_state: Tensor,
    spikes_hw: Tensor | None = None,
    membrane_hw: Tensor | None = None,
    *,
    reset: Any,
    refractory_time: Any,
    dt: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Hold neurons at ``reset``, silent, for as many steps as ``ref_state`` says.

    **Returns:** spikes, membrane and state after the step; those measured, where given.
    """
    is_held = (ref_state > 0).to(v.dtype)
    v = (1 - is_held) * v + is_held * reset
    if membrane_hw is not None:
        v = straight_through(v, membrane_hw)
    z = (1 - is_held) * z
    if spikes_hw is not None:
        z = straight_through(z, spikes_hw)
    ref_state = (1 - z) * torch.relu(ref_state - is_held) + z * (refractory_time / dt)
    return z, v, ref_state
