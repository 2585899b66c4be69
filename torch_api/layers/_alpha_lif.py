"""The layer of leaky integrate-and-fire neurons with alpha synapses."""

import math
from typing import Unpack

import torch
from torch import Tensor

from ... import jax_core
from ._constants import Constant
from ._model_layer import LeakyModelLayer, ModelOptions, double


class AlphaLIF(LeakyModelLayer):
    """A layer of leaky integrate-and-fire neurons with alpha synapses.

        tau_mem dV/dt = v_leak - V + I        I = sum_s w (s/tau_syn) exp(1 - s/tau_syn)

    over all input spikes, ``s`` being the time since one and ``w`` its weight: the current rises to
    its peak, ``w``, within ``tau_syn``, and falls again (the convention of NEST's
    ``iaf_psc_alpha``). All else is as in `LIF`. Spikes are found in continuous time, none is
    missed; gradients are exact.

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input and output neurons.
    - ``tau_mem``, ``tau_syn``, ``v_threshold``, ``v_leak``, ``v_reset``, ``refractory``: as of
      `LIF`: numbers, which are compiled in, or tensors ``(out_features,)``.
    - ``options``: ``max_spikes``, ``t_max``, ``delay`` (``"axonal"``, ``"synaptic"`` or fixed),
      ``mask``, ``connections``, ``learn``, ``on_overflow``, ``min_slope``, ``silent``,
      ``silent_time``, ``device`` and ``dtype``, as of `LIF`; with ``silent="peak"``, ``t_max`` must
      be finite, and heights are measured from the voltage at time 0.

    **Parameters:** ``weight``, ``(out_features, in_features)``, or ``(connections,)``; a learnable
    ``delay``; those named in ``learn``.

    **Shapes:** as of `LIF`.

    **References:** Rotter & Diesmann 1999, doi:10.1007/s004220050570.
    """

    model = jax_core.AlphaLIF
    tau_syn: Constant

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_mem: Constant = 2e-2,
        tau_syn: Constant = 1e-2,
        v_threshold: Constant = 1.0,
        v_leak: Constant = 0.0,
        v_reset: Constant = 0.0,
        refractory: Constant = 0.0,
        **options: Unpack[ModelOptions],
    ) -> None:
        constants = {
            "tau_mem": tau_mem,
            "tau_syn": tau_syn,
            "v_threshold": v_threshold,
            "v_leak": v_leak,
            "v_reset": v_reset,
            "refractory": refractory,
        }
        super().__init__(in_features, out_features, constants, options)

    def peak(self) -> Tensor:
        """To about one part in a thousand, as initial weights need no more."""
        ratio = double(self.tau_mem) / double(self.tau_syn)
        ratio = torch.where((ratio - 1).abs() < 1e-3, 1.001, ratio)[..., None]
        # In units of tau_syn; the peak comes before both time constants have passed twice.
        u = torch.linspace(0, 2, 2001, dtype=torch.float64) * (1 + ratio)
        d = 1 - 1 / ratio
        v = math.e / ratio * ((-u / ratio).exp() - (1 + d * u) * (-u).exp()) / d**2
        return v.amax(dim=-1)
