"""Rules agree with sums over all pairs of spikes, and pieces of a stream with the whole."""

import math
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evtorch.jax_core import Events, events_from_spike_times
from evtorch.jax_core.plasticity import (
    EProp,
    Homeostasis,
    PairSTDP,
    RewardSTDP,
    Rule,
    TripletSTDP,
)
from tests.plasticity import _brute
from tests.plasticity._drawn import IN, OUT, T_MAX, changes, finite, spikes, split

from .._thorough import usual

TAUS = {"tau_plus": 0.02, "tau_minus": 0.05}
PAIR = {"a_plus": 0.7, "a_minus": 0.4, **TAUS}
TRIPLET = {"a2_plus": 0.3, "a3_plus": 0.8, "a2_minus": 0.5, "a3_minus": 0.2, **TAUS}
WEIGHT = np.linspace(0.1, 0.9, OUT * IN).reshape(OUT, IN)
PAIRINGS = ["all", "nearest"]
both = given(pre=spikes(IN), post=spikes(OUT))
few = settings(max_examples=30)


@pytest.fixture(autouse=True)
def _double() -> Any:
    with jax.enable_x64(True):
        yield


def assert_same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pairing", PAIRINGS)
@few
@both
def test_pairs(pairing: str, pre: np.ndarray, post: np.ndarray) -> None:
    rule = PairSTDP(**PAIR, pairing=pairing)
    expected = changes(lambda j, i: _brute.pair(rule, j, i), pre, post)
    assert_same(rule(WEIGHT, pre, post, reduction="none"), expected)
    assert_same(rule(WEIGHT, pre, post), expected.mean(axis=0))
    assert_same(rule(WEIGHT, pre, post, reduction="sum"), expected.sum(axis=0))


@pytest.mark.parametrize("pairing", PAIRINGS)
@pytest.mark.parametrize("mu", [0.0, 0.3, 1.0])
@settings(max_examples=15)
@both
def test_pairs_with_bounds(mu: float, pairing: str, pre: np.ndarray, post: np.ndarray) -> None:
    rule = PairSTDP(**PAIR, mu=mu, pairing=pairing, w_min=-0.2, w_max=1.0)
    expected = [
        _brute.bounded(rule, WEIGHT, [finite(x) for x in j], [finite(x) for x in i]) - WEIGHT
        for j, i in zip(pre, post, strict=True)
    ]
    assert_same(rule(WEIGHT, pre, post, reduction="none"), expected)


@pytest.mark.parametrize("pairing", PAIRINGS)
@few
@both
def test_triplets(pairing: str, pre: np.ndarray, post: np.ndarray) -> None:
    rule = TripletSTDP(**TRIPLET, tau_x=0.1, tau_y=0.12, pairing=pairing)
    expected = changes(lambda j, i: _brute.triplet(rule, j, i), pre, post)
    assert_same(rule(WEIGHT, pre, post, reduction="none"), expected)


@pytest.mark.parametrize("tau_reward", [None, 0.15])
@few
@both
def test_rewards_at_times(tau_reward: float | None, pre: np.ndarray, post: np.ndarray) -> None:
    rule = RewardSTDP(**PAIR, tau_eligibility=0.3, tau_reward=tau_reward)
    times = np.array([[0.25, 0.0, np.inf], [0.5, 0.125, 0.125]])
    values = np.array([[2.0, -1.0, 5.0], [0.5, -3.0, 1.0]])
    named = {"reward": values, "reward_times": times, "t_max": T_MAX, "return_state": True}
    found, state = rule(WEIGHT, pre, post, reduction="none", **named)
    for n in range(2):
        given = [(t, r) for t, r in zip(times[n], values[n], strict=True) if t < np.inf]

        def both(j: np.ndarray, i: np.ndarray, given: list = given) -> tuple[float, float]:
            return _brute.reward(rule, j, i, given, T_MAX)

        expected = changes(both, pre[n : n + 1], post[n : n + 1])[0]
        assert_same(found[n], expected[..., 0])
        assert_same(state.eligibility[n], expected[..., 1])


