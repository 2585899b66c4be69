"""Spikes that were recorded elsewhere, as a backend."""

import os
from collections.abc import Sequence

import numpy as np

from ._files import load_arrays, save_arrays
from .worker._contract import BackendError, Network, Observation, check_input, problem_of_times


class Replay:
    """Returns spikes recorded before, whatever runs: for chips that are reached by files only.

    **Arguments:**

    - ``spikes``: one array per layer, seconds of hardware time, ``(batch, out, k)``, ascending,
      padded with ``inf``; or the path of an ``.npz`` file with arrays ``layer0``, ``layer1``, ...
      as `save` writes it. More than ``max_spikes`` spikes per neuron are cut off and reported as
      overflow.
    - ``inputs``: the input spikes they were recorded with, ``(batch, in, k)``. If given (or in the
      file, as ``inputs``), a run with other input spikes is refused. Times may differ by
      ``tolerance`` seconds, 0 by default.
    - ``weight_limit``: that of the hardware that made the recording, so that a model's weights are
      rounded and clipped as they were there; ``None``: any float.

    **Raises:** `BackendError` for a recording that holds no spike times (its file included), and at
    a run whose shape the recording does not have.
    """

    name = "replay"

    def __init__(
        self,
        spikes: Sequence[np.ndarray] | str | os.PathLike[str],
        inputs: np.ndarray | None = None,
        *,
        tolerance: float = 0.0,
        weight_limit: int | None = None,
    ) -> None:
        if isinstance(spikes, str | os.PathLike):
            spikes, stored = _load(spikes)
            inputs = stored if inputs is None else inputs
        self.spikes = tuple(_times(x, f"layer {k} of the recording") for k, x in enumerate(spikes))
        self.inputs = None if inputs is None else _times(inputs, "inputs of the recording")
        self.tolerance = tolerance
        self.weight_limit = weight_limit

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording to an ``.npz`` file, which is replaced at once."""
        arrays = {f"layer{k}": layer for k, layer in enumerate(self.spikes)}
        if self.inputs is not None:
            arrays["inputs"] = self.inputs
        save_arrays(path, arrays)

    def run(
        self,
        network: Network,
        spikes: np.ndarray,
        duration: float,
        *,
        voltage_times: np.ndarray | None = None,
    ) -> Observation:
        """Return the recorded spikes; see `Backend.run`. Voltages are not recorded."""
        check_input(network, spikes, duration)
        if voltage_times is not None:
            raise BackendError("a replay has no voltages; ask for spikes only")
        self._check_inputs(spikes)
        if len(self.spikes) != len(network.layers):
            raise BackendError(
                f"the recording has {len(self.spikes)} layers, the network has "
                f"{len(network.layers)}"
            )
        fitted, overflow = [], []
        for k, (layer, recorded) in enumerate(zip(network.layers, self.spikes, strict=True)):
            shape = (len(spikes), layer.neurons)
            if recorded.shape[:2] != shape:
                raise BackendError(
                    f"layer {k} of the recording has shape {recorded.shape}, but the run needs "
                    f"{(*shape, 'k')}"
                )
            room = max(layer.max_spikes - recorded.shape[2], 0)
            padded = np.pad(recorded, ((0, 0), (0, 0), (0, room)), constant_values=np.inf)
            fitted.append(padded[..., : layer.max_spikes])
            beyond = np.isfinite(padded[..., layer.max_spikes :]).any(axis=-1)
            overflow.append(beyond.sum(axis=0))
        return Observation(tuple(fitted), overflow=tuple(overflow))

    def _check_inputs(self, spikes: np.ndarray) -> None:
        if self.inputs is None:
            return
        same = self.inputs.shape == spikes.shape and bool(
            np.all(
                (self.inputs == spikes)
                | np.isclose(self.inputs, spikes, rtol=0, atol=self.tolerance)
            )
        )
        if not same:
            raise BackendError(
                f"the recording was made with other input spikes (shape {self.inputs.shape}, now "
                f"{spikes.shape}); replay it with its own, or raise tolerance={self.tolerance:g} s"
            )


def _times(recorded: object, what: str) -> np.ndarray:
    """Checked spike times ``(batch, neurons, k)``, float32 or float64."""
    times = np.asarray(recorded)
    if times.dtype.kind not in "fiu" or times.ndim != 3:
        raise BackendError(
            f"{what} must be an array of numbers (batch, neurons, k), got {times.dtype} of shape "
            f"{times.shape}"
        )
    if times.dtype not in (np.float32, np.float64):
        times = times.astype(np.float64)
    problem = problem_of_times(times, np.inf)
    if problem:
        raise BackendError(f"{what}: {problem}")
    return times


def _load(path: str | os.PathLike[str]) -> tuple[list[np.ndarray], np.ndarray | None]:
    try:
        arrays = load_arrays(path)
    except ValueError as error:
        raise BackendError(str(error)) from error
    inputs = arrays.pop("inputs", None)
    expected = [f"layer{k}" for k in range(len(arrays))]
    if not arrays or set(arrays) != set(expected):
        raise BackendError(
            f"{os.fspath(path)} must hold arrays layer0, layer1, ..., and may hold inputs; it has "
            f"{sorted(arrays) or 'none'}"
        )
    return [arrays[name] for name in expected], inputs
