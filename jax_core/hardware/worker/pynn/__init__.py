"""Networks on PyNN simulators: the factories of ``--backend evtorch_worker.pynn:brian2``."""

from ._simulator import brian2 as brian2
from ._simulator import nest as nest
from ._simulator import simulator as simulator

__all__ = ["brian2", "nest", "simulator"]


def __dir__() -> list[str]:
    return __all__
