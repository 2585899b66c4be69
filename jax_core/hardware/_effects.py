"""What distinguishes a chip from the model, and the figures of BrainScaleS-2."""

import math
import numbers
from dataclasses import dataclass, fields
from typing import Any

_COUNTS = ("weight_limit", "circuits", "fan_in", "constant_bits", "cadc_bits")


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What distinguishes a chip from the model; each default is that of `MockBSS2`.

    Variations are standard deviations relative to the value, drawn once per chip and normally
    distributed (cut off at 0.2 times the value); noise is drawn anew in each run.
    """

    weight_limit: int | None = 63
    """Largest magnitude of the whole-numbered weights; ``None``: any float."""
    circuits: int | None = 512
    """Number of neuron circuits."""
    fan_in: int | None = 128
    """Signed inputs of a circuit; a neuron with more takes several circuits."""
    tau_range: tuple[float, float] = (5e-7, 1e-4)
    """Time constants that can be set, seconds."""
    constant_bits: int | None = 10
    """Resolution with which constants can be set: voltages over ``membrane_range``, the logarithm
    of time constants over ``tau_range``; ``None``: continuous. Calibration meets its limit here."""
    threshold_variation: float = 0.05
    """Of ``v_threshold - v_reset``, per neuron."""
    tau_mem_variation: float = 0.1
    tau_syn_variation: float = 0.1
    neuron_gain_variation: float = 0.1
    """Of the weights, per neuron."""
    synapse_gain_variation: float = 0.05
    """Of the weights, per synapse."""
    membrane_noise: float = 0.01
    """Relative standard deviation of ``v_threshold - v_reset``, per sample and neuron: stands for
    the noise of the membrane, which is taken as constant during a sample."""
    spike_jitter: float = 2e-8
    """Standard deviation of spike times, seconds."""
    link_resolution: float = 8e-9
    """Resolution of spike times, seconds; both ways."""
    link_rate: float = 250e6
    """Events per second, each way, on average over 1 µs, or over the time of one event if that is
    longer; events above it are lost. Recorded spikes of all layers share the link. Spikes from
    layer to layer do not use it."""
    min_refractory: float = 1e-6
    """Shortest refractory period, seconds."""
    recording_window: float = 1e-3
    """Later spikes are not recorded, seconds."""
    membrane_range: tuple[float, float] = (-2.0, 3.0)
    """Voltages that can be set and measured; measured ones beyond saturate, spikes do not care."""
    cadc_period: float = 1.7e-6
    """Time between two samples of a voltage, seconds; each holds until the next. 0: continuous."""
    cadc_bits: int | None = 8
    """Resolution of voltages over ``membrane_range``; ``None``: continuous."""

    def __post_init__(self) -> None:
        for name in _COUNTS:
            if getattr(self, name) is not None:
                check_count(getattr(self, name), name)
        for name in ("tau_range", "membrane_range"):
            object.__setattr__(self, name, _range(getattr(self, name), name))
        for field in fields(self):
            if field.name in (*_COUNTS, "tau_range", "membrane_range"):
                continue
            value = getattr(self, field.name)
            if field.name == "link_rate":
                fits, rule = value > 0, "> 0"
            elif field.name == "recording_window":
                fits, rule = value >= 0, ">= 0"
            else:
                fits, rule = 0 <= value < math.inf, ">= 0 and finite"
            if not fits:
                raise ValueError(f"{field.name} must be {rule}, got {value}")
        for name, needed in (
            ("constant_bits", ("tau_range", "membrane_range")),
            ("cadc_bits", ("membrane_range",)),
        ):
            for range_name in needed:
                low, high = getattr(self, range_name)
                infinite = math.isinf(high - low) or (range_name == "tau_range" and low <= 0)
                if getattr(self, name) is not None and infinite:
                    raise ValueError(
                        f"{name} needs a bounded {range_name}, got {(low, high)}; bound it, or "
                        f"leave {name}=None"
                    )


def check_count(value: object, name: str) -> None:
    """Refuse what is no whole number >= 1."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {value!r}")


def _range(value: Any, name: str) -> tuple[float, float]:
    try:
        low, high = (float(x) for x in value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be (low, high), got {value!r}") from None
    if not low < high:
        raise ValueError(f"{name} must be (low, high) with low < high, got {(low, high)}")
    return low, high


NO_EFFECTS = Effects(
    weight_limit=None,
    circuits=None,
    fan_in=None,
    tau_range=(0.0, math.inf),
    constant_bits=None,
    threshold_variation=0,
    tau_mem_variation=0,
    tau_syn_variation=0,
    neuron_gain_variation=0,
    synapse_gain_variation=0,
    membrane_noise=0,
    spike_jitter=0,
    link_resolution=0,
    link_rate=math.inf,
    min_refractory=0,
    recording_window=math.inf,
    membrane_range=(-math.inf, math.inf),
    cadc_period=0,
    cadc_bits=None,
)
