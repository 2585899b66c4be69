"""The layer of integrate-and-fire neurons without leak."""

from typing import Unpack

import torch
from torch import Tensor

from ... import jax_core
from ._constants import Constant
from ._model_layer import ModelLayer, ModelOptions, double


class IF(ModelLayer):
    """A layer of integrate-and-fire neurons without leak, with exponential synapses.

        tau_syn dV/dt = I        tau_syn dI/dt = -I

    An input spike adds its weight ``w`` to ``I``, and so in the end ``w`` to ``V``. When ``V``
    reaches ``v_threshold`` from below, the neuron spikes and ``V`` is held at ``v_reset``, where it
    also starts, for ``refractory`` seconds. Spike times are in closed form; gradients are exact.

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input and output neurons.
    - ``tau_syn``: synaptic time constant, seconds, > 0.
    - ``v_threshold``, ``v_reset``: voltages, in the unit of the weights, ``v_reset < v_threshold``.
    - ``refractory``: seconds, >= 0; ``inf`` for at most one spike per neuron. All of these are
      numbers, which are compiled in, or tensors ``(out_features,)``.
    - ``options``: ``max_spikes``, ``t_max``, ``delay`` (``"axonal"``, ``"synaptic"`` or fixed),
      ``mask``, ``connections``, ``learn``, ``on_overflow``, ``min_slope``, ``silent``,
      ``silent_time``, ``device`` and ``dtype``, as of `LIF`; with ``silent="peak"``, ``t_max`` must
      be finite, and heights are measured from the voltage at time 0.

    **Parameters:** ``weight``, ``(out_features, in_features)``, or ``(connections,)``; a learnable
    ``delay``; those named in ``learn``.

    **Shapes:** spike times ``(..., in_features, k)`` or ``Events`` ``(..., M)`` give spike times
    ``(..., out_features, max_spikes)``, ascending, ``inf`` where there is no spike.

    **References:** Mostafa 2017, doi:10.1109/TNNLS.2017.2726060, with ``tau_syn`` as unit of time.
    """

    model = jax_core.IF
    v_reset: Constant

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_syn: Constant = 1e-2,
        v_threshold: Constant = 1.0,
        v_reset: Constant = 0.0,
        refractory: Constant = 0.0,
        **options: Unpack[ModelOptions],
    ) -> None:
        constants = {
            "tau_syn": tau_syn,
            "v_threshold": v_threshold,
            "v_reset": v_reset,
            "refractory": refractory,
        }
        super().__init__(in_features, out_features, constants, options)

    def height(self) -> Tensor:
        return double(self.v_threshold) - double(self.v_reset)

    def peak(self) -> Tensor:
        return torch.ones((), dtype=torch.float64)
