"""Runs a stack of layers on a hardware backend; the model differentiates what was observed."""

import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from ..bridge import BridgeError
from ..jax_core import Events, hardware
from ._scaling import Scaling, WeightFit, warn_of_clipping, weight_fit
from ._straight_through import straight_through
from .functional import li, lif_observed
from .layers._overflow import report_overflow

if TYPE_CHECKING:
    from .layers._li import LI
    from .layers._lif import LIF


def check_backend(backend: Any, scaling: Any) -> hardware.Scaling:
    """Check a backend and its scaling; **returns** the latter, without scaling by default."""
    if not isinstance(backend, hardware.Backend):
        raise TypeError(
            f"backend must be None (the simulation) or have name, weight_limit and run(...) as "
            f"snn.hardware.Backend says, got {backend!r}"
        )
    if scaling is None:
        return Scaling()
    if not isinstance(scaling, hardware.Scaling):
        raise TypeError(
            f"scaling must be a snn.hardware.Scaling(weight, time), got {type(scaling).__name__}"
        )
    return scaling


def refuse_export(backend: hardware.Backend) -> None:
    """Raise `BridgeError` where torch makes a program of what runs on a backend."""
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        raise BridgeError(
            f"{backend.name} is hardware or what stands for it, which programs of torch.export and "
            f"ONNX cannot hold. Save the state_dict and build the module anew where it is loaded"
        )


@dataclass
class Stack:
    """Layers that run together, first to last, and a read-out of the last one's spikes.

    Delays are none of the backend's business: at most the first layer has an axonal delay and the
    last one, without a read-out, a dendritic one.
    """

    layers: list["LIF"] = field(default_factory=list)
    readout: "LI | None" = None

    @property
    def t_max(self) -> float:
        """The end that all share, seconds."""
        ends = [layer.t_max for layer in self.layers]
        if self.readout is not None:
            ends.append(self.readout.t_max)
            if math.isinf(ends[-1]):
                raise ValueError(
                    "LI.t_max must be finite to sample voltages on a backend; give it in seconds"
                )
        for end in ends:
            if end != ends[0]:
                raise ValueError(
                    f"layers that run on a backend together must share t_max, got {ends[0]:g} and "
                    f"{end:g} s"
                )
        return ends[0]

    def network(self, backend: hardware.Backend, scaling: hardware.Scaling) -> hardware.Network:
        """The layers in the units of the backend."""
        layers = []
        for k, module in enumerate([*self.layers, self.readout]):
            if module is None:
                continue
            if k < len(self.layers) - (self.readout is None) and self.layers[k].silent == "peak":
                raise ValueError(
                    f'layer {k} for {backend.name} has silent="peak", but pseudo spikes are for a '
                    f"loss, and no hardware sends them to another layer; leave silent out there"
                )
            make: Any = _hardware_readout if module is self.readout else _hardware_layer
            try:
                layers.append(make(module, backend.weight_limit, scaling))
            except ValueError as error:
                raise ValueError(f"layer {k} for {backend.name}: {error}") from error
        return hardware.Network(tuple(layers))


def run_stack(
    stack: Stack,
    spikes: Tensor | Events,
    backend: hardware.Backend,
    scaling: hardware.Scaling,
    *,
    internal: bool = False,
    count_missing: bool = False,
    voltage_samples: int | None = None,
) -> Tensor:
    """One run; **returns** the last layer's spikes or what is read out of them, differentiable.

    ``internal``: whether the spikes come from within the model, which may have delayed them beyond
    ``t_max``; they are dropped then, as the simulation does. In its own input they are an error.
    """
    refuse_export(backend)
    if not isinstance(spikes, Tensor):
        raise TypeError(
            f"on a backend, spikes must be a tensor of spike times (..., neurons, k), got "
            f"{type(spikes).__name__}; convert events with snn.spike_times_from_events"
        )
    layers, readout, t_max = stack.layers, stack.readout, stack.t_max
    passing = _arriving(stack, spikes, internal)
    leading, dtype = passing.shape[:-2], _numpy(passing.dtype)
    network = stack.network(backend, scaling)
    sent = _array(passing).reshape(-1, *passing.shape[-2:]) * np.asarray(scaling.time, dtype)
    looks = None if readout is None else look_times(readout, voltage_samples)
    when = {"voltage_times": None if looks is None else looks * scaling.time}
    seen = backend.run(network, sent, t_max * scaling.time, **when)
    hardware.check_observation(
        seen, network, len(sent), t_max * scaling.time, name=backend.name, **when
    )
    for k, layer in enumerate(layers):
        weight = used_weight(layer.dense_weight(), backend, scaling)
        fit = _checked_fit(layer, f"layer {k} on {backend.name}", backend, scaling)
        times = np.asarray(seen.spikes[k], np.float64) / scaling.time
        observed = _tensor(times.reshape(*leading, *times.shape[1:]), passing)
        arriving = passing
        passing = _observe(layer, arriving, weight, observed, seen, k, count_missing, fit)
        if k == len(layers) - 1 and readout is None:
            return layer.finish(arriving, passing, weight)
    if readout is None or looks is None or seen.voltages is None:
        return passing
    if not layers and seen.lost:
        warnings.warn(f"{backend.name} lost events: {dict(seen.lost)}", stacklevel=2)
    value = read_out(readout, np.asarray(seen.voltages[-1], np.float64), looks)
    modelled = li(
        passing,
        used_weight(readout.weight, backend, scaling),
        **readout.constants(),
        readout=readout.readout,
        t_max=t_max,
        tau_weight=readout.tau_weight,
    )
    what = f"layer {len(layers)} on {backend.name}"
    readout.remember_silent(modelled, _checked_fit(readout, what, backend, scaling))
    readout.remember_late(passing)
    readout.remember_call(passing, modelled)
    measured = _tensor(value.reshape(*leading, -1), passing)
    return straight_through(modelled, measured)


