"""Populations and their synapses in the units of a backend."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....jax_core import hardware
from ..modules.types._projection import Projection
from ._hardware_plan import Stage

_VOLTAGES = ("v_threshold", "v_leak", "v_reset")
_RANGE = (-2.0, 3.0)
"""Voltages that the chip can have where a threshold is 1."""
_STEP = 0.01
"""What it can tell apart there."""


def scale_of(synapse: Projection) -> float:
    """Hardware weight per model weight, as the synapse's transform has it for small weights."""
    small = torch.tensor(1e-3, dtype=torch.float64)
    scale = float(synapse.weight_transform(small)) / 1e-3
    if not scale > 0:
        raise ValueError(f"{synapse.title}: its transform must grow with the weight")
    return scale


def shared_scale(stage: Stage) -> float:
    """The scale of all synapses of a population, whose weights have one unit on the chip."""
    scales = [scale_of(call.module) for call in stage.synapses]
    if max(scales) > (1 + 1e-6) * min(scales):
        raise ValueError(
            f"{stage.neurons.module.title}: on hardware, the transforms of its synapses must have "
            f"the same scale, got {', '.join(f'{scale:g}' for scale in scales)}"
        )
    return scales[0]


def hardware_weight(synapse: Projection, backend: hardware.Backend) -> np.ndarray:
    """The weights ``(out, in)`` that a backend is given, by the synapse's transform."""
    transformed = synapse.weight_transform(synapse.used_weight().detach().double())
    limit = backend.weight_limit
    if limit is not None:
        transformed = transformed.clamp(-limit, limit).round()
    return transformed.cpu().numpy()


def hardware_layer(
    stage: Stage, backend: hardware.Backend, like: Tensor, room: int
) -> hardware.Layer:
    """A population and its synapses in the units of a backend.

    **Arguments:** ``like``: has the dtype of the model; ``room``: spikes per neuron.
    """
    neurons = stage.neurons.module
    neurons.check_parameters()
    values: dict[str, Any] = {
        name: np.broadcast_to(
            np.asarray(x.detach().cpu() if isinstance(x, Tensor) else x), (neurons.size,)
        ).astype(np.float64)
        for name, x in neurons.event_constants(like).items()
    }
    # A weight is a current there, with a voltage of 1 / conductance; so, voltages become currents.
    conductance = neurons.conductance().detach().cpu().numpy().astype(np.float64)
    voltages = np.stack([values[name] * conductance for name in _VOLTAGES])
    # A reset at threshold is just below it in the model, and a step of the chip below it there.
    gap = 2e-6 * np.where(voltages[0] == 0, 1, np.abs(voltages[0]))
    is_at_threshold = voltages[0] - voltages[2] <= gap
    voltages, span = _in_range(voltages)
    voltages[2] = np.where(is_at_threshold, voltages[0] - _STEP, voltages[2])
    values |= dict(zip(_VOLTAGES, voltages, strict=True))
    weights = [hardware_weight(call.module, backend) for call in stage.synapses]
    return hardware.Layer(
        np.concatenate(weights, axis=1),
        **values,
        max_spikes=room,
        weight_unit=1 / (shared_scale(stage) * span),
    )


def _in_range(voltages: np.ndarray) -> tuple[np.ndarray, float]:
    """Voltages as they are, or from 0 to 1 if they are not of the size of a threshold of 1.

    hxtorch's defaults are in units of the chip's converter, 80 to 125.

    **Returns:** them, and what is now 1.
    """
    low, high = _RANGE
    if voltages.min() >= low and voltages.max() <= high:
        return voltages, 1.0
    span = float(np.ptp(voltages))
    return (voltages - voltages.min()) / span, span
