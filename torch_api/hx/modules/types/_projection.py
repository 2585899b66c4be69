"""What all synapses have in common."""

import math
import numbers
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ... import functional as F
from ..._experiment import Experiment
from ..._handle import Handle, LIFObservables, SynapseHandle
from ...engines._call import Call
from ...engines._engine import Engine
from ...engines._grid_form import grid_form
from .._hx_module import HXModule


class Projection(HXModule):
    """Base of synapses."""

    output_type: type[Handle] = SynapseHandle
    input_type: ClassVar[type[Handle]] = LIFObservables

    def __init__(
        self,
        in_features: int,
        out_features: int,
        experiment: Experiment,
        execution_instance: Any,
        chip_coordinate: Any,
        device: Any,
        dtype: torch.dtype | None,
        transform: Callable[..., Tensor],
    ) -> None:
        for size in (in_features, out_features):
            if isinstance(size, bool) or not isinstance(size, numbers.Integral) or size < 1:
                raise ValueError(
                    f"{type(self).__name__}: in_features and out_features must be integers >= 1, "
                    f"got {size!r}"
                )
        self.in_features, self.out_features = int(in_features), int(out_features)
        super().__init__(experiment, execution_instance, chip_coordinate)
        self.weight = nn.Parameter(
            torch.empty(out_features, in_features, device=device, dtype=dtype)
        )
        self.weight_transform = transform
        self.reset_parameters()

    @property
    def title(self) -> str:
        return f"{type(self).__name__}({self.in_features}, {self.out_features})"

    def reset_parameters(self) -> None:
        """Draw new weights as ``nn.Linear`` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def used_weight(self) -> Tensor:
        """The weights that act."""
        return self.weight

    def check_input(self, neurons: int) -> None:
        """Check the number of neurons that spikes come from."""
        if neurons != self.in_features:
            raise ValueError(
                f"{self.title} expects spikes of {self.in_features} neurons, got {neurons}"
            )

    def dense_input(self, inputs: tuple) -> Tensor:
        """Input spikes ``(time, batch, in)`` in the dtype of the weights."""
        spikes = self.only(inputs).spikes
        self.check_input(spikes.shape[-1])
        if not spikes.is_floating_point():
            return spikes.to(self.weight.dtype)
        self.check_dtype(spikes)
        return spikes

    def check_dtype(self, spikes: Tensor) -> None:
        """Check that input spikes, or their times, have the dtype of the weights."""
        if spikes.dtype != self.weight.dtype:
            raise TypeError(
                f"{self.title}: its input spikes are {spikes.dtype}, but its weight is "
                f"{self.weight.dtype}; convert one of them, such as spikes.to({self.weight.dtype})"
            )

    @grid_form
    def forward_func(self, *input: LIFObservables, hw_data: Any = None) -> SynapseHandle:
        return SynapseHandle(graded_spikes=F.linear(self.dense_input(input), self.used_weight()))

    def execute(self, call: Call, engine: Engine) -> None:
        engine.project(call)

    def event_weight(self) -> Tensor | None:
        """The weights ``(out, in)`` through which events act.

        ``None`` for a `forward_func` of one's own that does something else than to weigh spikes.
        """
        return self._linear_weight() if self.has_own_forward() else self.used_weight()

    def _linear_weight(self) -> Tensor | None:
        """The weights ``(out, in)`` with which a `forward_func` of one's own weighs spikes.

        ``None`` if it does something else than to weigh them.
        """
        weight = self.weight
        generator = torch.Generator().manual_seed(0)
        spikes = torch.zeros(self.in_features + 2, 1, self.in_features)
        spikes[: self.in_features, 0] = torch.eye(self.in_features)
        spikes[-2] = (torch.rand(1, self.in_features, generator=generator) < 0.5).float()
        computed = self.func((LIFObservables(spikes=spikes.to(weight)),))
        graded = getattr(computed, "graded_spikes", None)
        if isinstance(graded, Tensor) and graded.ndim == 4:
            graded = graded[0]  # Of grid EventProp, the weighted spikes; see `EventPropSynapse`.
        if not isinstance(graded, Tensor) or graded.shape != (len(spikes), 1, self.out_features):
            return None
        found = graded[: self.in_features, 0]
        tried, silent = graded[-2:, 0].detach()
        expected = (spikes[-2, 0].to(weight) @ found).detach()
        scale = found.detach().abs().sum(0).max()
        agrees = (tried - expected).abs().max() <= 1e-4 * scale and not silent.any()
        return found.T if agrees else None

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"
