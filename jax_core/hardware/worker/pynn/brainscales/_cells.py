"""A layer's constants as parameters of the cell types of ``pynn_brainscales``. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..._contract import HardwareLimitError, Layer, Network

WEIGHT_LIMIT = 63
_CIRCUITS = 512
_FAN_IN = 128
_MICROSECONDS = 1e6  # per second

# Ranges that CalibHXNeuronCuba documents: voltages in units of the calibration, times in µs.
_RANGES = {
    "v_rest": (50, 160),
    "v_reset": (50, 160),
    "v_thresh": (50, 220),
    "tau_m": (0.5, 60),
    "tau_syn_E": (0.3, 30),
    "tau_syn_I": (0.3, 30),
    "tau_refrac": (0.04, 32),
}
_SYNAPSE_RANGES = {
    "cm": (0, 63),
    "i_synin_gm_E": (30, 800),
    "i_synin_gm_I": (30, 800),
    "synapse_dac_bias": (30, 1022),
}
_TOLERANCE = 1e-3


def check_fits(network: Network) -> None:
    """Refuse networks that one chip cannot hold, and read-outs, since every neuron spikes.

    Raises:
        HardwareLimitError: It says which layer and how much there is.
    """
    neurons = [layer.neurons for layer in network.layers]
    if sum(neurons) > _CIRCUITS:
        raise HardwareLimitError(
            f"the chip has {_CIRCUITS} neuron circuits, but the layers have"
            f" {' + '.join(map(str, neurons))} = {sum(neurons)} neurons"
        )
    for k, layer in enumerate(network.layers):
        if layer.inputs > _FAN_IN:
            raise HardwareLimitError(
                f"a neuron circuit has {_FAN_IN} signed inputs, but layer {k} has {layer.inputs}"
            )
        if not layer.has_threshold:
            raise HardwareLimitError(
                f"layer {k} has no threshold: this backend cannot read voltages, so compute"
                " read-outs in software"
            )


def calibration_targets(
    k: int, layer: Layer, duration: float, voltage_zero: float, voltage_unit: float
) -> dict[str, np.ndarray]:
    """Parameters of ``CalibHXNeuronCuba`` for layer ``k``, one value per neuron.

    A refractory period ends with the sample's duration, so that it does not reach into the next,
    and lasts 0.04 µs at least.

    Raises:
        HardwareLimitError: It names layer, neuron, value and range.
    """
    volts = {
        "v_rest": layer.v_leak,
        "v_reset": layer.v_reset,
        "v_thresh": layer.v_threshold,
    }
    seconds = {
        "tau_m": layer.tau_mem,
        "tau_syn_E": layer.tau_syn,
        "tau_syn_I": layer.tau_syn,
        "tau_refrac": np.minimum(layer.refractory, duration),
    }
    targets = {name: np.round(voltage_zero + voltage_unit * v) for name, v in volts.items()}
    targets |= {name: _MICROSECONDS * time for name, time in seconds.items()}
    shortest = _RANGES["tau_refrac"][0]
    targets["tau_refrac"] = np.maximum(targets["tau_refrac"], shortest)
    for name, values in targets.items():
        low, high = _RANGES[name]
        wrong = (values < low * (1 - 1e-9)) | (values > high * (1 + 1e-9))
        if wrong.any():
            at = int(np.argmax(wrong))
            unit = " µs" if name.startswith("tau") else ""
            raise HardwareLimitError(
                f"layer {k}: neuron {at} needs {name} = {values[at]:g}{unit}, but neurons can be"
                f" calibrated to {low} to {high}{unit}"
            )
    return targets


def check_synapses(synapses: Mapping[str, float]) -> None:
    """Check settings that all neurons share.

    Raises:
        ValueError: One is unknown or out of range.
    """
    for name, value in synapses.items():
        if name not in _SYNAPSE_RANGES:
            raise ValueError(f"synapses may set {', '.join(_SYNAPSE_RANGES)}, got {name!r}")
        low, high = _SYNAPSE_RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"synapses: {name} must be from {low} to {high}, got {value}")


def check_constants(k: int, layer: Layer, duration: float, constants: Mapping[str, float]) -> None:
    """Refuse a layer whose constants are not those that the chip was calibrated for.

    Raises:
        HardwareLimitError: It names layer, neuron and both values.
    """
    for name, value in constants.items():
        own, calibrated = getattr(layer, name), float(value)
        if name == "refractory":
            own, calibrated = np.minimum(own, duration), min(calibrated, duration)
        wrong = ~np.isclose(own, calibrated, rtol=_TOLERANCE, atol=0)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise HardwareLimitError(
                f"layer {k}: neuron {at} has {name} = {own[at]:g}, but the chip is calibrated for"
                f" {calibrated:g}"
            )
