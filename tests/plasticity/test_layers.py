"""Rules with tensors, and the weights of layers that they change."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from evtorch import jax_core
from evtorch import torch_api as snn
from evtorch.torch_api import plasticity

from .._thorough import usual

RULES: dict[str, Any] = {
    "pairs": plasticity.PairSTDP(),
    "bounds": plasticity.PairSTDP(mu=0.5, w_min=0.0, w_max=2.0),
    "triplets": plasticity.TripletSTDP(),
    "rewards": plasticity.RewardSTDP(tau_eligibility=0.1),
    "slow rewards": plasticity.RewardSTDP(tau_eligibility=math.inf, tau_reward=0.05),
    "eprop": plasticity.EProp(),
    "homeostasis": plasticity.Homeostasis(),
}


def drawn(neurons: int, k: int, batch: int = 4, **options: Any) -> Tensor:
    return torch.sort(0.1 * torch.rand(batch, neurons, k, **options), dim=-1).values


def signals_of(rule: Any, batch: int = 4, out: int = 2) -> dict[str, Tensor]:
    if rule.signal is None:
        return {}
    shape = (batch, out, 2) if rule.signal == "signal" else (batch, 2)
    times = torch.tensor([0.03, 0.06]).expand(batch, 2)
    return {rule.signal: torch.randn(shape), f"{rule.signal}_times": times}


@pytest.mark.parametrize("name", usual({"pairs", "rewards", "eprop"}, RULES))
def test_tensors_give_what_arrays_give(name: str) -> None:
    rule, pre, post, weight = RULES[name], drawn(3, 4), drawn(2, 5), torch.rand(2, 3)
    signals = signals_of(rule)
    named: dict[str, Any] = {"t_max": 0.1, "return_state": True, "reduction": "none"}
    found, state = rule(weight, pre, post, **named, **signals)
    again, _ = rule(weight, pre, post, **named, **signals, state=state)
    arrays = [x.numpy() for x in (weight, pre, post)]
    of_arrays = {key: x.numpy() for key, x in signals.items()}
    core = rule.kind(**vars(rule))
    expected, end = core(*arrays, **named, **of_arrays)
    expected_again, _ = core(*arrays, **named, **of_arrays, state=end)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(again, expected_again)
    for one, other in zip(state, end, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)


def test_a_layer_learns_from_its_spikes() -> None:
    layer = snn.LIF(3, 2, max_spikes=40, t_max=0.1)
    pre = drawn(3, 4)
    post = layer(pre)
    rule = plasticity.PairSTDP(a_plus=0.3, w_min=-20.0, w_max=20.0)
    before, change = layer.weight.detach().clone(), rule(layer.weight, pre, post)
    assert not change.requires_grad
    assert change.abs().max() > 0.01
    assert rule.update_(layer, pre, post) is None
    torch.testing.assert_close(layer.weight.detach(), before + change, rtol=0, atol=0)
    assert layer.weight.requires_grad
    events = snn.events_from_spike_times(pre)
    torch.testing.assert_close(rule(before, events, post), change)


def test_weights_end_between_the_bounds() -> None:
    layer = snn.LIF(3, 2, max_spikes=5)
    rule = plasticity.PairSTDP(a_plus=50.0, w_min=0.0, w_max=1.0)
    rule.update_(layer, drawn(3, 4), drawn(2, 4))
    assert layer.weight.min() >= 0
    assert layer.weight.max() == 1


def test_pieces_of_a_stream() -> None:
    layer = snn.LIF(3, 2, max_spikes=8, t_max=0.05)
    rule = plasticity.PairSTDP(a_plus=0.1, a_minus=0.1)
    pre, post = drawn(3, 6), drawn(2, 6)
    whole = rule(layer.weight, pre, post)
    before, state = layer.weight.detach().clone(), None
    for begin in (0.0, 0.05):
        pieces = [
            torch.where((x > begin) & (x <= begin + 0.05), x - begin, math.inf).sort(-1).values
            for x in (pre, post)
        ]
        state = rule.update_(layer, *pieces, state=state, return_state=True)
    torch.testing.assert_close(layer.weight - before, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recurrent", [False, True])
def test_only_connections_that_there_are_change(recurrent: bool) -> None:
    mask = torch.tensor([[True, False, True], [False, True, True], [True, True, False]])
    layer = snn.RecurrentLIF(3, 3, max_spikes=8, t_max=0.2, mask=mask, recurrent_mask=mask)
    pre, post = drawn(3, 4), drawn(3, 5)
    rule, name = plasticity.PairSTDP(), "recurrent_weight" if recurrent else "weight"
    sources = post if recurrent else pre
    change = rule(torch.zeros(3, 3), sources, post)
    before = {key: x.detach().clone() for key, x in layer.named_parameters()}
    rule.update_(layer, sources, post, weight=name)
    for key, x in layer.named_parameters():
        expected = before[key] + (change[mask] if key == name else 0)
        torch.testing.assert_close(x.detach(), expected, rtol=0, atol=0)


def test_spikes_count_when_they_arrive() -> None:
    pre, post, delay = drawn(3, 4), drawn(2, 4), torch.tensor([0.0, 0.01, 0.02])
    rule = plasticity.PairSTDP()
    layer = snn.LIF(3, 2, delay=delay)
    before = layer.weight.detach().clone()
    rule.update_(layer, pre, post)
    change = rule(before, pre + delay[:, None], post)
    torch.testing.assert_close(layer.weight.detach(), before + change)
    with pytest.raises(ValueError, match="those on their way at the end of a piece would be lost"):
        rule.update_(layer, pre, post, t_max=0.05, return_state=True)
    within = snn.RecurrentLIF(3, 2, recurrent_delay=0.01, max_spikes=4)
    before = within.recurrent_weight.detach().clone()
    rule.update_(within, post, post, weight="recurrent_weight")
    change = rule(before, post + 0.01, post)
    torch.testing.assert_close(within.recurrent_weight.detach(), before + change)


def test_observed_spikes_are_as_good_as_simulated_ones() -> None:
    layer = snn.LIF(3, 2, max_spikes=40, t_max=0.1, refractory=2e-3)
    model = torch.nn.Sequential(layer)
    scaling = snn.hardware.Scaling(weight=5, time=1e-3)
    chip = snn.hardware.on_backend(model, snn.hardware.MockBSS2(), scaling=scaling)
    pre = drawn(3, 4)
    post = chip(pre)
    assert post.isfinite().sum() > 4
    rule = plasticity.RewardSTDP(tau_eligibility=0.2)
    before = layer.weight.detach().clone()
    reward = torch.tensor([1.0, -1.0, 2.0, 0.0])
    rule.update_(layer, pre, post, reward=reward)
    expected = before + rule(before, pre, post.detach(), reward=reward, t_max=0.1)
    torch.testing.assert_close(layer.weight.detach(), expected)
    assert (layer.weight != before).any()


def test_one_sample_without_batch_and_numbers_for_rewards() -> None:
    rule = plasticity.RewardSTDP()
    pre, post, weight = drawn(3, 4), drawn(2, 4), torch.rand(2, 3)
    alone = [rule(weight, pre[n], post[n], reward=2.0, t_max=0.1) for n in range(4)]
    found = rule(weight, pre, post, reward=2, t_max=0.1)
    torch.testing.assert_close(found, torch.stack(alone).mean(dim=0))


def test_float64(x64: None) -> None:
    rule = plasticity.TripletSTDP()
    options = {"dtype": torch.float64}
    found = rule(torch.rand(2, 3, **options), drawn(3, 4, **options), drawn(2, 4, **options))
    assert found.dtype == torch.float64


def test_rules_in_jax_are_pytrees() -> None:
    import jax

    rule = jax_core.plasticity.PairSTDP()
    doubled = jax.tree.map(lambda x: 2 * x, rule)
    assert doubled.a_plus == 2 * rule.a_plus
    assert doubled.pairing == rule.pairing
