"""Dropout of whole neurons."""

from typing import Any

import torch
from torch import Tensor

from .. import functional as F
from .._experiment import Experiment
from .._handle import Handle, LIFObservables
from ..engines._call import Clock
from ..engines._raster import NEVER, SpikeRaster
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

    def forward_func(self, *input: LIFObservables, hw_data: Any = None) -> LIFObservables:
        spikes = self.only(input).spikes
        check_size(self, spikes.shape[-1])
        return LIFObservables(spikes=F.batch_dropout(spikes, self.set_mask()))

    def fill_events(self, inputs: tuple, output: Handle, clock: Clock) -> None:
        """Remove the times of silenced neurons."""
        source = self.only(inputs)
        times = source.times(clock.dt, self.title)
        check_size(self, times.shape[1])
        mask = self.set_mask().to(times.device)
        left = torch.where(mask[:, None], times, NEVER)
        output.fill(
            left, spikes=lambda: SpikeRaster.remembering(source.spikes * mask, left, clock.dt)
        )
