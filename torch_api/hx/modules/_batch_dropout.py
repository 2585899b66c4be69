"""Dropout of whole neurons."""

from typing import Any

import torch
from torch import Tensor

from .. import functional as F
from .._experiment import Experiment
from .._handle import LIFObservables
from ..engines._call import Call
from ..engines._engine import Engine
from ..engines._grid_form import grid_form
from ._hx_module import HXModule
from .types._sizes import check_size


class BatchDropout(HXModule):
    """Silences neurons of the layer before, the same ones for the whole batch."""

    output_type = LIFObservables
    input_type = LIFObservables

    def __init__(self, size: int, dropout: float, experiment: Experiment) -> None:
        super().__init__(experiment)
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be a probability, got {dropout}")
        self.size, self._dropout = size, dropout
        self.mask: Tensor | None = None
        """Which neurons are left, bool ``(size,)``; drawn at each run."""

    def set_mask(self) -> Tensor:
        """Draw which neurons are left; all, in eval mode."""
        self.mask = torch.rand(self.size) > (self._dropout if self.training else -1.0)
        return self.mask

    @grid_form
    def forward_func(self, *input: LIFObservables, hw_data: Any = None) -> LIFObservables:
        spikes = self.only(input).spikes
        check_size(self, spikes.shape[-1])
        return LIFObservables(spikes=F.batch_dropout(spikes, self.set_mask()))

    def execute(self, call: Call, engine: Engine) -> None:
        engine.drop(call)