def _arriving(stack: Stack, spikes: Tensor, internal: bool) -> Tensor:
    """The spikes as they reach the first layer, without those delayed beyond the end."""
    delayed = cast(Tensor, stack.layers[0].delay_input(spikes)) if stack.layers else spikes
    late = delayed > stack.t_max
    return torch.where(late if internal else late & (spikes <= stack.t_max), math.inf, delayed)


def _observe(
    layer: "LIF",
    spikes: Tensor,
    weight: Tensor,
    observed: Tensor,
    seen: hardware.Observation,
    k: int,
    count_missing: bool,
    fit: WeightFit | None,
) -> Tensor:
    """The observed spikes of layer ``k`` with the model's gradients; its health is kept."""
    out, health = lif_observed(
        spikes,
        weight,
        observed,
        **layer.constants(),
        t_max=layer.t_max,
        gradient=layer.gradient,
        min_slope=layer.min_slope,
        count_missing=count_missing,
        return_health=True,
    )
    if seen.overflow is not None:
        overflow = np.array(seen.overflow[k], np.int32)
        health = health._replace(overflow=torch.as_tensor(overflow, device=out.device))
    samples = observed.shape[:-2].numel()
    lost = {what: count for what, count in seen.lost.items() if count} if k == 0 else None
    layer.remember(samples, health, lost, fit)
    layer.remember_late(spikes)
    layer.remember_call(spikes, out)
    report_overflow(health.overflow, layer.on_overflow, layer.max_spikes)
    return out


def look_times(readout: "LI", samples: int | None) -> np.ndarray:
    """When to sample the voltages of a read-out, seconds of the model, ``(T,)``."""
    if readout.readout == "value":
        return np.array([readout.t_max])
    return np.linspace(0, readout.t_max, samples or 2)


def read_out(readout: "LI", voltages: np.ndarray, looks: np.ndarray) -> np.ndarray:
    """From sampled voltages ``(batch, out, T)`` to one number per neuron."""
    if readout.readout == "value":
        return voltages[..., 0]
    if readout.readout == "max":
        return voltages.max(axis=-1)
    return np.trapezoid(voltages * np.exp(-looks / readout.tau_weight), looks, axis=-1)


def used_weight(weight: Tensor, backend: hardware.Backend, scaling: hardware.Scaling) -> Tensor:
    """The weights that the backend can have, in the model's unit, straight-through."""
    if backend.weight_limit is None:
        return weight
    whole = scaling.hardware_weight(_array(weight), backend.weight_limit)
    used = torch.as_tensor(whole / scaling.weight, dtype=weight.dtype, device=weight.device)
    return straight_through(weight, used)


def _checked_fit(
    layer: "LIF | LI", what: str, backend: hardware.Backend, scaling: hardware.Scaling
) -> WeightFit | None:
    """What becomes of the layer's weights; there is a warning if many are clipped."""
    if backend.weight_limit is None:
        return None
    fit = weight_fit(_array(layer.weight), scaling, backend.weight_limit)
    warn_of_clipping(fit, layer.health(), what, scaling, backend.weight_limit)
    return fit


def _hardware_layer(layer: "LIF", limit: int | None, scaling: hardware.Scaling) -> hardware.Layer:
    constants: dict[str, Any] = {
        name: np.asarray(_array(value) if isinstance(value, Tensor) else value, np.float64)
        for name, value in layer.constants().items()
    }
    for name in ("tau_mem", "tau_syn", "refractory"):
        constants[name] = constants[name] * scaling.time
    return hardware.Layer(
        scaling.hardware_weight(_array(layer.dense_weight()), limit),
        **constants,
        max_spikes=layer.max_spikes,
        weight_unit=1 / scaling.weight,
    )


def _hardware_readout(
    readout: "LI", limit: int | None, scaling: hardware.Scaling
) -> hardware.Layer:
    constants = {
        name: np.asarray(_array(value) if isinstance(value, Tensor) else value, np.float64)
        for name, value in readout.constants().items()
    }
    return hardware.Layer(
        scaling.hardware_weight(_array(readout.weight), limit),
        constants["tau_mem"] * scaling.time,
        constants["tau_syn"] * scaling.time,
        v_threshold=constants["v_leak"] + 1,
        v_leak=constants["v_leak"],
        v_reset=constants["v_leak"],
        refractory=np.zeros(()),
        max_spikes=0,
        has_threshold=False,
        weight_unit=1 / scaling.weight,
    )


def _tensor(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(array, dtype=like.dtype, device=like.device)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().numpy()


def _numpy(dtype: torch.dtype) -> Any:
    return np.float64 if dtype == torch.float64 else np.float32
