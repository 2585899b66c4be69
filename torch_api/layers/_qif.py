"""The layer of quadratic integrate-and-fire neurons."""

from typing import Any, Unpack

import torch
from torch import Tensor

from ... import jax_core
from ...jax_core import Neuron
from ...jax_core.layer._spiking import check_ends
from ._constants import Constant
from ._model_layer import ModelLayer, ModelOptions, double


class QIF(ModelLayer):
    """A layer of quadratic integrate-and-fire neurons, whose spikes move continuously.

        tau_mem dV/dt = V (V - 1) + current

    An input spike makes ``V`` jump by its weight. Without current 0 is the rest and 1 the
    threshold, above which ``V`` gets infinite by itself, in finite time: that is the spike, and
    ``V`` goes on from minus infinity. With ``current > 1/4`` neurons spike without input. Spike
    times are in closed form; gradients are exact, and no slope is ever small.

    An infinite voltage feels no input, so spikes neither appear nor vanish but at ``t_max``. With
    ``pseudospikes``, they go on from there: after ``t_max``, ``current`` is 5/4 in place of its
    value, and the layer goes on, input included, until each neuron has ``max_spikes`` spikes, those
    after ``t_max`` being pseudospikes. No time is ``inf``, and in a network of such layers with the
    same ``t_max`` each is a continuous function of weights and input, as is its gradient. The
    health report counts pseudospikes as silence, and as too many only spikes up to ``t_max``.

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input and output neurons.
    - ``tau_mem``: membrane time constant, seconds, > 0.
    - ``current``: a constant input. ``v_start``: the voltage at time 0. All of these are numbers or
      tensors ``(out_features,)``.
    - ``pseudospikes``: whether neurons go on after ``t_max``, which must be finite then.
    - ``options``: ``max_spikes``, ``t_max``, ``delay`` (``"axonal"``, ``"synaptic"`` or fixed),
      ``mask``, ``connections``, ``learn``, ``on_overflow``, ``min_slope``, ``device`` and
      ``dtype``, as of `LIF`.

    **Parameters:** ``weight``, ``(out_features, in_features)``, or ``(connections,)``; a learnable
    ``delay``; those named in ``learn``.

    **Shapes:** spike times ``(..., in_features, k)`` or ``Events`` ``(..., M)`` give spike times
    ``(..., out_features, max_spikes)``, ascending, ``inf`` where there is no spike.

    **References:** Klos & Memmesheimer 2025, doi:10.1103/PhysRevLett.134.027301; `jax_core.QIF`
    says what is as there.
    """

    model = jax_core.QIF
    current: Constant
    v_start: Constant
    refractory = 0.0
    pseudospikes: bool = False

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_mem: Constant = 2e-2,
        current: Constant = 0.0,
        v_start: Constant = 0.0,
        pseudospikes: bool = False,
        **options: Unpack[ModelOptions],
    ) -> None:
        constants = {"tau_mem": tau_mem, "current": current, "v_start": v_start}
        super().__init__(in_features, out_features, constants, options)
        self.pseudospikes = bool(pseudospikes)
        if self.pseudospikes:
            check_ends(self.t_max)

    def neuron(self) -> Neuron:
        return jax_core.QIF(**self.constants(), pseudospikes=self.pseudospikes)

    def height(self) -> Tensor:
        """From ``v_start`` to where neurons spike by themselves, 1 for those that always do."""
        below = (0.25 - double(self.current)).clamp(min=0).sqrt() + 0.5
        height = below - double(self.v_start)
        return torch.where((double(self.current) < 0.25) & (height > 0), height, 1)

    def peak(self) -> Tensor:
        return torch.ones((), dtype=torch.float64)

    def numbers(self) -> dict[str, Any]:
        return {**super().numbers(), "pseudospikes": self.pseudospikes}

    def extra_repr(self) -> str:
        return super().extra_repr() + (", pseudospikes=True" if self.pseudospikes else "")
