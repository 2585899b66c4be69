"""What the numbers of a NIR graph mean: the unit of time, and what one spike is."""

import math
from dataclasses import dataclass
from typing import Any, Literal

CurrentJump = Literal["area", "weight"]


@dataclass(frozen=True)
class Convention:
    """How the writer of a NIR graph understands its numbers.

    NIR's equations say how a neuron follows an input ``S(t)``; they leave open in which unit times
    are and which ``S(t)`` a spike makes. With ``w`` the weight of the projection, a spike adds

        CubaLIF, CubaLI:  w_in w spike_area / tau_syn   to i   for current_jump = "area"
                          w_in w                        to i   for current_jump = "weight"
        LIF, LI:          r w spike_area / tau          to v
        IF:               r w spike_area / time_unit    to v   for current_jump = "area"
                          r w                           to v   for current_jump = "weight"

    **Arguments:**

    - ``time_unit``: seconds per unit of the graph's time constants and delays.
    - ``current_jump``: ``"area"``, NIR's equations taken literally, or ``"weight"``.
    - ``spike_area``: area under ``S(t)`` of one spike, seconds. ``None``: that of a delta pulse,
      one unit of time. A simulator in which a spike is a 1 for one step of ``dt`` has ``dt``.
    - ``resistance``: the ``r`` that `to_nir` gives to nodes with leak: 1, or
      ``"tau_mem/spike_area"``, which snnTorch insists on.
    - ``affine``: whether `to_nir` writes matrices as Affine with a bias of 0, as sinabs reads no
      Linear.

    `Convention.named` knows ready ones.
    """

    time_unit: float = 1.0
    current_jump: CurrentJump = "area"
    spike_area: float | None = None
    resistance: Literal["1", "tau_mem/spike_area"] = "1"
    affine: bool = False

    def __post_init__(self) -> None:
        _check_positive(self.time_unit, "time_unit")
        if self.spike_area is not None:
            _check_positive(self.spike_area, "spike_area")
        _check_choice(self.current_jump, ("area", "weight"), "current_jump")
        _check_choice(self.resistance, ("1", "tau_mem/spike_area"), "resistance")

    @property
    def area(self) -> float:
        """The area under one spike, seconds."""
        return self.time_unit if self.spike_area is None else self.spike_area

    @property
    def integrated(self) -> float:
        """What a spike over a weight of 1 adds to a voltage without leak, for ``r = 1``."""
        return 1.0 if self.current_jump == "weight" else self.area / self.time_unit

    @classmethod
    def norse(cls, dt: float = 1e-3) -> "Convention":
        """Graphs that ``norse.torch.to_nir(..., dt=dt)`` writes: time constants times ``dt``."""
        return cls(time_unit=1 / dt, current_jump="weight", spike_area=dt)

    @classmethod
    def snntorch(cls, dt: float = 1e-4) -> "Convention":
        """Graphs that ``snntorch.export_nir`` writes, as if each step were 1e-4 s, not ``dt``."""
        return cls(time_unit=dt / 1e-4, spike_area=dt, resistance="tau_mem/spike_area")

    @classmethod
    def sinabs(cls, dt: float = 1e-3) -> "Convention":
        """Graphs in steps of ``dt``, as sinabs reads LIF and IF: a spike lets ``v`` jump by ``w``.

        It takes no notice of ``r``, which is written such that NIR's equations say the same.
        """
        return cls(time_unit=dt, spike_area=dt, resistance="tau_mem/spike_area", affine=True)

    @classmethod
    def rockpool(cls, dt: float = 1e-3) -> "Convention":
        """Graphs for Rockpool, in seconds, which takes its step from ``tau_mem / (r + 1)``.

        That is ``dt`` up to a part of ``dt / tau_mem``; ``tau_mem`` must be that of all neurons.
        """
        return cls(spike_area=dt, resistance="tau_mem/spike_area")

    @classmethod
    def time_stepped(cls, dt: float) -> "Convention":
        """Seconds, and a spike is a 1 for one step of ``dt``.

        So SpikingJelly writes graphs with its argument ``dt``, and ``norse.torch.from_nir`` reads.
        """
        return cls(spike_area=dt)

    @classmethod
    def named(cls, name: str) -> "Convention":
        """The convention of a known writer.

        ``"nir"``: the equations taken literally, seconds. ``"hxtorch"``: milliseconds, the current
        jumps by the weight. ``"norse"`` and ``"snntorch"``: `Convention.norse` and
        `Convention.snntorch` with their default steps. ``"spikingjelly"``: that of
        `Convention.time_stepped` with its exporter's default step, 1e-4. ``"sinabs"``:
        `Convention.sinabs` with steps of 1e-3, which sinabs itself leaves open. ``"rockpool"``:
        `Convention.rockpool` with steps of 1e-3.
        """
        if name not in _NAMED:
            raise ValueError(f"convention must be one of {_names()} or a Convention, got {name!r}")
        return _NAMED[name]


def find_convention(given: "Convention | str | None", graph: Any) -> Convention:
    """The convention given, or else the one that `to_nir` noted in the graph."""
    if isinstance(given, Convention):
        return given
    if given is not None:
        return Convention.named(given)
    noted = dict(getattr(graph, "metadata", {}) or {}).get("evtorch")
    if noted is None:
        raise ValueError(
            f"convention must be given for a graph that evtorch did not write, as NIR does not fix "
            f"the unit of time and the size of a spike; pass convention= one of {_names()}, or a "
            f"Convention"
        )
    area = noted.get("spike_area")
    return Convention(
        time_unit=float(noted["time_unit"]),
        current_jump=noted["current_jump"],
        spike_area=None if area is None else float(area),
        resistance=noted["resistance"],
        affine=bool(noted.get("affine", False)),
    )


def noted(convention: Convention) -> dict[str, Any]:
    """A convention as metadata of a graph, for `find_convention`."""
    found = {
        "time_unit": convention.time_unit,
        "current_jump": convention.current_jump,
        "resistance": convention.resistance,
    }
    if convention.spike_area is not None:
        found["spike_area"] = convention.spike_area
    if convention.affine:
        found["affine"] = True
    return found


def _names() -> str:
    return ", ".join(map(repr, _NAMED))


def _check_positive(value: float, name: str) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be finite and > 0 (seconds), got {value}")


def _check_choice(value: str, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


_NAMED = {
    "nir": Convention(),
    "hxtorch": Convention(time_unit=1e-3, current_jump="weight"),
    "norse": Convention.norse(),
    "snntorch": Convention.snntorch(),
    "spikingjelly": Convention.time_stepped(1e-4),
    "sinabs": Convention.sinabs(),
    "rockpool": Convention.rockpool(),
}
