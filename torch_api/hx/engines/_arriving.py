"""What arrives at a population."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .._handle import SynapseHandle
from ._raster import with_same_room


def arriving(neurons: Any, inputs: Sequence[SynapseHandle]) -> tuple[Tensor, Tensor]:
    """Spike times ``(batch, in, k)`` of all synapses, and their weights in units of voltage."""
    neurons.check_parameters()
    times, weight = joined(neurons.title, inputs)
    if weight.shape[0] != neurons.size:
        raise ValueError(
            f"{neurons.title}: its synapses end on {weight.shape[0]} neurons, not {neurons.size}"
        )
    return times, neurons.in_voltage(weight)


def joined(title: str, inputs: Sequence[SynapseHandle]) -> tuple[Tensor, Tensor]:
    """The spikes and weights of all synapses of a population as those of one synapse."""
    events = [handle.events for handle in inputs if handle.events is not None]
    if len(events) < len(inputs):
        raise ValueError(
            f"{title}: its input has dense graded spikes only, without spike times; use "
            f"Experiment(engine='euler') for modules that compute on dense tensors"
        )
    outs = {int(weight.shape[0]) for _, weight in events}
    if len(outs) > 1:
        raise ValueError(f"{title}: its synapses end on {sorted(outs)} neurons")
    times = with_same_room([times for times, _ in events])
    return torch.cat(times, dim=1), torch.cat([weight for _, weight in events], dim=1)
