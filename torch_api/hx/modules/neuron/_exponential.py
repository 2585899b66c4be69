"""Populations of hxtorch whose time constants are given as decays per step, ``exp(-dt / tau)``."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from ... import functional as F
from ..._handle import LIFObservables, LIObservables, SynapseHandle
from ...engines._grid_form import grid_form
from ..types._population import Population
from ._li import LI
from ._lif import LIF


class _DecayPerStep(Population):
    """``tau_mem`` and ``tau_syn`` are decays per step; input acts without a conductance."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        warnings.warn(
            f"{self.title} is deprecated in hxtorch; use LIF or LI, with time constants in seconds",
            DeprecationWarning,
            stacklevel=2,
        )

    def check_parameters(self) -> None:
        super().check_parameters()
        for name in ("tau_mem", "tau_syn"):
            self.check_parameter(
                name, "a decay per step, exp(-dt / tau), in (0, 1)", lambda x: (x > 0) & (x < 1)
            )

    def conductance(self) -> Tensor:
        return torch.ones(())

    def seconds(self, name: str) -> Any:
        decay = self.model(name)
        log = torch.log(decay) if isinstance(decay, Tensor) else math.log(decay)
        return -self.experiment.dt / log

    def grid_input(self, input: tuple[SynapseHandle, ...]) -> Tensor:
        self.check_parameters()
        return torch.stack([handle.graded_spikes for handle in input]).sum(0)


class NeuronExp(_DecayPerStep, LIF):
    """`LIF` with ``tau_mem`` and ``tau_syn`` given as ``exp(-dt / tau)``, for the hardware as
    ``HXTransformedModelParameter(decay, lambda x: -dt / log(x))``. It has no refractory time.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.refractory = False

    @grid_form
    def forward_func(self, *input: SynapseHandle, hw_data: Any = None) -> LIFObservables:
        spikes, membrane, current, madc = F.exp_cuba_lif_integration(
            self.grid_input(input),
            leak=self.model("leak"),
            reset=self.model("reset"),
            threshold=self.model("threshold"),
            tau_syn_exp=self.model("tau_syn"),
            tau_mem_exp=self.model("tau_mem"),
            method=self.method,
            alpha=self.alpha,
            hw_data=hw_data,
        )
        sent = spikes if self.mask is None else spikes * self.mask
        return LIFObservables(
            spikes=sent, membrane_cadc=membrane, current=current, membrane_madc=madc
        )


class ReadoutNeuronExp(_DecayPerStep, LI):
    """`LI` with ``tau_mem`` and ``tau_syn`` given as ``exp(-dt / tau)``; see `NeuronExp`."""

    @grid_form
    def forward_func(self, *input: SynapseHandle, hw_data: Any = None) -> LIObservables:
        membrane, current, madc = F.exp_cuba_li_integration(
            self.grid_input(input),
            leak=self.model("leak"),
            tau_syn_exp=self.model("tau_syn"),
            tau_mem_exp=self.model("tau_mem"),
            hw_data=hw_data,
        )
        return LIObservables(membrane_cadc=membrane, current=current, membrane_madc=madc)
