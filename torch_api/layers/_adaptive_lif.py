"""The layer of leaky integrate-and-fire neurons with adaptation."""

from typing import Unpack

from torch import Tensor

from ... import jax_core
from ._constants import Constant
from ._initialisation import postsynaptic_peak
from ._model_layer import LeakyModelLayer, ModelOptions, double


class AdaptiveLIF(LeakyModelLayer):
    """A layer of leaky integrate-and-fire neurons with an adaptation current ``w``.

        tau_mem dV/dt = v_leak - V + I - w
        tau_w   dw/dt = a (V - v_leak) - w
        tau_syn dI/dt = -I

    An input spike adds its weight to ``I``. When ``V`` reaches ``v_threshold`` from below, the
    neuron spikes, ``b`` is added to ``w``, and ``V`` is held at ``v_reset`` for ``refractory``
    seconds, in which ``w`` follows it. ``w(0) = 0``. Spikes are found in continuous time, none is
    missed, also where ``V`` oscillates; gradients are exact.

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input and output neurons.
    - ``tau_mem``, ``tau_syn``, ``tau_w``: time constants of membrane, synapses and adaptation,
      seconds, > 0.
    - ``a``: how strongly ``w`` follows the voltage, > -1, without a unit; at -1 and below there is
      no stable rest. Above ``(tau_mem - tau_w)^2 / (4 tau_mem tau_w)`` the voltage oscillates.
    - ``b``: what a spike adds to ``w``, in the unit of the weights. If it is negative, spikes may
      drive further ones without end, which is an overflow.
    - ``v_threshold``, ``v_leak``, ``v_reset``, ``refractory``: as of `LIF`. All of these are
      numbers, which are compiled in, or tensors ``(out_features,)``.
    - ``options``: ``max_spikes``, ``t_max``, ``delay`` (``"axonal"``, ``"synaptic"`` or fixed),
      ``mask``, ``connections``, ``learn``, ``on_overflow``, ``min_slope``, ``silent``,
      ``silent_time``, ``device`` and ``dtype``, as of `LIF`; with ``silent="peak"``, ``t_max`` must
      be finite, and heights are measured from the voltage at time 0.

    **Parameters:** ``weight``, ``(out_features, in_features)``, or ``(connections,)``, to begin
    with as those of `LIF`; a learnable ``delay``; those named in ``learn``.

    **Shapes:** as of `LIF`.

    **References:** Brette & Gerstner 2005, doi:10.1152/jn.00686.2005, without the exponential.
    """

    model = jax_core.AdaptiveLIF
    tau_syn: Constant
    tau_w: Constant
    a: Constant
    b: Constant

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_mem: Constant = 2e-2,
        tau_syn: Constant = 1e-2,
        tau_w: Constant = 1e-1,
        a: Constant = 0.0,
        b: Constant = 0.1,
        v_threshold: Constant = 1.0,
        v_leak: Constant = 0.0,
        v_reset: Constant = 0.0,
        refractory: Constant = 0.0,
        **options: Unpack[ModelOptions],
    ) -> None:
        constants = {
            "tau_mem": tau_mem,
            "tau_syn": tau_syn,
            "tau_w": tau_w,
            "a": a,
            "b": b,
            "v_threshold": v_threshold,
            "v_leak": v_leak,
            "v_reset": v_reset,
            "refractory": refractory,
        }
        super().__init__(in_features, out_features, constants, options)

    def peak(self) -> Tensor:
        return postsynaptic_peak(double(self.tau_mem), double(self.tau_syn))