@few
@both
def test_a_reward_per_sample_comes_at_the_end(pre: np.ndarray, post: np.ndarray) -> None:
    values, late = np.array([2.0, -1.0]), np.full((2, 1), T_MAX)
    rule = RewardSTDP(**PAIR, tau_eligibility=0.3)
    at_times = {"reward": values[:, None], "reward_times": late}
    expected = rule(WEIGHT, pre, post, **at_times, t_max=T_MAX)
    assert_same(rule(WEIGHT, pre, post, reward=values, t_max=T_MAX), expected)
    forever = RewardSTDP(**PAIR, tau_eligibility=math.inf)
    plain = np.asarray(PairSTDP(**PAIR)(WEIGHT, pre, post, reduction="none"))
    expected = plain * values[:, None, None]
    assert_same(forever(WEIGHT, pre, post, reward=values, reduction="none"), expected)
    assert_same(forever(WEIGHT, pre, post, reward=2.0), 2 * plain.mean(axis=0))


@pytest.mark.parametrize("tau", [math.inf, 0.2])
@few
@both
def test_learning_signals(tau: float, pre: np.ndarray, post: np.ndarray) -> None:
    rule = EProp(learning_rate=0.1, tau_trace=0.03, tau_eligibility=tau)
    times = np.array([[0.25, 0.0], [0.5, np.inf]])
    values = np.arange(8.0).reshape(2, OUT, 2) - 3
    named = {"signal": values, "signal_times": times}
    found = rule(WEIGHT, pre, post, reduction="none", **named, t_max=T_MAX)
    for n in range(2):
        for i in range(OUT):
            given = [(t, v) for t, v in zip(times[n], values[n, i], strict=True) if t < np.inf]
            expected = [
                _brute.eprop(rule, finite(j), finite(post[n, i]), given, T_MAX) for j in pre[n]
            ]
            assert_same(found[n, i], expected)


@few
@both
def test_homeostasis(pre: np.ndarray, post: np.ndarray) -> None:
    count = (post <= 0.3).sum(axis=-1)[..., None]
    named = {"reduction": "none", "t_max": 0.3}
    rule = Homeostasis(target=5.0, rate=0.02)
    expected = WEIGHT * (np.exp(0.02 * (5 * 0.3 - count)) - 1)
    assert_same(rule(WEIGHT, pre, post, **named), expected)
    rule = Homeostasis(target=5.0, rate=0.02, scaling=False)
    expected = np.broadcast_to(0.02 * (5 * 0.3 - count), (2, OUT, IN))
    assert_same(rule(WEIGHT, pre, post, **named), expected)


RULES: dict[str, Rule] = {
    "pairs": PairSTDP(**PAIR),
    "nearest": PairSTDP(**PAIR, pairing="nearest"),
    "bounds": PairSTDP(**PAIR, mu=0.5, w_min=-0.2, w_max=1.0),
    "nearest, bounds": PairSTDP(**PAIR, mu=0.0, pairing="nearest", w_min=-0.2, w_max=1.0),
    "triplets": TripletSTDP(**TRIPLET),
    "nearest triplets": TripletSTDP(**TRIPLET, pairing="nearest"),
    "rewards": RewardSTDP(**PAIR, tau_eligibility=0.3),
    "slow rewards": RewardSTDP(**PAIR, tau_eligibility=0.3, tau_reward=0.1),
    "rewards for ever": RewardSTDP(**PAIR, tau_eligibility=math.inf, tau_reward=0.1),
    "eprop": EProp(tau_eligibility=0.2),
    "homeostasis": Homeostasis(target=4.0, rate=0.1),
}


@pytest.mark.parametrize(
    "name", usual({"triplets", "nearest, bounds", "eprop", "rewards", "homeostasis"}, RULES)
)
@settings(max_examples=15)
@given(pre=spikes(IN), post=spikes(OUT), cuts=st.sets(st.integers(1, 63), max_size=3))
def test_pieces_are_the_whole(name: str, pre: np.ndarray, post: np.ndarray, cuts: set[int]) -> None:
    rule = RULES[name]
    # Between the times of the grid, as the order of spikes at a cut is that of the pieces.
    ends = [(cut + 0.5) / 128 for cut in sorted(cuts)] + [T_MAX + 0.1]
    signals = {}
    if rule.signal:
        shape = (2, OUT, 3) if rule.signal == "signal" else (2, 3)
        times = np.tile([0.02, 0.3, 0.31], (2, 1))
        signals = {rule.signal: np.arange(math.prod(shape), dtype=float).reshape(shape) - 2}
        signals[f"{rule.signal}_times"] = times
    named = {"reduction": "none", "return_state": True}
    whole, end = rule(WEIGHT, pre, post, **named, t_max=ends[-1], **signals)
    begin, state, weight = 0.0, None, np.tile(WEIGHT, (2, 1, 1))
    for now, j, i in zip(ends, split(pre, ends), split(post, ends), strict=True):
        of_piece = dict(signals)
        if rule.signal:
            times = signals[f"{rule.signal}_times"]
            inside = (times > begin) & (times <= now)
            of_piece[f"{rule.signal}_times"] = np.where(inside, times - begin, np.inf)
        more = {**named, **of_piece, "state": state, "t_max": now - begin}
        change, state = rule(weight, j, i, **more)
        weight, begin = weight + np.asarray(change), now
    assert_same(weight - WEIGHT, whole)
    jax.tree.map(assert_same, state, end)


