"""Populations that spike, as the functions of continuous time take them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ....jax_core import AdaptiveLIF
from ... import functional


def simulation(neurons: Any, like: Tensor) -> Callable[..., Any]:
    """A layer of a population's neurons: a function of spikes, weights and options."""
    if neurons.adapts:
        return partial(functional.spiking, neuron=_adapting(neurons, like))
    return partial(functional.lif, **neurons.event_constants(like))


def joint_simulation(populations: Sequence[Any], like: Tensor) -> Callable[..., Any]:
    """A recurrent layer of the neurons of all populations, one after the other."""
    adapt = any(neurons.adapts for neurons in populations)
    each = [
        neurons.event_constants(like) | (neurons.adaptation(like) if adapt else {})
        for neurons in populations
    ]
    joint: dict[str, Any] = {}
    for name, first in each[0].items():
        values = [constants[name] for constants in each]
        if not any(isinstance(value, Tensor) for value in values) and len({*values}) == 1:
            joint[name] = first
            continue
        tensors = [torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in values]
        sizes = [neurons.size for neurons in populations]
        joint[name] = torch.cat([x.expand(n) for x, n in zip(tensors, sizes, strict=True)])
    if adapt:
        return partial(functional.recurrent_spiking, neuron=AdaptiveLIF(**joint))
    return partial(functional.recurrent_lif, **joint)


def voltages(neurons: Any, times: Tensor, weight: Tensor, out: Tensor, at: Tensor) -> Tensor:
    """Those of a population whose spikes ``out`` are known, ``(batch, neurons, T)``."""
    if neurons.adapts:
        return functional.spiking_trace(times, weight, _adapting(neurons, times), at, output=out)
    constants = neurons.event_constants(times)
    return functional.lif_observed_trace(times, weight, out, at, **constants)


def adaptations(neurons: Any, times: Tensor, weight: Tensor, out: Tensor, at: Tensor) -> Tensor:
    """The adaptation currents of a population that adapts, ``(batch, neurons, T)``."""
    given = times, weight, _adapting(neurons, times), at
    in_voltage = functional.spiking_trace(*given, output=out, quantity="w")
    return in_voltage * neurons.conductance().to(times).reshape(-1, 1)


def _adapting(neurons: Any, like: Tensor) -> AdaptiveLIF:
    return AdaptiveLIF(**neurons.event_constants(like), **neurons.adaptation(like))
