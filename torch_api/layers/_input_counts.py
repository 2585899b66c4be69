"""How often each input of a layer spikes."""

import torch
from torch import Tensor

from ...jax_core import Events


@torch.no_grad()
def input_counts(spikes: Tensor | Events, inputs: int, t_max: float, dtype: torch.dtype) -> Tensor:
    """Numbers of spikes up to ``t_max``, shape ``(..., inputs)``."""
    time = spikes.time if isinstance(spikes, Events) else spikes
    present = (time.isfinite() & (time <= t_max)).to(dtype)
    if not isinstance(spikes, Events):
        return present.sum(dim=-1)
    counts = present.new_zeros(*time.shape[:-1], inputs)
    return counts.scatter_add(-1, spikes.index.long().clamp(min=0), present)
