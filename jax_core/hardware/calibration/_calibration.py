"""Measures by experiment how the neurons of a chip differ, and makes up for it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .._files import load_arrays, save_arrays
from ..worker._contract import Backend, BackendError, Layer, Network, Observation, check_observation
from ._probe import Experiments, Probe, psp

QUANTITIES = ("threshold", "tau_mem", "tau_syn", "gain")
_PLAUSIBLE = (0.2, 5.0)
_LARGEST_RESIDUAL = 0.05
_AT_ONCE = 0.02
"""A first spike before this many ``tau_mem``: with a leak as in the experiments, no plausible
neuron gets from reset to threshold so soon."""
_ROUNDS = 30
_FORMAT = 1

MEASURED, SILENT, IMPLAUSIBLE = 0, 1, 2


class Factors(NamedTuple):
    """What the neurons of one layer are like, each relative to what was asked for."""

    factor: np.ndarray
    """``(4, out)``, in the order of `QUANTITIES`: of ``v_threshold - v_reset``, of the time
    constants and of the current per spike; 1 where it could not be measured."""
    status: np.ndarray
    """``(out,)``: 0 measured, 1 silent in too many experiments, 2 with an implausible result."""


@dataclass(frozen=True, eq=False)
class NetworkCalibration:
    """The calibration of the neuron circuits that one network takes."""

    shapes: tuple[tuple[int, int], ...]
    """``(out, in)`` of each layer."""
    before: tuple[Factors, ...]
    """Per layer, without calibration: what `Calibration.apply` corrects."""
    after: tuple[Factors, ...]
    """Per layer, measured again with the correction."""


class Calibration:
    """How the neurons of a chip differ from what was asked for, as found by experiment.

    `measure` sends spikes to the chip and looks at spike times, nothing else, so any `Backend` can
    be measured. With the leak above threshold, a neuron spikes without input at a time that
    tells threshold and membrane time constant; driven by spikes of several strengths, at times that
    tell synaptic time constant and gain. Neurons behind the first layer are driven by
    those before them, at the times observed. `apply` gives a backend that asks for other
    constants instead, such that those of the chip become what the network says.

    The gain is no constant of a neuron. It is made up for by voltages in proportion, as a neuron
    with all currents and voltages doubled has the same spikes; recorded voltages are scaled back.
    """

    def __init__(self, name: str, networks: Sequence[NetworkCalibration]) -> None:
        self.name = name
        self.networks = tuple(networks)

    @classmethod
    def measure(cls, backend: Backend, *networks: Network, repeats: int = 64) -> "Calibration":
        """Measure the neuron circuits of ``backend`` that these networks take.

        **Arguments:**

        - ``networks``: their shapes and constants count, weights do not. Constants should be those
          of later runs. `OnBackend.networks` gives those of a torch model.
        - ``repeats``: how often each experiment is made; the error falls with its square root.

        A neuron that remains silent, or whose spikes fit no plausible neuron, stays as it is and is
        counted in the report, ``str(calibration)``.

        **Raises:** `BackendError` if no neuron of a layer could be measured.
        """
        if not networks:
            raise ValueError("networks: give at least one network to measure")
        if repeats < 1:
            raise ValueError(f"repeats must be >= 1, got {repeats}")
        found = []
        # Runs of one shape take the same circuits.
        for network in {_shapes(network): network for network in networks}.values():
            before = _measure(backend, network, repeats)
            first = NetworkCalibration(_shapes(network), before, before)
            corrected = Calibrated(backend, cls(backend.name, [first]))
            found.append(replace(first, after=_measure(corrected, network, repeats)))
        return cls(backend.name, found)

    def apply(self, backend: Backend) -> "Calibrated":
        """The backend with corrected constants, itself a `Backend`."""
        return Calibrated(backend, self)

    def factors_of(self, network: Network) -> tuple[Factors, ...]:
        """What was measured of the circuits of ``network``.

        **Raises:** `BackendError` for a network of another shape, as that takes other circuits.
        """
        shapes = _shapes(network)
        for measured in self.networks:
            if measured.shapes == shapes:
                return measured.before
        known = " and ".join(_shown(measured.shapes) for measured in self.networks)
        raise BackendError(
            f"the calibration of {self.name} is for networks {known}, this one is "
            f"{_shown(shapes)} and takes other neuron circuits; measure it too"
        )

    def factors(self, quantity: str, *, after: bool = False) -> np.ndarray:
        """A quantity of each measured neuron, relative to what was asked for.

        **Arguments:** ``quantity``: ``"threshold"`` (its distance from the reset), ``"tau_mem"``,
        ``"tau_syn"`` or ``"gain"``; ``after``: measured with the correction, or without.

        **Returns:** one factor per neuron of all layers and networks, without those not measured.
        """
        if quantity not in QUANTITIES:
            raise ValueError(f"quantity must be one of {QUANTITIES}, got {quantity!r}")
        row = QUANTITIES.index(quantity)
        values = [
            layer.factor[row][layer.status == MEASURED]
            for network in self.networks
            for layer in (network.after if after else network.before)
        ]
        return np.concatenate(values)

    def spread(self, quantity: str, *, after: bool = False) -> float:
        """Relative standard deviation of `factors`, with the error of the measurement in it."""
        factors = self.factors(quantity, after=after)
        return float(factors.std() / factors.mean()) if len(factors) else float("nan")

    def counts(self) -> dict[str, int]:
        """Number of neurons in all, and of those that stay uncorrected, by reason."""
        status = np.concatenate([x.status for network in self.networks for x in network.before])
        return {
            "neurons": len(status),
            "silent": int((status == SILENT).sum()),
            "implausible": int((status == IMPLAUSIBLE).sum()),
        }

    def __str__(self) -> str:
        counts = self.counts()
        lines = [f"calibration of {self.name}", "spread     before   after"]
        for name in QUANTITIES:
            before, after = self.spread(name), self.spread(name, after=True)
            lines.append(f"{name:<9} {before:>7.2%} {after:>7.2%}")
        lines.append(
            f"{counts['neurons']} neurons; not corrected: {counts['silent']} silent, "
            f"{counts['implausible']} implausible"
        )
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to an ``.npz`` file, which is replaced at once."""
        arrays = {"format": np.array(_FORMAT), "name": np.array(self.name)}
        for i, network in enumerate(self.networks):
            arrays[f"{i}.shapes"] = np.array(network.shapes)
            for what, layers in (("before", network.before), ("after", network.after)):
                for k, layer in enumerate(layers):
                    arrays[f"{i}.{k}.{what}"] = layer.factor
                    arrays[f"{i}.{k}.{what}.status"] = layer.status
        save_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Calibration":
        """Read what `save` wrote.

        **Raises:** ``ValueError`` for a file that is something else.
        """
        arrays = load_arrays(path)
        try:
            if int(arrays["format"]) != _FORMAT:
                raise ValueError(f"format {arrays['format']} is not {_FORMAT}")
            networks = []
            while f"{len(networks)}.shapes" in arrays:
                networks.append(_loaded(arrays, len(networks)))
            if not networks:
                raise ValueError("it has no network")
            return cls(str(arrays["name"]), networks)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} is no saved calibration: {error}") from error


