"""A software model of the BrainScaleS-2 chip, effect by effect."""

import math
from dataclasses import asdict, replace
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._lif import lif
from .._trace import lif_trace
from ._contract import Layer, Network, Observation, check_input, check_weights
from ._effects import NO_EFFECTS, Effects
from ._limits import check_constants, check_size, circuits_of
from ._link import limit_rate, round_times

_LINK_WINDOW = 1e-6
_SMALLEST_FACTOR = 0.2
_TIMES = ("tau_mem", "tau_syn")
_VOLTAGES = ("v_threshold", "v_leak", "v_reset")


class MockBSS2:
    """A BrainScaleS-2 chip in software: the model of `lif`, with the effects of `Effects`.

    Layers take the chip's neuron circuits one after the other, so that the same network always
    meets the same circuits, and signed weights two synapse rows each. The figures are those of
    publications on the chip where there are any, and estimates elsewhere; no chip was measured.

    **Arguments:** ``chip``: seed of the fixed variation; chips differ in nothing else. ``noise``:
    seed of the noise. All others as in `Effects`; `ideal` has no effect at all, and returns the
    spikes of the simulation to the last bit.
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
        times, seen, voltages, overflow = incoming[0], [], [], []
        circuit = 0
        with jax.enable_x64(spikes.dtype == np.float64):
            for layer in network.layers:
                built = self._build(layer, circuit, len(spikes), spikes.dtype)
                circuit += layer.neurons * circuits_of(layer, effects.fan_in)
                if voltage_times is not None:
                    voltages.append(self._voltages(layer, built, times, duration, voltage_times))
                times, over = self._spikes(layer, built, times, duration)
                seen.append(times)
                overflow.append(over)
        window = effects.recording_window
        late = [np.isfinite(layer) & (layer > window) for layer in seen]
        seen = [np.where(x, np.inf, layer) for x, layer in zip(late, seen, strict=True)]
        seen, lost_out = limit_rate(seen, effects.link_rate, _LINK_WINDOW)
        lost = {
            "input link": lost_in[0],
            "recording window": sum(int(x.sum()) for x in late),
            "output link": sum(lost_out),
        }
        return Observation(
            tuple(seen),
            tuple(voltages) if voltage_times is not None else None,
            {what: count for what, count in lost.items() if count},
            tuple(overflow),
        )

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
        # Numbers are compiled in, as torch modules do it, and select closed forms. On a chip whose
        # neurons differ anyway, one compiled function shall do for all voltages.
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

    def _spikes(
        self, layer: Layer, built: dict[str, Any], times: np.ndarray, duration: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Spike times and, per neuron, the number of samples with too many."""
        if not layer.has_threshold or layer.max_spikes == 0:
            none = np.zeros((len(times), layer.neurons, 0), times.dtype)
            return none, np.zeros(layer.neurons, int)
        out, overflow = _run(times, built, layer.max_spikes, float(duration))
        out = self._jitter(out)
        out = round_times(out, self.effects.link_resolution)
        return np.where(out > duration, np.inf, out).astype(times.dtype), overflow

    def _jitter(self, times: np.ndarray) -> np.ndarray:
        if not self.effects.spike_jitter:
            return times
        moved = times + self._noise.normal(0, self.effects.spike_jitter, times.shape)
        return np.sort(np.maximum(moved, 0).astype(times.dtype), axis=-1)

    def _voltages(
        self,
        layer: Layer,
        built: dict[str, Any],
        times: np.ndarray,
        duration: float,
        voltage_times: np.ndarray,
    ) -> np.ndarray:
        effects = self.effects
        looks = np.asarray(voltage_times, np.float64)
        if effects.cadc_period:
            looks = np.floor(looks / effects.cadc_period) * effects.cadc_period
        voltages = _trace(
            times, built, looks.astype(times.dtype), max(layer.max_spikes, 1), float(duration)
        )
        low, high = effects.membrane_range
        voltages = np.clip(voltages, low, high)
        if effects.cadc_bits is not None:
            voltages = _round_between(voltages, low, high, 2**effects.cadc_bits - 1)
        return voltages


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


def _split(built: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Arrays, numbers, and whether thresholds differ from sample to sample."""
    arrays = {name: x for name, x in built.items() if isinstance(x, np.ndarray)}
    numbers = {name: x for name, x in built.items() if name not in arrays}
    return arrays, numbers, np.ndim(built["v_threshold"]) == 2


def _run(
    times: np.ndarray, built: dict[str, Any], max_spikes: int, duration: float
) -> tuple[np.ndarray, np.ndarray]:
    arrays, numbers, is_noisy = _split(built)
    settings = {**numbers, "max_spikes": max_spikes, "t_max": duration}
    out, overflow = _run_compiled(times, arrays, tuple(settings.items()), is_noisy)
    return np.asarray(out), np.asarray(overflow)


@partial(jax.jit, static_argnums=(2, 3))
def _run_compiled(
    times: Array, arrays: dict[str, Array], settings: tuple[tuple[str, Any], ...], is_noisy: bool
) -> tuple[Array, Array]:
    def run(times: Array, arrays: dict[str, Array]) -> tuple[Array, Array]:
        given: dict[str, Any] = {**arrays, **dict(settings)}
        weight = given.pop("weight")
        out, health = lif(times, weight, **given, return_health=True, validate=False)
        return out, health.overflow

    if not is_noisy:
        return run(times, arrays)
    axes = {name: 0 if name == "v_threshold" else None for name in arrays}
    out, overflow = jax.vmap(run, in_axes=(0, axes))(times, arrays)
    return out, jnp.sum(overflow, axis=0)


def _trace(
    times: np.ndarray, built: dict[str, Any], looks: np.ndarray, max_spikes: int, duration: float
) -> np.ndarray:
    arrays, numbers, is_noisy = _split(built)
    settings = {**numbers, "max_spikes": max_spikes, "t_max": duration, "on_overflow": "truncate"}
    weight, threshold = arrays.pop("weight"), arrays.pop("v_threshold", None)

    def sample(times: Any, threshold: Any) -> Array:
        given = {} if threshold is None else {"v_threshold": threshold}
        return lif_trace(
            times, weight, jnp.asarray(looks), **arrays, **given, **settings, validate=False
        )

    if is_noisy:
        return np.asarray(jax.vmap(sample)(jnp.asarray(times), jnp.asarray(threshold)))
    return np.asarray(sample(times, threshold))
