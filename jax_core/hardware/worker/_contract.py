"""What a hardware backend is given, and what it returns. Only NumPy is needed to write one.

All times are seconds of hardware time. Voltages have the model's unit, in which one unit of weight
makes a synaptic current of ``weight_unit``.
"""

import itertools
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

# Times may have been rounded to float32 on their way.
_ROUNDING = 1 + 4 * float(np.finfo(np.float32).eps)
_CONSTANTS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")


class BackendError(RuntimeError):
    """A backend failed, or returned what no hardware can have observed."""


class HardwareLimitError(ValueError):
    """A network, or its input, is beyond what a piece of hardware can do."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of neurons, fully connected to the layer before it (the first: to the input).

    Each obeys ``tau_mem dV/dt = v_leak - V + I``, ``tau_syn dI/dt = -I``; a spike of presynaptic
    neuron ``i`` adds ``weight_unit * weight[:, i]`` to ``I``; at ``v_threshold`` the neuron spikes
    and stays at ``v_reset`` for the time ``refractory``. Each sample starts with ``I = 0`` and the
    neuron at rest, ``V = v_leak``; but at ``v_reset`` if ``v_leak >= v_threshold``, from where it
    spikes without input.

    Constants may be given as numbers; they become arrays ``(out,)``.
    """

    weight: np.ndarray
    """Float64 ``(out, in)``; whole numbers if the backend has a ``weight_limit``."""
    tau_mem: np.ndarray
    """Membrane time constants, seconds, float64 ``(out,)``, > 0."""
    tau_syn: np.ndarray
    """Synaptic time constants, seconds, float64 ``(out,)``, > 0."""
    v_threshold: np.ndarray
    """Thresholds, float64 ``(out,)``."""
    v_leak: np.ndarray
    """Leak potentials, float64 ``(out,)``."""
    v_reset: np.ndarray
    """Reset potentials, float64 ``(out,)``, below the thresholds."""
    refractory: np.ndarray
    """Refractory periods, seconds, float64 ``(out,)``, >= 0; ``inf``: spikes once at most."""
    max_spikes: int = 1
    """How many spikes of each neuron to return, the first ones; the next layer gets all."""
    has_threshold: bool = True
    """``False`` for leaky integrators, which never spike."""
    weight_unit: float = 1.0
    """Synaptic current that a weight of 1 makes, > 0."""

    def __post_init__(self) -> None:
        weight = np.array(self.weight, np.float64)
        if weight.ndim != 2:
            raise ValueError(f"weight must be finite and (out, in), got shape {weight.shape}")
        _check_finite_weight(weight)
        object.__setattr__(self, "weight", _frozen(weight))
        for name in _CONSTANTS:
            value = np.array(getattr(self, name), np.float64)
            if value.shape not in ((), weight.shape[:1]):
                raise ValueError(
                    f"{name} must be a number or have shape {weight.shape[:1]}, got {value.shape}"
                )
            object.__setattr__(self, name, _frozen(np.broadcast_to(value, weight.shape[:1]).copy()))
        self._check_values()

    def _check_values(self) -> None:
        for name in _CONSTANTS:
            value = getattr(self, name)
            positive = name in ("tau_mem", "tau_syn")
            if positive:
                wrong, rule = ~((value > 0) & np.isfinite(value)), "finite and > 0"
            elif name == "refractory":
                wrong, rule = ~(value >= 0), ">= 0"
            else:
                wrong, rule = ~np.isfinite(value), "finite"
            if wrong.any():
                at = int(np.argmax(wrong))
                raise ValueError(f"{name} must be {rule}, but {name}[{at}] = {value[at]}")
        wrong = self.v_reset >= self.v_threshold
        if self.has_threshold and wrong.any():
            at = int(np.argmax(wrong))
            raise ValueError(
                f"v_reset must be below v_threshold, but v_reset[{at}] = {self.v_reset[at]} and "
                f"v_threshold[{at}] = {self.v_threshold[at]}"
            )
        if self.max_spikes < 0:
            raise ValueError(f"max_spikes must be >= 0, got {self.max_spikes}")
        if not 0 < self.weight_unit < math.inf:
            raise ValueError(f"weight_unit must be finite and > 0, got {self.weight_unit}")

    @property
    def inputs(self) -> int:
        """Number of presynaptic neurons."""
        return self.weight.shape[1]

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.weight.shape[0]