class Calibrated:
    """A backend with corrected constants; `Calibration.apply` makes it."""

    def __init__(self, backend: Backend, calibration: Calibration) -> None:
        self.backend = backend
        self.calibration = calibration
        self.name = f"{backend.name}, calibrated"
        self.weight_limit = backend.weight_limit

    def run(
        self,
        network: Network,
        spikes: np.ndarray,
        duration: float,
        *,
        voltage_times: np.ndarray | None = None,
    ) -> Observation:
        """Run a batch; see `Backend.run`."""
        factors = self.calibration.factors_of(network)
        layers = (_correct(*pair) for pair in zip(network.layers, factors, strict=True))
        corrected, when = Network(tuple(layers)), {"voltage_times": voltage_times}
        seen = self.backend.run(corrected, spikes, duration, **when)
        name = self.backend.name
        check_observation(seen, corrected, len(spikes), duration, **when, name=name)
        if seen.voltages is None:
            return seen
        gains = (layer.factor[3][:, None] for layer in factors)
        voltages = tuple(v / gain for v, gain in zip(seen.voltages, gains, strict=True))
        return replace(seen, voltages=voltages)


def _correct(layer: Layer, factors: Factors) -> Layer:
    """The layer to ask for, so that the chip has the given one."""
    threshold, tau_mem, tau_syn, gain = factors.factor
    return replace(
        layer,
        tau_mem=layer.tau_mem / tau_mem,
        tau_syn=layer.tau_syn / tau_syn,
        v_leak=gain * layer.v_leak,
        v_reset=gain * layer.v_reset,
        v_threshold=gain * (layer.v_reset + (layer.v_threshold - layer.v_reset) / threshold),
    )


def _measure(backend: Backend, network: Network, repeats: int) -> tuple[Factors, ...]:
    experiments = Experiments(backend, network, repeats)
    found = []
    for k, layer in enumerate(experiments.layers):
        probes = list(experiments.probe(k))
        factors = fit(layer, probes)
        if layer.neurons and not (factors.status == MEASURED).any():
            silent = int((factors.status == SILENT).sum())
            raise BackendError(
                f"{backend.name}: none of the {layer.neurons} neurons of layer {k} could be "
                f"measured: {silent} were silent, {layer.neurons - silent} had spikes that fit no "
                f"neuron within {_PLAUSIBLE[0]:g} to {_PLAUSIBLE[1]:g} times its constants; "
                f"{_cause(layer, k, probes)}"
            )
        found.append(factors)
    return tuple(found)


