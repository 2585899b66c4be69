"""Networks and observations as messages, bit by bit. See ``_protocol`` for how messages travel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ._contract import Layer, Network, Observation
from ._protocol import Message, ProtocolError, message

_ARRAYS = ("weight", "tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
_PER_LAYER = ("spikes", "voltages", "overflow")


class Run(NamedTuple):
    """The arguments of `Backend.run`."""

    network: Network
    spikes: np.ndarray
    duration: float
    voltage_times: np.ndarray | None = None


def run_message(run: Run) -> Message:
    """``kind`` "run": arrays ``spikes``, ``duration``, ``voltage_times`` and ``<layer>.<name>``."""
    arrays = {"spikes": run.spikes, "duration": np.float64(run.duration)}
    if run.voltage_times is not None:
        arrays["voltage_times"] = run.voltage_times
    layers = []
    for k, layer in enumerate(run.network.layers):
        arrays.update({f"{k}.{name}": getattr(layer, name) for name in _ARRAYS})
        layers.append(
            {
                "max_spikes": int(layer.max_spikes),
                "has_threshold": bool(layer.has_threshold),
                "weight_unit": float(layer.weight_unit),
            }
        )
    return message("run", arrays, layers=layers)


def run_from_message(received: Message) -> Run:
    """Raises ``ProtocolError`` where the message is not a `run_message`."""
    arrays = received.arrays
    try:
        layers = tuple(
            Layer(**{name: arrays[f"{k}.{name}"] for name in _ARRAYS}, **settings)
            for k, settings in enumerate(received.values["layers"])
        )
        return Run(
            Network(layers),
            arrays["spikes"],
            float(arrays["duration"]),
            arrays.get("voltage_times"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"a 'run' message cannot be read: {error!r}") from error


def observation_message(observation: Any) -> Message:
    """``kind`` "observation": arrays ``spikes.<layer>``, ``voltages.<layer>``, ...

    ``observation`` is an `Observation` or anything with its attributes; ``spikes`` alone is
    required.

    Raises:
        TypeError: An attribute is missing or of the wrong type.
    """
    arrays: dict[str, np.ndarray] = {}
    counts: dict[str, int | None] = {}
    for name in _PER_LAYER:
        per_layer = getattr(observation, name, None)
        counts[name] = None if per_layer is None else len(_sequence(per_layer, name))
        for k, array in enumerate(() if per_layer is None else per_layer):
            arrays[f"{name}.{k}"] = np.asarray(array)
    if counts["spikes"] is None:
        raise TypeError(
            "a backend must return an Observation, or an object with its attribute 'spikes'; got "
            f"{type(observation).__name__}"
        )
    lost = getattr(observation, "lost", {})
    if not isinstance(lost, Mapping):
        raise TypeError(f"'lost' must map names to counts, got {type(lost).__name__}")
    lost = {str(name): int(count) for name, count in lost.items()}
    return message("observation", arrays, counts=counts, lost=lost)


def observation_from_message(received: Message) -> Observation:
    """Raises ``ProtocolError`` where the message is not an `observation_message`."""
    try:
        counts = received.values["counts"]
        fields = {
            name: tuple(received.arrays[f"{name}.{k}"] for k in range(counts[name]))
            for name in _PER_LAYER
            if counts[name] is not None
        }
        return Observation(**fields, lost=received.values["lost"])
    except (KeyError, TypeError) as error:
        raise ProtocolError(f"an 'observation' message cannot be read: {error!r}") from error


def _sequence(per_layer: Any, name: str) -> Sequence[Any]:
    if not isinstance(per_layer, (tuple, list)):
        raise TypeError(
            f"{name!r} must be a tuple of one array per layer, got {type(per_layer).__name__}"
        )
    return per_layer
