"""What the parameters of NIR neurons mean for evtorch's layers."""

from dataclasses import dataclass

import numpy as np

from ._convention import Convention
from ._node import SPIKING, Named

Arrays = dict[str, np.ndarray]
_NAMES = {
    "CubaLIF": ("tau_mem", "tau_syn", "r", "w_in", "v_leak", "v_threshold", "v_reset"),
    "CubaLI": ("tau_mem", "tau_syn", "r", "w_in", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset"),
    "LI": ("tau", "r", "v_leak"),
    "IF": ("r", "v_threshold", "v_reset"),
}


@dataclass
class Meaning:
    """The constants of a layer, and how much a unit of weight becomes.

    ``constants``: float64 arrays ``(neurons,)`` by the names that layers use, in seconds.
    ``factor``: ``(neurons,)``; the weights of the layer are ``factor * w``.
    """

    constants: Arrays
    factor: np.ndarray


def flat(named: Named, name: str, neurons: int) -> np.ndarray:
    """A parameter of neurons, float64 ``(neurons,)``, checked to be finite."""
    value = np.array(np.broadcast_to(named.array(name).astype(np.float64).ravel(), (neurons,)))
    _check(named, name, value, np.isfinite(value), "must be finite")
    return value


def meaning(
    named: Named, neurons: int, convention: Convention, tau_syn: float | None = None
) -> Meaning:
    """Translate the parameters of a neuron node.

    **Arguments:** ``tau_syn``: time constant, seconds, of the synapse that stands in where the node
    has none; ``None`` for none, so that a spike lets the voltage jump.
    """
    found = {name: flat(named, name, neurons) for name in _NAMES[named.kind]}
    for name in ("tau_mem", "tau_syn", "tau"):
        if name in found:
            _check(named, name, found[name], found[name] > 0, "must be > 0")
            found[name] = found[name] * convention.time_unit
    if named.kind in SPIKING:
        below = found["v_reset"] < found["v_threshold"]
        _check(named, "v_reset", found["v_reset"], below, "must be below v_threshold")
    if named.kind == "LI" and tau_syn is None:
        named.refuse(
            "has no synapse: each spike makes its voltage jump, which read-outs here cannot",
            "use a CubaLI node, or pass tau_syn= in seconds, a short synapse in its place that "
            "carries the same charge (see nir.compare for the difference)",
        )
    if "tau" in found:
        found["tau_mem"] = found.pop("tau")
    if named.kind == "IF" and tau_syn is None:
        # Without leak there is no rest: it starts where a spike leaves it.
        found |= {"tau_mem": np.full(neurons, np.inf), "v_leak": found["v_reset"].copy()}
    if tau_syn is not None and "tau_syn" not in found:
        found["tau_syn"] = np.full(neurons, tau_syn)
    factor = per_weight(found, convention)
    return Meaning({k: v for k, v in found.items() if k not in ("r", "w_in")}, factor)


def per_weight(found: Arrays, convention: Convention) -> np.ndarray:
    """By how much a spike over a weight of 1 raises the current of a layer, or its voltage.

    A synapse that stands in for none raises the voltage by as much, in the end. Times are in
    seconds.
    """
    if "w_in" in found:
        if convention.current_jump == "weight":
            return found["r"] * found["w_in"]
        return found["r"] * (found["w_in"] * convention.area / found["tau_syn"])
    leaks = "tau_mem" in found and np.isfinite(found["tau_mem"]).all()
    if leaks:
        return found["r"] * convention.area / found.get("tau_syn", found["tau_mem"])
    return found["r"] * convention.integrated


def voltage_per_bias(found: Meaning, convention: Convention) -> np.ndarray:
    """By how much a constant input of 1 raises the voltage at rest."""
    constants = found.constants
    return found.factor * constants.get("tau_syn", constants["tau_mem"]) / convention.area


def _check(named: Named, name: str, value: np.ndarray, good: np.ndarray, rule: str) -> None:
    if good.all():
        return
    first = int(np.argmin(good))
    named.refuse(f"has {name}[{first}] = {value[first]}, which {rule}", f"correct {name}")
