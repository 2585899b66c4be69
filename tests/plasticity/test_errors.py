"""What rules say of bad input: the argument, what is wrong, and what to do."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch

from evtorch import jax_core
from evtorch import torch_api as snn
from evtorch.torch_api import plasticity

WEIGHT, PRE, POST = torch.ones(2, 3), torch.rand(4, 3, 1) / 9, torch.rand(4, 2, 1) / 9
UNSORTED = torch.tensor([0.2, 0.1]).expand(4, 3, 2)
NAN = torch.full((4, 3, 1), math.nan)
ONES = torch.ones(4)


@pytest.mark.parametrize("package", [plasticity, jax_core.plasticity])
@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("PairSTDP", {"tau_plus": -0.02}, "tau_plus must be > 0 seconds, got -0.02; choose a"),
        ("PairSTDP", {"tau_minus": math.inf}, "tau_minus must be finite, got inf"),
        ("PairSTDP", {"a_plus": math.nan}, "a_plus must be finite, got nan"),
        ("PairSTDP", {"a_plus": "1"}, "a_plus must be a number, got str"),
        ("PairSTDP", {"w_min": 1, "w_max": 0}, "w_min must be below w_max, but w_min = 1 and"),
        ("PairSTDP", {"mu": -1.0}, "mu must be >= 0, or None for an additive rule, got -1.0"),
        ("PairSTDP", {"mu": 1.0}, "mu = 1.0 needs finite bounds, but w_min = -inf and w_max ="),
        ("PairSTDP", {"pairing": "some"}, "pairing must be one of 'all', 'nearest', got 'some'"),
        ("TripletSTDP", {"tau_x": 0}, "tau_x must be > 0 seconds, got 0"),
        ("RewardSTDP", {"tau_eligibility": -1}, "tau_eligibility must be > 0 seconds, got -1"),
        ("EProp", {"tau_trace": 0.0}, "tau_trace must be > 0 seconds, got 0.0"),
        ("Homeostasis", {"target": -1.0}, "target must be >= 0 spikes per second, got -1.0"),
        ("Homeostasis", {"rate": 0.0}, "rate must be > 0, got 0.0"),
    ],
)
def test_numbers_of_rules(package: Any, name: str, numbers: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        getattr(package, name)(**numbers)


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize(
    ("name", "arrays", "named", "message"),
    [
        ("PairSTDP", (torch.ones(3), PRE, POST), {}, "weight must have shape (out, in), got (3,)"),
        ("PairSTDP", (WEIGHT, POST, POST), {}, "pre of shape (4, 2, 1) come from 2 neurons"),
        ("PairSTDP", (WEIGHT, PRE, PRE), {}, "post of shape (4, 3, 1) come from 3 neurons"),
        ("PairSTDP", (WEIGHT, PRE, POST[:3]), {}, "pre and post must be of the same samples, but"),
        ("PairSTDP", (WEIGHT, UNSORTED, POST), {}, "pre must ascend along the last axis, but pre["),
        ("PairSTDP", (WEIGHT, NAN, POST), {}, "pre must not be NaN, but pre[0, 0, 0] = nan; mark"),
        ("PairSTDP", (NAN[0, :2] * WEIGHT, PRE, POST), {}, "weight must be finite, but weight[0"),
        ("PairSTDP", (torch.ones(5, 2, 3), PRE, POST), {}, "weight must have shape (out, in), or"),
        ("PairSTDP", (WEIGHT, PRE, POST), {"reduction": "max"}, "reduction must be one of 'none'"),
        ("PairSTDP", (WEIGHT, PRE, POST), {"t_max": -1.0}, "t_max must be > 0, got -1.0"),
        ("PairSTDP", (WEIGHT, PRE, POST), {"return_state": True}, "return_state needs an end of"),
        ("PairSTDP", (WEIGHT, PRE, POST), {"state": 1}, "state must be the PlasticityState that"),
        (
            *("PairSTDP", (WEIGHT, PRE, POST)),
            {"state": plasticity.PlasticityState(torch.ones(4, 2, 1), torch.ones(4, 2, 1))},
            "state.pre must have shape (4, 3, 1) for this rule, these weights and spikes, got",
        ),
        (
            *("PairSTDP", (WEIGHT, PRE, POST), {"reward": ONES}),
            "reward is no argument of PairSTDP, which takes neither rewards nor learning signals",
        ),
        ("RewardSTDP", (WEIGHT, PRE, POST), {}, "reward is missing, without which RewardSTDP"),
        (
            *("RewardSTDP", (WEIGHT, PRE, POST), {"reward": torch.ones(3), "t_max": 1.0}),
            "reward must have shape (4,), one value per sample, got (3,); pass reward_times",
        ),
        (
            *("RewardSTDP", (WEIGHT, PRE, POST), {"reward": math.nan * ONES, "t_max": 1.0}),
            "reward must be finite, but reward[0] = nan",
        ),
        ("RewardSTDP", (WEIGHT, PRE, POST), {"reward": "1"}, "reward must be a number or an array"),
        (
            *("RewardSTDP", (WEIGHT, PRE, POST), {"reward": math.inf, "t_max": 1.0}),
            "reward must be finite, got inf",
        ),
        (
            *("RewardSTDP", (WEIGHT, PRE, POST), {"reward": ONES}),
            "RewardSTDP needs to know when a sample ends; pass a finite t_max",
        ),
        (
            *("RewardSTDP", (WEIGHT, PRE, POST)),
            {"reward": torch.ones(4, 2), "reward_times": torch.ones(4, 3)},
            "reward must have shape (4, 3), with one value for each of reward_times, got (4, 2)",
        ),
        (
            *("RewardSTDP", (WEIGHT, PRE, POST)),
            {"reward": torch.ones(4, 1), "reward_times": -torch.ones(4, 1)},
            "reward_times must be >= 0, but reward_times[0, 0] = -1.0",
        ),
        (
            *("RewardSTDP", (WEIGHT, PRE, POST), {"reward_times": torch.ones(4, 1)}),
            "reward_times need reward, the values at these times",
        ),
        (
            *("EProp", (WEIGHT, PRE, POST), {"signal": torch.ones(4, 3)}),
            "signal must have shape (4, 2), one value per neuron and sample, got (4, 3)",
        ),
        ("Homeostasis", (WEIGHT, PRE, POST), {}, "Homeostasis needs to know when a sample ends"),
    ],
)
def test_calls(library: str, name: str, arrays: Any, named: dict[str, Any], message: str) -> None:
    if library == "jax":
        arrays = tuple(x.numpy() for x in arrays)
        named = {key: _array(x) for key, x in named.items()}
    package = plasticity if library == "torch" else jax_core.plasticity
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        getattr(package, name)()(*arrays, **named)


def _array(x: Any) -> Any:
    if isinstance(x, plasticity.PlasticityState):
        return type(x)(*map(_array, x))
    return x.numpy() if isinstance(x, torch.Tensor) else x


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ((WEIGHT.double(), PRE, POST), "pre is torch.float32, but weight is torch.float64"),
        ((WEIGHT, PRE, np.ones((4, 2, 1))), "post must be a tensor of spike times"),
        ((WEIGHT.numpy(), PRE, POST), "weight must be a tensor of shape (out, in), got ndarray"),
        ((WEIGHT, PRE.int(), POST), "pre must be float32 or float64, got torch.int32"),
    ],
)
def test_tensors(arrays: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        plasticity.PairSTDP()(*arrays)
    with pytest.raises(TypeError, match="reward must be a tensor, got ndarray"):
        plasticity.RewardSTDP()(WEIGHT, PRE, POST, reward=np.ones(4), t_max=1.0)


@pytest.mark.parametrize(
    ("layer", "named", "message"),
    [
        (
            torch.nn.Linear(3, 2),
            {},
            "layer must be an LIF or a RecurrentLIF, got Linear; for other",
        ),
        (snn.LIFConv1d(1, 2, 3), {}, "layer must be an LIF or a RecurrentLIF, got LIFConv1d"),
        (snn.LIF(3, 2), {"weight": "recurrent_weight"}, "weight must be 'weight' for LIF, got"),
        (
            *(snn.RecurrentLIF(3, 2), {"weight": "delay"}),
            "weight must be 'weight' or 'recurrent_weight' for RecurrentLIF, got 'delay'",
        ),
        (
            *(snn.LIF(3, 2, delay="synaptic"), {}),
            "update_ does not go with delay='synaptic', where a spike arrives at each connection",
        ),
        (snn.LIF(3, 2), {"reduction": "none"}, "reduction must be 'mean' or 'sum' for one layer"),
    ],
)
def test_layers(layer: Any, named: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        plasticity.PairSTDP().update_(layer, PRE, POST, **named)
