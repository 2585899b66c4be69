"""Runs a stack of LIF layers on a hardware backend; the model differentiates what it observed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ..jax_core import Events, hardware
from ._overflow import report_overflow
from .functional import lif_observed

if TYPE_CHECKING:
    from ._lif import LIF


class _StraightThrough(torch.autograd.Function):
    """The weights that the hardware has, with the gradient of those that are trained."""

    @staticmethod
    def forward(ctx: Any, trained: Tensor, used: Tensor) -> Tensor:
        return used.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def check_backend(backend: Any, scaling: Any) -> hardware.Scaling:
    """Check a backend and its scaling; **returns** the latter, without scaling by default."""
    if not isinstance(backend, hardware.Backend):
        raise TypeError(
            f"backend must be None (the simulation) or have name, weight_limit and run(...) as "
            f"snn.hardware.Backend says, got {backend!r}"
        )
    if scaling is None:
        return hardware.Scaling()
    if not isinstance(scaling, hardware.Scaling):
        raise TypeError(
            f"scaling must be a snn.hardware.Scaling(weight, time), got {type(scaling).__name__}"
        )
    return scaling


def run_stack(
    layers: Sequence["LIF"],
    spikes: Tensor | Events,
    backend: hardware.Backend,
    scaling: hardware.Scaling,
    *,
    count_missing: bool = False,
) -> Tensor:
    """One run of ``layers``, first to last; **returns** the last one's spikes, differentiable.

    Delays are none of the backend's business: at most the first layer has an axonal delay and the
    last one a dendritic one.
    """
    if not isinstance(spikes, Tensor):
        raise TypeError(
            f"on a backend, spikes must be a tensor of spike times (..., neurons, k), got "
            f"{type(spikes).__name__}; convert events with snn.spike_times_from_events"
        )
    t_max = layers[0].t_max
    for layer in layers:
        if layer.t_max != t_max:
            raise ValueError(
                f"layers that run on a backend together must share t_max, got {t_max:g} and "
                f"{layer.t_max:g} s"
            )
    passing = cast(Tensor, layers[0].delay_input(spikes))
    leading, dtype, device = passing.shape[:-2], passing.dtype, passing.device
    network = hardware_network(layers, backend, scaling)
    sent = _array(passing).reshape(-1, *passing.shape[-2:]) * np.asarray(
        scaling.time, _numpy(dtype)
    )
    duration = t_max * scaling.time
    seen = backend.run(network, sent, duration)
    hardware.check_observation(seen, network, len(sent), duration, name=backend.name)
    for k, layer in enumerate(layers):
        times = np.asarray(seen.spikes[k], np.float64) / scaling.time
        observed = torch.as_tensor(times, dtype=dtype, device=device)
        passing, health = lif_observed(
            passing,
            used_weight(layer.weight, backend, scaling),
            observed.reshape(*leading, *observed.shape[1:]),
            **layer.constants(),
            t_max=t_max,
            gradient=layer.gradient,
            min_slope=layer.min_slope,
            count_missing=count_missing,
            return_health=True,
        )
        if seen.overflow is not None:
            overflow = np.array(seen.overflow[k], np.int32)
            health = health._replace(overflow=torch.as_tensor(overflow, device=device))
        lost = {what: count for what, count in seen.lost.items() if count}
        layer.remember(len(sent), health, lost if layer is layers[-1] else None)
        report_overflow(health.overflow, layer.on_overflow, layer.max_spikes)
    return layers[-1].delay_output(passing)


def used_weight(weight: Tensor, backend: hardware.Backend, scaling: hardware.Scaling) -> Tensor:
    """The weights that the backend can have, in the model's unit, straight-through."""
    if backend.weight_limit is None:
        return weight
    whole = scaling.hardware_weight(_array(weight), backend.weight_limit)
    used = torch.as_tensor(whole / scaling.weight, dtype=weight.dtype, device=weight.device)
    result: Tensor = _StraightThrough.apply(weight, used)  # pyright: ignore[reportAssignmentType]
    return result


def hardware_network(
    layers: Sequence["LIF"], backend: hardware.Backend, scaling: hardware.Scaling
) -> hardware.Network:
    """The layers in the units of the backend."""
    return hardware.Network(
        tuple(_hardware_layer(layer, backend.weight_limit, scaling) for layer in layers)
    )


def _hardware_layer(layer: "LIF", limit: int | None, scaling: hardware.Scaling) -> hardware.Layer:
    constants: dict[str, Any] = {
        name: np.asarray(_array(value) if isinstance(value, Tensor) else value, np.float64)
        for name, value in layer.constants().items()
    }
    for name in ("tau_mem", "tau_syn", "refractory"):
        constants[name] = constants[name] * scaling.time
    return hardware.Layer(
        scaling.hardware_weight(_array(layer.weight), limit),
        **constants,
        max_spikes=layer.max_spikes,
        weight_unit=1 / scaling.weight,
    )


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


def _numpy(dtype: torch.dtype) -> Any:
    return np.float64 if dtype == torch.float64 else np.float32
