"""The rules of ``jax_core`` for tensors."""

from ...jax_core import plasticity
from ._rule import TensorRule


class EProp(TensorRule, plasticity.EProp):
    __doc__ = plasticity.EProp.__doc__
    kind = plasticity.EProp


class Homeostasis(TensorRule, plasticity.Homeostasis):
    __doc__ = plasticity.Homeostasis.__doc__
    kind = plasticity.Homeostasis


class PairSTDP(TensorRule, plasticity.PairSTDP):
    __doc__ = plasticity.PairSTDP.__doc__
    kind = plasticity.PairSTDP


class RewardSTDP(TensorRule, plasticity.RewardSTDP):
    __doc__ = plasticity.RewardSTDP.__doc__
    kind = plasticity.RewardSTDP


class TripletSTDP(TensorRule, plasticity.TripletSTDP):
    __doc__ = plasticity.TripletSTDP.__doc__
    kind = plasticity.TripletSTDP
