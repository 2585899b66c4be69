"""Checks of what layers take beside spikes, weights and constants: currents, states, ports."""

from typing import Any

import numpy as np

from ._validate import check_float, check_same_dtype, known, refuse


def check_ports(ports: Any, inputs: int, name: str = "ports") -> np.ndarray:
    """Check through which kind of synapses each input neuron acts; **returns** int32 ``(in,)``."""
    ports = np.asarray(ports)
    if ports.dtype.kind not in "iu" or ports.shape != (inputs,) or (ports < 0).any():
        raise ValueError(
            f"{name} must be whole numbers >= 0, one per input neuron, shape ({inputs},), got "
            f"{ports.dtype} of shape {ports.shape}"
        )
    return ports.astype(np.int32)


def check_per_neuron(
    value: Any, name: str, shape: tuple[int, ...], dtype: Any, *, infinite: bool, values: bool
) -> None:
    """Check something that each neuron of each sample has, of the shape ``(..., out)``."""
    check_float(value, name, f"an array of shape {shape}")
    check_same_dtype(value, dtype, name)
    if tuple(value.shape) != shape:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, but one value per neuron is {shape}; it must "
            f"be of this layer and of as many samples"
        )
    if values and known(value):
        checked = np.asarray(value)
        refuse(np.isnan(checked), checked, name, "must not be NaN", "replace it")
        if not infinite:
            refuse(np.isinf(checked), checked, name, "must be finite", "replace it")


def check_not_negative(value: Any, name: str) -> None:
    """Check that values, if known, are >= 0."""
    if known(value):
        checked = np.asarray(value)
        refuse(checked < 0, checked, name, "must be >= 0", "choose 0 or a positive value")
