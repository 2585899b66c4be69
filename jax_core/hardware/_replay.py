"""Spikes that were recorded elsewhere, as a backend."""

import os
from collections.abc import Sequence

import numpy as np

from ._contract import BackendError, Network, Observation, check_input


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

    **Raises:** `BackendError` at a run whose shape the recording does not have.
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
        self.spikes = tuple(np.asarray(layer) for layer in spikes)
        self.inputs = None if inputs is None else np.asarray(inputs)
        self.tolerance = tolerance
        self.weight_limit = weight_limit

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the recording to an ``.npz`` file."""
        arrays = {f"layer{k}": layer for k, layer in enumerate(self.spikes)}
        if self.inputs is not None:
            arrays["inputs"] = self.inputs
        with open(path, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

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
            if recorded.ndim != 3 or recorded.shape[:2] != shape:
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


def _load(path: str | os.PathLike[str]) -> tuple[list[np.ndarray], np.ndarray | None]:
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    inputs = arrays.pop("inputs", None)
    expected = [f"layer{k}" for k in range(len(arrays))]
    if not arrays or set(arrays) != set(expected):
        raise BackendError(
            f"{os.fspath(path)} must hold arrays layer0, layer1, ..., and may hold inputs; it has "
            f"{sorted(arrays) or 'none'}"
        )
    return [arrays[name] for name in expected], inputs