def _cause(layer: Layer, k: int, probes: list[Probe]) -> str:
    """What may be wrong where nothing could be measured."""
    undriven = [probe for probe in probes if not np.isfinite(probe.arrival).any()]
    at_once = [probe.time < _AT_ONCE * layer.tau_mem for probe in undriven]
    if np.mean(at_once) > 0.5:
        return (
            "without input they spike as soon as a sample starts: with v_leak >= v_threshold a "
            "neuron has to start at v_reset, from where it takes some tau_mem (hardware.Layer); "
            "mend the backend's start"
        )
    return (
        f"is Scaling right, does layer {k} get its input, and do neurons with v_leak >= "
        f"v_threshold start at v_reset?"
    )


def fit(layer: Layer, probes: list[Probe]) -> Factors:
    """Constants that put the voltage at threshold at each observed spike.

    Gauss-Newton in the logarithms of the factors. No spike has to be searched for: the
    voltage at an observed time is a closed form.
    """
    spiked = np.array([np.isfinite(probe.time) for probe in probes])
    driven = np.array([np.isfinite(probe.arrival).any() for probe in probes])
    enough = (spiked[driven].sum(axis=0) >= 2) & (spiked[~driven].sum(axis=0) >= 2)
    x = np.zeros((4, layer.neurons))
    step = 1e-6
    for _ in range(_ROUNDS):
        error = _residuals(layer, probes, spiked, x)
        columns = []
        for row in range(4):
            moved = x.copy()
            moved[row] += step
            columns.append((_residuals(layer, probes, spiked, moved) - error) / step)
        slope = np.stack(columns, axis=-1).swapaxes(0, 1)
        square = slope.swapaxes(1, 2) @ slope + 1e-10 * np.eye(4)
        change = np.linalg.solve(square, slope.swapaxes(1, 2) @ error.T[..., None])[..., 0].T
        x = np.clip(x - np.clip(change, -0.3, 0.3), -3, 3)
        if np.abs(change).max(initial=0) < 1e-12:
            break
    factor = np.exp(x)
    low, high = _PLAUSIBLE
    fits = np.abs(_residuals(layer, probes, spiked, x)).max(axis=0) < _LARGEST_RESIDUAL
    plausible = fits & ((factor > low) & (factor < high)).all(axis=0)
    status = np.where(enough, np.where(plausible, MEASURED, IMPLAUSIBLE), SILENT)
    return Factors(np.where(status == MEASURED, factor, 1.0), status)


def _residuals(layer: Layer, probes: list[Probe], spiked: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Voltage less threshold at the spikes, in units of the threshold, ``(probes, out)``."""
    threshold, m, s, gain = np.exp(x)
    tau_mem, tau_syn = layer.tau_mem * m, layer.tau_syn * s
    height = layer.v_threshold - layer.v_reset
    errors = []
    for probe, has_spike in zip(probes, spiked, strict=True):
        time = np.where(has_spike, probe.time, 0)
        arrived = np.isfinite(probe.arrival) & (probe.arrival < time[:, None])
        u = np.where(arrived, time[:, None] - np.where(arrived, probe.arrival, 0), 0)
        response = psp(u, tau_mem[:, None], tau_syn[:, None])
        drive = gain * np.sum(np.where(arrived, probe.current, 0) * response, axis=1)
        leak = (probe.v_leak - layer.v_reset) * -np.expm1(-time / tau_mem)
        errors.append(np.where(has_spike, (leak + drive) / height - threshold, 0))
    return np.array(errors)


def _loaded(arrays: dict[str, np.ndarray], i: int) -> NetworkCalibration:
    shapes = tuple((int(out), int(pre)) for out, pre in arrays[f"{i}.shapes"])
    both = []
    for what in ("before", "after"):
        layers = []
        for k, (out, _) in enumerate(shapes):
            factor, status = arrays[f"{i}.{k}.{what}"], arrays[f"{i}.{k}.{what}.status"]
            if factor.shape != (4, out) or status.shape != (out,) or not _usable(factor):
                raise ValueError(f"the factors of layer {k} are malformed")
            layers.append(Factors(factor, status))
        both.append(tuple(layers))
    return NetworkCalibration(shapes, *both)


def _usable(factor: np.ndarray) -> bool:
    return bool(((factor > 0) & np.isfinite(factor)).all())


def _shapes(network: Network) -> tuple[tuple[int, int], ...]:
    return tuple((layer.neurons, layer.inputs) for layer in network.layers)


def _shown(shapes: tuple[tuple[int, int], ...]) -> str:
    return "-".join(str(n) for n in (shapes[0][1], *(out for out, _ in shapes)))
