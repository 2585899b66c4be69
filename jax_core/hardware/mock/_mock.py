"""A software model of the BrainScaleS-2 chip, effect by effect."""

import json
import math
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from .._effects import NO_EFFECTS, Effects
from .._limits import check_constants, check_size, circuits_of
from ..worker._contract import (
    HardwareLimitError,
    Layer,
    Network,
    Observation,
    check_input,
    check_weights,
)
from ._link import limit_rate, round_times
from ._run import check_ends, simulate, trace

_LINK_WINDOW = 1e-6
_SMALLEST_FACTOR = 0.2
_MORE_ROOM = 8
_MOST_ROOM = 2**14
_TIMES = ("tau_mem", "tau_syn")
_VOLTAGES = ("v_threshold", "v_leak", "v_reset")


class MockBSS2:
    """A BrainScaleS-2 chip in software: the model of `lif`, with the effects of `Effects`.

    Layers take the chip's neuron circuits one after the other, so that the same network always
    meets the same circuits, and signed weights two synapse rows each. The figures are those of
    publications on the chip where there are any, and estimates elsewhere; no chip was measured.

    **Arguments:** ``chip``: seed of the fixed variation; chips differ in nothing else. ``noise``:
    seed of the noise. All others as in `Effects`; `ideal` has no effect at all, and returns the
    spikes of the simulation to the last bit, unless a neuron has more than ``max_spikes``: a chip
    passes all spikes on to the next layer, the simulation the first ones.
    """

    def __init__(self, chip: int = 0, *, noise: int = 0, **effects: Any) -> None:
        self._setup(chip, noise, Effects(**effects))

    @classmethod
    def ideal(cls, **effects: Any) -> "MockBSS2":
        """A chip without any effect and limit, but those given."""
        mock = cls.__new__(cls)
        mock._setup(0, 0, Effects(**{**asdict(NO_EFFECTS), **effects}))
        return mock

    def _setup(self, chip: int, noise: int, effects: Effects) -> None:
        self.name = f"MockBSS2 chip {chip}"
        self.chip = chip
        self.effects = effects
        self.weight_limit = effects.weight_limit
        self._differs = bool(
            effects.threshold_variation
            or effects.tau_mem_variation
            or effects.tau_syn_variation
            or effects.membrane_noise
        )
        self._noise = np.random.default_rng((chip, noise, 1))
        self._rooms: dict[tuple[int, ...], int] = {}

    def state_dict(self) -> dict[str, str]:
        """The state of the noise, for a checkpoint after which it goes on as it would have."""
        return {"noise": json.dumps(self._noise.bit_generator.state)}

    def load_state_dict(self, state_dict: dict[str, str]) -> None:
        """Go on with the noise of a `state_dict`."""
        self._noise.bit_generator.state = json.loads(state_dict["noise"])

    def run(
        self,
        network: Network,
        spikes: np.ndarray,
        duration: float,
        *,
        voltage_times: np.ndarray | None = None,
    ) -> Observation:
        """Run a batch; see `Backend.run`."""
        effects = self.effects
        check_input(network, spikes, duration, voltage_times=voltage_times)
        if effects.weight_limit is not None:
            check_weights(network, effects.weight_limit)
        check_size(network, effects)
        check_constants(network, effects)
        incoming, lost_in = limit_rate(
            [round_times(spikes, effects.link_resolution)], effects.link_rate, _LINK_WINDOW
        )
        times, seen, voltages, after_end, saturated = incoming[0], [], [], 0, 0
        circuit = 0
        with jax.enable_x64(spikes.dtype == np.float64):
            for k, layer in enumerate(network.layers):
                built = self._build(layer, circuit, len(spikes), spikes.dtype)
                circuit += layer.neurons * circuits_of(layer, effects.fan_in)
                exact = self._simulate(k, layer, built, times, duration)
                if voltage_times is not None:
                    recorded, beyond = self._voltages(built, times, exact, voltage_times)
                    voltages.append(recorded)
                    # Of neurons that spike, voltages are for looking at; of read-outs, the result.
                    saturated += 0 if layer.has_threshold else beyond
                times = round_times(self._jitter(exact), effects.link_resolution)
                late = np.isfinite(times) & (times > duration)
                after_end += int(late.sum())
                times = np.where(late, np.inf, times).astype(spikes.dtype)
                seen.append(times)
        recorded, lost_out = self._record(seen)
        lost = {"input link": lost_in[0], "end of the run": after_end, **lost_out}
        lost["membrane range"] = saturated
        returned = [_first(x, y.max_spikes) for x, y in zip(recorded, network.layers, strict=True)]
        return Observation(
            tuple(first for first, _ in returned),
            tuple(voltages) if voltage_times is not None else None,
            {what: count for what, count in lost.items() if count},
            tuple(overflow for _, overflow in returned),
        )

    def _record(self, layers: list[np.ndarray]) -> tuple[list[np.ndarray], dict[str, int]]:
        """The spikes that reach the host, and the number of others by what lost them."""
        window = self.effects.recording_window
        late = [np.isfinite(layer) & (layer > window) for layer in layers]
        layers = [np.where(x, np.inf, layer) for x, layer in zip(late, layers, strict=True)]
        layers, lost = limit_rate(layers, self.effects.link_rate, _LINK_WINDOW)
        return layers, {
            "recording window": sum(int(x.sum()) for x in late),
            "output link": sum(lost),
        }

    def _build(self, layer: Layer, circuit: int, batch: int, dtype: np.dtype) -> dict[str, Any]:
        """The layer as the chip has it: ``weight`` and constants, as `lif` takes them."""
        effects, joined = self.effects, circuits_of(layer, self.effects.fan_in)
        layer = self._settable(layer)
        own = circuit + joined * np.arange(layer.neurons)
        weight = layer.weight * layer.weight_unit
        if effects.neuron_gain_variation:
            weight = weight * self._vary("gain", effects.neuron_gain_variation, own)[:, None]
        if effects.synapse_gain_variation:
            width = effects.fan_in or layer.inputs
            place = own[:, None] * width + np.arange(layer.inputs)
            weight = weight * self._vary("synapse", effects.synapse_gain_variation, place)
        built = {
            "tau_mem": layer.tau_mem * self._vary("tau_mem", effects.tau_mem_variation, own),
            "tau_syn": layer.tau_syn * self._vary("tau_syn", effects.tau_syn_variation, own),
            "v_threshold": self._thresholds(layer, own, batch),
            "v_leak": layer.v_leak,
            "v_reset": layer.v_reset,
            "refractory": layer.refractory,
        }
        # Numbers select closed forms, as those of torch modules do. On a chip whose neurons differ
        # anyway, one compiled function shall do for all voltages.
        constants = {
            name: value.astype(dtype)
            if self._differs and name in _VOLTAGES
            else _number_if_equal(value, dtype)
            for name, value in built.items()
        }
        return {"weight": weight.astype(dtype), **constants}

    def _settable(self, layer: Layer) -> Layer:
        """The layer with constants rounded to what can be set."""
        effects = self.effects
        if effects.constant_bits is None:
            return layer
        steps = 2**effects.constant_bits - 1
        low, high = (math.log(tau) for tau in effects.tau_range)
        rounded = {
            name: np.exp(_round_between(np.log(getattr(layer, name)), low, high, steps))
            for name in _TIMES
        }
        for name in _VOLTAGES:
            rounded[name] = _round_between(getattr(layer, name), *effects.membrane_range, steps)
        return replace(layer, **rounded)

    def _thresholds(self, layer: Layer, own: np.ndarray, batch: int) -> np.ndarray:
        effects = self.effects
        if not layer.has_threshold:
            return np.full(layer.neurons, 1e30)
        if not (effects.threshold_variation or effects.membrane_noise):
            return layer.v_threshold
        height = layer.v_threshold - layer.v_reset
        height = height * self._vary("threshold", effects.threshold_variation, own)
        if effects.membrane_noise:
            noise = self._noise.normal(1, effects.membrane_noise, (batch, layer.neurons))
            height = height * np.maximum(noise, _SMALLEST_FACTOR)
        return layer.v_reset + height

    def _vary(self, what: str, deviation: float, place: np.ndarray) -> np.ndarray:
        """Fixed factors of this chip at each ``place``."""
        if not deviation or not place.size:
            return np.ones(place.shape)
        return _factors(self.chip, what, deviation, int(place.max()) + 1)[place]

    def _simulate(
        self, k: int, layer: Layer, built: dict[str, Any], times: np.ndarray, duration: float
    ) -> np.ndarray:
        """All spikes of layer ``k``, in as many places as the most active neuron needs."""
        if not layer.has_threshold:
            return np.zeros((len(times), layer.neurons, 0), times.dtype)
        if math.isinf(duration):
            check_ends(k, built)
        key = (k, layer.neurons, layer.inputs)
        room = max(layer.max_spikes, self._rooms.get(key, 1))
        while True:
            out, overflows = simulate(times, built, room, float(duration))
            if not overflows:
                return out
            if room > _MOST_ROOM // 2:
                raise HardwareLimitError(
                    f"a neuron of layer {k} has more than {room} spikes in a sample; give it a "
                    f"refractory period, smaller weights, or shorter samples (t_max)"
                )
            # Each size is compiled, so later runs begin with the one that sufficed.
            room = self._rooms[key] = max(2 * room, _MORE_ROOM)

    def _jitter(self, times: np.ndarray) -> np.ndarray:
        if not self.effects.spike_jitter:
            return times
        moved = times + self._noise.normal(0, self.effects.spike_jitter, times.shape)
        return np.sort(np.maximum(moved, 0).astype(times.dtype), axis=-1)

    def _voltages(
        self,
        built: dict[str, Any],
        times: np.ndarray,
        own: np.ndarray,
        voltage_times: np.ndarray,
    ) -> tuple[np.ndarray, int]:
        """What is recorded of the voltages, given the neurons' ``own`` spikes.

        **Returns:** it, and the number of samples that saturated.
        """
        effects = self.effects
        looks = np.asarray(voltage_times, np.float64)
        if effects.cadc_period:
            looks = np.floor(looks / effects.cadc_period) * effects.cadc_period
        voltages = trace(times, built, own, looks.astype(times.dtype))
        low, high = effects.membrane_range
        beyond = int(np.count_nonzero((voltages < low) | (voltages > high)))
        voltages = np.clip(voltages, low, high)
        if effects.cadc_bits is not None:
            voltages = _round_between(voltages, low, high, 2**effects.cadc_bits - 1)
        return voltages, beyond


@lru_cache(maxsize=256)
def _factors(chip: int, what: str, deviation: float, count: int) -> np.ndarray:
    drawn = np.random.default_rng((chip, *what.encode())).normal(1, deviation, count)
    return np.maximum(drawn, _SMALLEST_FACTOR)


def _round_between(values: np.ndarray, low: float, high: float, steps: int) -> np.ndarray:
    """Values rounded to ``steps`` equal steps from ``low`` to ``high``."""
    step = (high - low) / steps
    return low + np.round((values - low) / step) * step


def _number_if_equal(value: np.ndarray, dtype: np.dtype) -> float | np.ndarray:
    if value.size and np.all(value == value.flat[0]):
        return float(value.flat[0])
    return value.astype(dtype)


def _first(times: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first ``count`` spikes, and in how many samples each neuron has more."""
    room = max(count - times.shape[-1], 0)
    times = np.pad(times, ((0, 0), (0, 0), (0, room)), constant_values=np.inf)
    return times[..., :count], np.isfinite(times[..., count:]).any(axis=-1).sum(axis=0)
