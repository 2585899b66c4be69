"""Synapses from all neurons to all."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import functional as F
from .._experiment import Experiment
from .._handle import LIFObservables, SynapseHandle
from ..engines._grid_form import grid_form
from ..transforms.weight_transforms import linear_saturating
from .types._projection import Projection


class Synapse(Projection):
    """All-to-all synapses with weights ``(out, in)``.

    **Arguments:** ``transform``: from model weights to weights on the scale of the hardware;
    placement and ``plasticity_rule``: the former is recorded, the latter not supported.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        experiment: Experiment,
        execution_instance: Any = None,
        chip_coordinate: Any = None,
        device: Any = None,
        dtype: torch.dtype | None = None,
        transform: Callable[..., Tensor] = linear_saturating,
        plasticity_rule: Any = None,
    ) -> None:
        if plasticity_rule is not None:
            raise ValueError("Synapse: plasticity_rule is not supported")
        super().__init__(
            in_features,
            out_features,
            experiment,
            execution_instance,
            chip_coordinate,
            device,
            dtype,
            transform,
        )


class EventPropSynapse(Synapse):
    """`Synapse` for `EventPropLIF`. Both engines take it; the event engine is always exact."""

    @grid_form
    def forward_func(self, *input: LIFObservables, hw_data: Any = None) -> SynapseHandle:
        graded = F.EventPropSynapseFunction.apply(self.dense_input(input), self.weight)
        return SynapseHandle(graded_spikes=graded)
