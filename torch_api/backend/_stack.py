"""Stacks of layers that run on a backend together."""

import math
import warnings
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ...jax_core import Events, hardware
from ..functional import li
from ..layers._overflow import report_overflow
from ._layers import ReadOut, Spiking, array_of, hardware_layer, hardware_readout, used_weight
from ._run import Seen, differentiate, observe, refuse_export, tensor_like
from ._straight_through import straight_through
from ._weights import WeightFit, checked_fit


@dataclass
class Stack:
    """Layers that run together, first to last, and a read-out of the last one's spikes.

    Delays are none of the backend's business: at most the first layer has an axonal delay and the
    last one, without a read-out, a dendritic one.
    """

    layers: list[Spiking] = field(default_factory=list)
    readout: ReadOut | None = None

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
            make: Any = hardware_readout if module is self.readout else hardware_layer
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
    network = stack.network(backend, scaling)
    looks = None if readout is None else _look_times(readout, voltage_samples)
    run = observe(backend, network, passing, t_max, time=scaling.time, voltage_times=looks)
    for k, (layer, seen) in enumerate(zip(layers, run.layers, strict=False)):
        arriving, weight = passing, used_weight(layer, backend, scaling)
        what = f"layer {k} on {backend.name}"
        fit = checked_fit(array_of(layer.dense_weight()), layer.health(), what, backend, scaling)
        passing = _observed(layer, arriving, weight, seen, fit, count_missing)
        if k == len(layers) - 1 and readout is None:
            return layer.finish(arriving, passing, weight)
    if readout is None or looks is None or run.voltages is None:
        return passing
    if not layers and run.lost:
        warnings.warn(f"{backend.name} lost events: {dict(run.lost)}", stacklevel=2)
    what = f"layer {len(layers)} on {backend.name}"
    fit = checked_fit(array_of(readout.dense_weight()), readout.health(), what, backend, scaling)
    modelled = _modelled(readout, passing, used_weight(readout, backend, scaling), fit)
    voltages = np.asarray(run.voltages[-1], np.float64)
    value = _read_out(readout, voltages, looks).reshape(*modelled.shape)
    return straight_through(modelled, tensor_like(value, passing))


def _arriving(stack: Stack, spikes: Tensor, internal: bool) -> Tensor:
    """The spikes as they reach the first layer, without those delayed beyond the end."""
    delayed = cast(Tensor, stack.layers[0].delay_input(spikes)) if stack.layers else spikes
    late = delayed > stack.t_max
    return torch.where(late if internal else late & (spikes <= stack.t_max), math.inf, delayed)


def _observed(
    layer: Spiking,
    arriving: Tensor,
    weight: Tensor,
    seen: Seen,
    fit: WeightFit | None,
    count_missing: bool,
) -> Tensor:
    """The observed spikes of a layer with the model's gradients; their counts are kept."""
    out, health = differentiate(
        layer,
        arriving,
        weight,
        seen,
        fit,
        **layer.constants(),
        t_max=layer.t_max,
        gradient=layer.gradient,
        min_slope=layer.min_slope,
        solver=layer.solver,
        count_missing=count_missing,
    )
    layer.remember_late(arriving)
    layer.remember_call(arriving, out)
    report_overflow(health.overflow, layer.on_overflow, layer.max_spikes)
    return out


def _modelled(readout: ReadOut, spikes: Tensor, weight: Tensor, fit: WeightFit | None) -> Tensor:
    """What the model reads out of the observed spikes; its counts are kept."""
    modelled = li(
        spikes,
        weight,
        **readout.constants(),
        readout=readout.readout,
        t_max=readout.t_max,
        tau_weight=readout.tau_weight,
    )
    readout.remember_silent(modelled, fit)
    readout.remember_late(spikes)
    readout.remember_call(spikes, modelled)
    return modelled


def _look_times(readout: ReadOut, samples: int | None) -> np.ndarray:
    """When to sample the voltages of a read-out, seconds of the model, ``(T,)``."""
    if readout.readout == "value":
        return np.array([readout.t_max])
    return np.linspace(0, readout.t_max, samples or 2)


def _read_out(readout: ReadOut, voltages: np.ndarray, looks: np.ndarray) -> np.ndarray:
    """From sampled voltages ``(batch, out, T)`` to one number per neuron."""
    if readout.readout == "value":
        return voltages[..., 0]
    if readout.readout == "max":
        return voltages.max(axis=-1)
    return np.trapezoid(voltages * np.exp(-looks / readout.tau_weight), looks, axis=-1)
