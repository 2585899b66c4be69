"""What the parameters of NIR neurons mean for evtorch's layers."""

from dataclasses import dataclass

import numpy as np

from ._convention import Convention
from ._node import SPIKING, Named

Arrays = dict[str, np.ndarray]


@dataclass
class Meaning:
    """The constants of a layer, and how much current a unit of weight becomes.

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
    has none.
    """
    has_synapse = named.kind in ("CubaLIF", "CubaLI")
    names = ["tau_mem", "tau_syn", "r", "w_in"] if has_synapse else ["tau", "r"]
    names += ["v_leak", *(["v_threshold", "v_reset"] if named.kind in SPIKING else [])]
    found = {name: flat(named, name, neurons) for name in names}
    for name in ("tau_mem", "tau_syn", "tau"):
        if name in found:
            _check(named, name, found[name], found[name] > 0, "must be > 0")
            found[name] = found[name] * convention.time_unit
    if "v_reset" in found:
        below = found["v_reset"] < found["v_threshold"]
        _check(named, "v_reset", found["v_reset"], below, "must be below v_threshold")
    if not has_synapse:
        if tau_syn is None:
            named.refuse(
                "has no synapse: each spike makes its voltage jump, which these layers cannot",
                "use a Cuba node, or pass tau_syn= in seconds, a short synapse in its place that "
                "carries the same charge (see nir.compare for the difference)",
            )
        found["tau_mem"] = found.pop("tau")
        found["tau_syn"] = np.full(neurons, tau_syn)
    factor = current_per_weight(found, convention)
    constants = {k: v for k, v in found.items() if k not in ("r", "w_in")}
    return Meaning(constants, factor)


def current_per_weight(found: Arrays, convention: Convention) -> np.ndarray:
    """By how much a spike over a weight of 1 raises the current of a layer.

    Without ``w_in``, for a synapse that stands in for none: as much as carries the charge of the
    voltage jump. Times are in seconds.
    """
    if "w_in" not in found:
        return found["r"] * convention.area / found["tau_syn"]
    if convention.current_jump == "weight":
        return found["r"] * found["w_in"]
    return found["r"] * (found["w_in"] * convention.area / found["tau_syn"])


def voltage_per_bias(factor: np.ndarray, tau_syn: np.ndarray, convention: Convention) -> np.ndarray:
    """By how much a constant input of 1 raises the voltage at rest."""
    return factor * tau_syn / convention.area


def _check(named: Named, name: str, value: np.ndarray, good: np.ndarray, rule: str) -> None:
    if good.all():
        return
    first = int(np.argmin(good))
    named.refuse(f"has {name}[{first}] = {value[first]}, which {rule}", f"correct {name}")
