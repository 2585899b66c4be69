"""What fits on a chip, and what does not, with the numbers."""

import math

import numpy as np

from ._effects import Effects
from .worker._contract import HardwareLimitError, Layer, Network


def circuits_of(layer: Layer, fan_in: int | None) -> int:
    """Number of neuron circuits that one neuron takes, each with ``fan_in`` signed inputs."""
    return 1 if fan_in is None else max(math.ceil(layer.inputs / fan_in), 1)


def check_size(network: Network, effects: Effects) -> None:
    """Check that there are circuits enough.

    **Raises:** `HardwareLimitError`.
    """
    needed = [layer.neurons * circuits_of(layer, effects.fan_in) for layer in network.layers]
    if effects.circuits is None or sum(needed) <= effects.circuits:
        return
    each = ", ".join(
        f"layer {k}: {layer.neurons} neurons with {layer.inputs} inputs take {count}"
        for k, (layer, count) in enumerate(zip(network.layers, needed, strict=True))
    )
    size = "" if effects.fan_in is None else f" of {effects.fan_in} inputs"
    raise HardwareLimitError(
        f"the network needs {sum(needed)} neuron circuits{size}, the chip has "
        f"{effects.circuits} ({each}); make it smaller, or run it in parts (hardware.Split)"
    )


def check_constants(network: Network, effects: Effects) -> None:
    """Check that the constants can be set.

    **Raises:** `HardwareLimitError` that names layer and neuron.
    """
    time, voltage = effects.tau_range, effects.membrane_range
    ranges = {"tau_mem": time, "tau_syn": time, "v_leak": voltage}
    spiking = {
        "v_threshold": voltage,
        "v_reset": voltage,
        "refractory": (effects.min_refractory, math.inf),
    }
    for k, layer in enumerate(network.layers):
        for name, (low, high) in {**ranges, **(spiking if layer.has_threshold else {})}.items():
            value = getattr(layer, name)
            wrong = (value < low) | (value > high)
            if not wrong.any():
                continue
            at = int(np.argmax(wrong))
            is_voltage = name.startswith("v_")
            unit = "" if is_voltage else " s of hardware time"
            remedy = "scale voltages and weights" if is_voltage else "is Scaling.time set?"
            if name == "refractory" and value[at] == 0:
                remedy = "set a refractory period, inf for one spike at most"
            raise HardwareLimitError(
                f"{name} must be from {low:g} to {high:g}{unit}, but layer {k} has "
                f"{name}[{at}] = {value[at]:g}; {remedy}"
            )
