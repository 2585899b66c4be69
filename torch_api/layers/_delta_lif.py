"""The layer of leaky integrate-and-fire neurons with delta synapses."""

from typing import Unpack

import torch
from torch import Tensor

from ... import jax_core
from ._constants import Constant
from ._model_layer import LeakyModelLayer, ModelOptions


class DeltaLIF(LeakyModelLayer):
    """A layer of leaky integrate-and-fire neurons with delta synapses.

        tau_mem dV/dt = v_leak - V

    An input spike adds its weight to ``V`` at once. Where that lifts ``V`` to ``v_threshold``, the
    neuron spikes at the time of the input, after all inputs of that time have arrived. So the
    derivative of such a spike's time is 1 with respect to the time of the last of them, and 0 with
    respect to weights and constants: spike times do not teach weights, voltages (`trace`) do. A
    neuron with ``v_leak > v_threshold`` also spikes between inputs, with derivatives as usual.
    Input within the refractory period has no effect. With ``tau_mem = inf`` there is no leak: the
    neuron adds up weights, from ``v_leak`` on to begin with.

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input and output neurons.
    - ``tau_mem``: as of `LIF`, or ``inf``, which cannot be learned.
    - ``v_threshold``, ``v_leak``, ``v_reset``, ``refractory``: as of `LIF`. All of these are
      numbers, which are compiled in, or tensors ``(out_features,)``.
    - ``options``: ``max_spikes``, ``t_max``, ``delay`` (``"axonal"``, ``"synaptic"`` or fixed),
      ``mask``, ``connections``, ``learn``, ``on_overflow``, ``min_slope``, ``silent``,
      ``silent_time``, ``device`` and ``dtype``, as of `LIF`; with ``silent="peak"``, ``t_max`` must
      be finite, and heights are measured from the voltage at time 0.

    **Parameters:** ``weight``, ``(out_features, in_features)``, or ``(connections,)``; a learnable
    ``delay``; those named in ``learn``.

    **Shapes:** as of `LIF`.
    """

    model = jax_core.DeltaLIF
    infinite = jax_core.DeltaLIF.infinite

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_mem: Constant = 2e-2,
        v_threshold: Constant = 1.0,
        v_leak: Constant = 0.0,
        v_reset: Constant = 0.0,
        refractory: Constant = 0.0,
        **options: Unpack[ModelOptions],
    ) -> None:
        constants = {
            "tau_mem": tau_mem,
            "v_threshold": v_threshold,
            "v_leak": v_leak,
            "v_reset": v_reset,
            "refractory": refractory,
        }
        super().__init__(in_features, out_features, constants, options)

    def peak(self) -> Tensor:
        return torch.ones((), dtype=torch.float64)
