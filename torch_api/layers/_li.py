"""The leaky integrator as a module."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ...jax_core import Events
from .. import functional
from .._validate import check_dtype, check_size
from ..backend._weights import WeightFit
from ..functional._li import Quantity, Readout, check_readout
from ._constants import Constant, constant_numbers, constants_repr, register_constants
from ._health import Health
from ._initialisation import critical_weight, readout_weights_, spiking_weights_
from ._neuron_layer import LI_CONSTANTS, WeightedLayer


class LI(WeightedLayer):
    """A layer of leaky integrators without threshold, read out as one number per neuron.

    Each neuron obeys

        tau_mem dV/dt = v_leak - V + I        tau_syn dI/dt = -I

    with ``V = v_leak`` at first; an input spike adds its weight to ``I``. The read-outs are exact,
    in closed form, and so are their gradients.

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input and output neurons.
    - ``tau_mem``, ``tau_syn``: membrane and synaptic time constants, seconds, > 0.
    - ``v_leak``: leak potential, in the unit of the weights. These are numbers or tensors
      ``(out_features,)``; tensors become buffers.
    - ``readout``: the ``"max"`` of the voltage over [0, t_max], its ``"integral"`` over [0, t_max]
      (times seconds), or its ``"value"`` at t_max. A maximum that is that of the beginning,
      ``v_leak``, has no gradient: a voltage that only falls cannot learn to rise. `health_report`
      counts these as silent, and `rescue_silent_` raises their weights.
    - ``t_max``: seconds; finite for ``"value"``, and for ``"integral"`` without ``tau_weight``.
    - ``tau_weight``: with ``"integral"``, the one of ``V(t) exp(-t / tau_weight)``, seconds, so
      that early voltages count more ("loss shaping"); ``inf`` for equal weights.
    - ``learn``: names of constants that become parameters ``(out_features,)``.
    - ``device``, ``dtype``: of parameters and buffers; float32 or float64.

    **Parameters:** ``weight``, shape ``(out_features, in_features)``; those named in ``learn``.

    **References:** Nowotny, Turner, Knight 2022, *Loss shaping enhances exact gradient learning
    with EventProp in spiking neural networks*, arXiv:2212.01232, for the weighted integral.

    **Shapes:** spike times ``(..., in_features, k)`` or ``Events`` ``(..., M)`` give numbers
    ``(..., out_features)``.
    """

    tau_mem: Constant
    tau_syn: Constant
    v_leak: Constant
    weight: nn.Parameter
    tau_weight: float = math.inf

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        tau_mem: Constant = 2e-2,
        tau_syn: Constant = 1e-2,
        v_leak: Constant = 0.0,
        readout: Readout = "max",
        t_max: float = math.inf,
        tau_weight: float = math.inf,
        learn: Iterable[str] = (),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dtype = check_dtype(dtype)
        check_readout(readout, t_max, tau_weight)
        self.in_features = check_size(in_features, "in_features")
        self.out_features = check_size(out_features, "out_features")
        self.readout: Readout = readout
        self.t_max = float(t_max)
        self.tau_weight = float(tau_weight)
        constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
        register_constants(self, constants, learn, out_features, device=device, dtype=dtype)
        self.weight = nn.Parameter(
            torch.empty(out_features, in_features, device=device, dtype=dtype)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights from torch's global random generator.

        They are normal with a standard deviation of ``sqrt(in_features) c``, where ``c`` is
        `critical_weight`: coincident spikes of all inputs give peak voltages of standard deviation
        1. Their mean is 0, or ``2 c`` with ``readout="max"``, so that most voltages rise.
        """
        scale = self.critical_weight()
        if self.readout == "max":
            spiking_weights_(self.weight, scale.reshape(-1, 1), self.in_features)
        else:
            readout_weights_(self.weight, scale)

    def critical_weight(self) -> Tensor:
        """The weight with which coincident spikes of all inputs just raise the voltage by 1.

        **Returns:** float64, shape ``()`` or ``(out_features,)``.
        """
        return self.weight_scale(self.in_features)

    def weight_scale(self, spikes: float) -> Tensor:
        """The weight with which that many coincident spikes just raise the voltage by 1."""
        return critical_weight(spikes, self.tau_mem, self.tau_syn, 1.0)

    def forward(self, spikes: Tensor | Events) -> Tensor:
        out = functional.li(spikes, **self.arguments())
        self.note(spikes, out)
        self.remember_call(spikes, out)
        return out

    def arguments(self) -> dict[str, Any]:
        return {
            "weight": self.weight,
            **self.constants(),
            "readout": self.readout,
            "t_max": self.t_max,
            "tau_weight": self.tau_weight,
        }

    def note(self, arriving: Tensor | Events, out: Tensor, health: None = None) -> None:
        self.remember_silent(out)
        self.remember_late(arriving)

    @property
    def has_health(self) -> bool:
        """Only maxima can be without a gradient, and only hardware clips weights."""
        return self.readout == "max" or self._health is not None

    @torch.no_grad()
    def remember_silent(self, out: Tensor, weights: WeightFit | None = None) -> None:
        """Count in how many samples the maximum of each neuron's voltage is that of the beginning.

        **Arguments:** ``out``: what is read out, ``(..., out_features)``; ``weights``: on hardware,
        what became of the weights.
        """
        if self.readout != "max" and weights is None:
            self._health = None
            return
        samples = out.shape[:-1].numel()
        resting = (out == self.v_leak).reshape(samples, self.out_features)
        if self.readout != "max":
            resting = torch.zeros_like(resting)
        silent = resting.sum(dim=0, dtype=torch.int32)
        none = torch.zeros_like(silent)
        self.remember(samples, Health(silent, none, none), weights=weights)

    def trace(
        self, spikes: Tensor | Events, times: Tensor, *, quantity: Quantity = "voltage"
    ) -> Tensor:
        """Voltage, or current, at given times, differentiable.

        **Arguments:** ``spikes`` as in the forward; ``times``: when to look, seconds, shape
        ``(T,)`` or ``(..., T)``; ``quantity``: ``"voltage"``, or ``"current"``: the synaptic
        current, in units of the weights.

        **Returns:** voltages or currents, shape ``(..., out_features, T)``.
        """
        constants = self.constants()
        return functional.li_value(spikes, self.weight, times, **constants, quantity=quantity)

    def extra_repr(self) -> str:
        shaped = f", tau_weight={self.tau_weight:g}" if math.isfinite(self.tau_weight) else ""
        return (
            f"{self.in_features}, {self.out_features}, {constants_repr(self, LI_CONSTANTS)}, "
            f"readout={self.readout!r}, t_max={self.t_max:g}{shaped}"
        )

    def numbers(self) -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in ("readout", "t_max", "tau_weight")}
        return {**constant_numbers(self, LI_CONSTANTS), **settings}

    def constants(self) -> dict[str, Any]:
        """The neuron constants by name, as `functional.li` takes them."""
        return {name: getattr(self, name) for name in LI_CONSTANTS}