@dataclass(frozen=True, eq=False)
class Network:
    """A feed-forward stack of layers."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise ValueError("a network needs one layer at least")
        for k, (before, after) in enumerate(itertools.pairwise(self.layers)):
            if after.inputs != before.neurons:
                raise ValueError(
                    f"layer {k + 1} has {after.inputs} inputs, but layer {k} has {before.neurons} "
                    f"neurons"
                )


@dataclass(frozen=True, eq=False)
class Observation:
    """What the hardware did in one run, for a whole batch."""

    spikes: tuple[np.ndarray, ...]
    """Per layer: spike times, seconds, float ``(batch, out, max_spikes)``, ascending, padded with
    ``inf``. Times count from the start of each sample."""
    voltages: tuple[np.ndarray, ...] | None = None
    """Per layer, if ``voltage_times`` were asked for: membrane voltages ``(batch, out, T)``."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Number of events that were lost, by what lost them; they are missing in ``spikes``. Also of
    voltages of read-outs that were beyond what can be recorded, and are cut off there."""
    overflow: tuple[np.ndarray, ...] | None = None
    """Per layer: in how many samples each neuron had more than ``max_spikes`` spikes, integers
    ``(out,)``; ``None`` if no neuron had."""


@runtime_checkable
class Backend(Protocol):
    """A piece of hardware, or what stands for it."""

    name: str
    """For messages and reports."""
    weight_limit: int | None
    """Largest magnitude of a weight, which must then be whole numbers; ``None``: any float."""

    def run(
        self,
        network: Network,
        spikes: np.ndarray,
        duration: float,
        *,
        voltage_times: np.ndarray | None = None,
    ) -> Observation:
        """Run a batch.

        **Arguments:**

        - ``network``: what to run; it may change between calls.
        - ``spikes``: input spike times, seconds, float32 or float64 ``(batch, in, k)``, ascending,
          padded with ``inf``.
        - ``duration``: length of each sample, seconds; ``inf`` if the model sets none, which a
          backend that needs a finite one refuses.
        - ``voltage_times``: when to sample the membrane voltages, seconds, ``(T,)``.
        """
        ...


@dataclass(frozen=True)
class Scaling:
    """Factors between a model and the hardware that runs it.

    ``weight``: hardware weight per unit of model weight. ``time``: seconds of hardware time per
    second of model time; 1e-3 where 10 ms in the model are 10 µs on the chip.
    """

    weight: float = 1.0
    time: float = 1.0

    def __post_init__(self) -> None:
        for name in ("weight", "time"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be finite and > 0, got {value}")

    def hardware_weight(self, weight: np.ndarray, limit: int | None) -> np.ndarray:
        """Weights on the scale of the hardware, rounded and clipped to ``limit`` if there is one.

        **Returns:** float64, the shape of ``weight``.

        **Raises:** ``ValueError`` for weights that are not finite.
        """
        _check_finite_weight(weight)
        scaled = np.asarray(weight, np.float64) * self.weight
        return scaled if limit is None else np.round(np.clip(scaled, -limit, limit))


def check_input(
    network: Network,
    spikes: np.ndarray,
    duration: float,
    *,
    voltage_times: np.ndarray | None = None,
) -> None:
    """Check the arguments of `Backend.run`; to be called by backends.

    **Raises:** ``ValueError`` or ``TypeError`` that names the argument and the place.
    """
    if not duration > 0:
        raise ValueError(f"duration must be > 0 seconds, got {duration}")
    if voltage_times is not None:
        _check_looks(voltage_times, duration)
    if not isinstance(spikes, np.ndarray) or spikes.dtype not in (np.float32, np.float64):
        kind = spikes.dtype if isinstance(spikes, np.ndarray) else type(spikes).__name__
        raise TypeError(f"spikes must be an array of float32 or float64, got {kind}")
    inputs = network.layers[0].inputs
    if spikes.ndim != 3 or spikes.shape[1] != inputs:
        raise ValueError(
            f"spikes must have shape (batch, {inputs}, k), as layer 0 has {inputs} inputs; got "
            f"{spikes.shape}"
        )
    problem = problem_of_times(spikes, duration)
    if problem:
        raise ValueError(f"spikes: {problem}")


def check_weights(network: Network, limit: int) -> None:
    """Check that weights are whole numbers of magnitude ``limit`` at most.

    **Raises:** `HardwareLimitError` that names layer and synapse.
    """
    for k, layer in enumerate(network.layers):
        wrong = (np.abs(layer.weight) > limit) | (layer.weight != np.round(layer.weight))
        if wrong.any():
            post, pre = (int(i) for i in np.argwhere(wrong)[0])
            raise HardwareLimitError(
                f"weights must be whole numbers from -{limit} to {limit}, but layer {k} has "
                f"weight[{post}, {pre}] = {layer.weight[post, pre]:g}; scale, clip and round them "
                f"(Scaling.hardware_weight)"
            )


def check_observation(
    observation: Observation,
    network: Network,
    batch: int,
    duration: float,
    *,
    voltage_times: np.ndarray | None = None,
    name: str = "the backend",
) -> None:
    """Check what a backend returned.

    **Raises:** `BackendError` that names the backend, and the field or the layer and the neuron.
    """
    if not isinstance(observation, Observation):
        raise BackendError(f"{name} must return an Observation, got {type(observation).__name__}")
    layers = network.layers
    _check_per_layer(observation.spikes, len(layers), f"{name}: spikes")
    for k, (layer, spikes) in enumerate(zip(layers, observation.spikes, strict=True)):
        _check_shape(spikes, (batch, layer.neurons, layer.max_spikes), f"{name}: layer {k}: spikes")
        problem = problem_of_times(spikes, duration)
        if problem:
            raise BackendError(f"{name}: layer {k}: {problem}")
    _check_lost(observation.lost, name)
    if observation.overflow is not None:
        _check_per_layer(observation.overflow, len(layers), f"{name}: overflow")
        for k, (layer, overflow) in enumerate(zip(layers, observation.overflow, strict=True)):
            what = f"{name}: layer {k}: overflow"
            _check_shape(overflow, (layer.neurons,), what)
            _refuse(~((overflow >= 0) & (overflow % 1 == 0)), overflow, what, "a count")
    if voltage_times is None:
        return
    if observation.voltages is None:
        raise BackendError(f"{name} returned no voltages, which were asked for")
    _check_per_layer(observation.voltages, len(layers), f"{name}: voltages")
    for k, (layer, voltages) in enumerate(zip(layers, observation.voltages, strict=True)):
        what = f"{name}: layer {k}: voltages"
        _check_shape(voltages, (batch, layer.neurons, len(voltage_times)), what)
        _refuse(~np.isfinite(voltages), voltages, what, "finite")


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _check_finite_weight(weight: np.ndarray) -> None:
    wrong = ~np.isfinite(weight)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"weight must be finite and (out, in), but weight{list(at)} = {weight[at]}"
        )


def _check_looks(voltage_times: np.ndarray, duration: float) -> None:
    times = np.asarray(voltage_times)
    if times.ndim != 1 or times.dtype.kind not in "fiu":
        raise ValueError(f"voltage_times must be numbers (T,), got shape {times.shape}")
    with np.errstate(invalid="ignore"):
        wrong = ~((times >= 0) & (times <= duration * _ROUNDING) & np.isfinite(times))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"voltage_times must be finite and from 0 to the duration of {duration:g} s, but "
            f"voltage_times[{at}] = {times[at]}"
        )


def _check_shape(array: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise BackendError(f"{what} must be an array of numbers, got {kind}")
    if array.shape != shape:
        raise BackendError(f"{what} must have shape {shape}, got {array.shape}")


def _check_per_layer(arrays: object, layers: int, what: str) -> None:
    if not isinstance(arrays, tuple | list):
        kind = type(arrays).__name__
        raise BackendError(f"{what} must be a tuple of one array per layer, got {kind}")
    if len(arrays) != layers:
        raise BackendError(f"{what} of {len(arrays)} layers, the network has {layers}")


def _check_lost(lost: object, name: str) -> None:
    if not isinstance(lost, Mapping):
        raise BackendError(f"{name}: lost must map names to counts, got {type(lost).__name__}")
    for what, count in lost.items():
        if not isinstance(count, numbers.Integral) or count < 0:
            raise BackendError(f"{name}: lost[{what!r}] must be a count >= 0, got {count!r}")


def _refuse(wrong: np.ndarray, values: np.ndarray, what: str, rule: str) -> None:
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise BackendError(f"{what} must be {rule}, but that at {list(at)} is {values[at]}")


def problem_of_times(times: np.ndarray, duration: float) -> str | None:
    """What is wrong with spike times ``(batch, neurons, k)``, naming the first such place."""
    with np.errstate(invalid="ignore"):
        late = np.isfinite(times) & (times > duration * _ROUNDING)
        back = np.zeros(times.shape, bool)
        back[..., 1:] = times[..., 1:] < times[..., :-1]
    for wrong, rule in (
        (np.isnan(times), "is not a number"),
        (times < 0, "is before the start of the sample"),
        (late, f"is later than the duration of {duration:g} s"),
        (back, "is earlier than the spike before it"),
    ):
        if wrong.any():
            sample, neuron, k = (int(i) for i in np.argwhere(wrong)[0])
            where = f"spike {k} of neuron {neuron} in sample {sample}"
            return f"{where}, at {times[sample, neuron, k]} s, {rule}"
    return None
