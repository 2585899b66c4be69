"""Layers of neurons that are given by their differential equation."""

from collections.abc import Callable, Mapping
from typing import Any, Unpack

import torch
from torch import Tensor

from ... import jax_core
from ...jax_core import Neuron
from ...jax_core.layer._spiking import check_finite
from ._model_layer import ModelLayer, ModelOptions


class ODELayer(ModelLayer):
    """The layers that `neuron` makes."""

    refractory = 0.0

    def __init__(
        self,
        in_features: int,
        out_features: int,
        functions: dict[str, Any],
        constants: Mapping[str, Any],
        critical_weight: float,
        options: ModelOptions,
    ) -> None:
        taken = sorted(name for name in constants if hasattr(ODELayer, name))
        if taken:
            raise ValueError(f"constants must have other names than {', '.join(taken)}, of a layer")
        self.functions = functions
        self.one_spike = critical_weight
        super().__init__(in_features, out_features, dict(constants), options)
        check_finite(self.t_max)

    def neuron(self) -> Neuron:
        return jax_core.ode_neuron(**self.functions, constants=self.constants())

    def height(self) -> Tensor:
        return torch.tensor(self.one_spike, dtype=torch.float64)

    def peak(self) -> Tensor:
        return torch.ones((), dtype=torch.float64)


def neuron(
    in_features: int,
    out_features: int,
    *,
    flow: Callable[[Any, dict[str, Any]], Any],
    threshold: Callable[[Any, dict[str, Any]], Any],
    jump: Callable[[Any, dict[str, Any]], Any],
    start: Any,
    receive: str | Callable[[Any, Any, dict[str, Any]], Any] = "i",
    constants: Mapping[str, Any] | None = None,
    critical_weight: float = 1.0,
    rtol: float | None = None,
    atol: float | None = None,
    max_step: float | None = None,
    max_steps: int = 4096,
    **options: Unpack[ModelOptions],
) -> ODELayer:
    """A layer of neurons whose motion has no closed form, given by functions of ``jax.numpy``.

    **Arguments:**

    - ``in_features``, ``out_features``: numbers of input and output neurons.
    - ``flow``, ``threshold``, ``jump``, ``start``, ``receive``, ``rtol``, ``atol``, ``max_step``,
      ``max_steps``: the neuron, see `jax_core.ode_neuron`; what is found of spikes, and with which
      tolerance, see `jax_core.ODENeuron`.
    - ``constants``: numbers or tensors ``(out_features,)`` by name, which become attributes; those
      that begin with ``tau_`` must be > 0.
    - ``critical_weight``: the weight with which one input spike just reaches the threshold, for
      initial weights.
    - ``options``: ``max_spikes``, ``t_max``, which must be finite, ``delay`` (``"axonal"``,
      ``"synaptic"`` or fixed), ``mask``, ``connections``, ``learn``, ``on_overflow``,
      ``min_slope``, ``device`` and ``dtype``, as of `LIF`.

    **Parameters:** ``weight``, ``(out_features, in_features)``, or ``(connections,)``; a learnable
    ``delay``; those named in ``learn``.

    **Shapes:** spike times ``(..., in_features, k)`` or ``Events`` ``(..., M)`` give spike times
    ``(..., out_features, max_spikes)``, ascending, ``inf`` where there is no spike, NaN of a neuron
    whose state gets infinite, or that needs more than ``max_steps`` steps.

    **Raises:** ``ImportError`` without diffrax (``pip install evtorch[ode]``).
    """
    functions = {
        "flow": flow,
        "threshold": threshold,
        "jump": jump,
        "start": start,
        "receive": receive,
        "rtol": rtol,
        "atol": atol,
        "max_step": max_step,
        "max_steps": max_steps,
    }
    return ODELayer(in_features, out_features, functions, constants or {}, critical_weight, options)
