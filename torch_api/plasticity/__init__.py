"""Plasticity of layers by spikes, simulated or observed."""

from ...jax_core.plasticity import PlasticityState as PlasticityState
from ._rules import EProp as EProp
from ._rules import Homeostasis as Homeostasis
from ._rules import PairSTDP as PairSTDP
from ._rules import RewardSTDP as RewardSTDP
from ._rules import TripletSTDP as TripletSTDP

__all__ = [
    "EProp",
    "Homeostasis",
    "PairSTDP",
    "PlasticityState",
    "RewardSTDP",
    "TripletSTDP",
]


def __dir__() -> list[str]:
    return __all__