@pytest.mark.parametrize("name", usual({"pairs", "triplets", "eprop"}, RULES))
def test_float32_is_near_float64(name: str, rng: np.random.Generator) -> None:
    rule = RULES[name]
    pre = np.sort(rng.uniform(0, T_MAX, (4, 20, 40)), axis=-1).astype(np.float32)
    post = np.sort(rng.uniform(0, T_MAX, (4, 10, 30)), axis=-1).astype(np.float32)
    weight = rng.uniform(0, 1, (10, 20)).astype(np.float32)
    signals = {}
    if rule.signal:
        shape = (4, 10, 2) if rule.signal == "signal" else (4, 2)
        signals = {rule.signal: rng.normal(size=shape).astype(np.float32)}
        signals[f"{rule.signal}_times"] = np.full((4, 2), [0.2, 0.45], np.float32)
    named = {"reduction": "none", "t_max": 0.5}
    arrays = weight, pre, post
    found = np.asarray(rule(*arrays, **named, **signals))
    assert found.dtype == np.float32
    doubles = {name: x.astype(float) for name, x in signals.items()}
    exact = np.asarray(rule(*(x.astype(float) for x in arrays), **named, **doubles))
    # The change itself may nearly cancel.
    assert 0 < np.abs(found - exact).max() < 3e-6 * np.abs(exact).max()


@pytest.mark.parametrize("name", usual({"pairs"}, ["pairs", "bounds", "triplets"]))
def test_events_are_as_good_as_times(name: str, rng: np.random.Generator) -> None:
    pre = np.sort(rng.uniform(0, T_MAX, (2, IN, 4)), axis=-1)
    post = np.sort(rng.uniform(0, T_MAX, (2, OUT, 4)), axis=-1)
    expected = RULES[name](WEIGHT, pre, post)
    events = events_from_spike_times(pre), events_from_spike_times(post)
    assert_same(RULES[name](WEIGHT, *events), expected)
    inside = jax.jit(lambda time, index: RULES[name](WEIGHT, Events(time, index), post))
    assert_same(inside(*events[0]), expected)


@pytest.mark.parametrize("name", usual({"bounds", "eprop", "rewards"}, RULES))
def test_shapes_at_the_edge(name: str) -> None:
    rule = RULES[name]
    for batch, inputs, outputs in (((), 3, 2), ((0,), 3, 2), ((2, 3), 3, 2), ((2,), 0, 2)):
        pre, post = np.full((*batch, inputs, 1), 0.1), np.full((*batch, outputs, 0), np.inf)
        signals = {}
        if rule.signal:
            shape = (*batch, outputs) if rule.signal == "signal" else batch
            signals = {rule.signal: np.ones(shape)}
        weight = np.ones((outputs, inputs))
        found = rule(weight, pre, post, t_max=1.0, **signals)
        assert found.shape == (outputs, inputs)
        assert np.isfinite(found).all()
        whole = rule(weight, pre, post, t_max=1.0, reduction="none", **signals)
        assert whole.shape == (*batch, outputs, inputs)


def test_numbers_of_rules_are_not_compiled_in(compiled: list[str]) -> None:
    pre, post = np.full((1, IN, 2), 0.125), np.full((1, OUT, 2), 0.2)
    first = PairSTDP(a_plus=0.1)(WEIGHT, pre, post)
    count = len(compiled)
    second = PairSTDP(a_plus=0.2)(WEIGHT, pre, post)
    assert len(compiled) == count
    assert_same(second, 2 * np.asarray(first))
