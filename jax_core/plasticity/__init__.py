"""Plasticity by spikes: rules in closed form over spike times, without a time grid."""

from ._eprop import EProp as EProp
from ._homeostasis import Homeostasis as Homeostasis
from ._pair_stdp import PairSTDP as PairSTDP
from ._reward_stdp import RewardSTDP as RewardSTDP
from ._rule import Rule as Rule
from ._state import PlasticityState as PlasticityState
from ._triplet_stdp import TripletSTDP as TripletSTDP

__all__ = [
    "EProp",
    "Homeostasis",
    "PairSTDP",
    "PlasticityState",
    "RewardSTDP",
    "Rule",
    "TripletSTDP",
]


def __dir__() -> list[str]:
    return __all__
