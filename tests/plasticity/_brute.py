"""Plasticity rules spike by spike and pair by pair, in plain loops."""

import math
from typing import Any

import numpy as np


def pairs_of(pre: np.ndarray, post: np.ndarray, pairing: str) -> list[tuple[float, float, float]]:
    """Pairs of spikes of two neurons that count: when, by what time apart, and the sign."""
    found = []
    for t in post:
        before = [s for s in pre if s <= t]
        found += [(t, t - s, 1.0) for s in (before if pairing == "all" else before[-1:])]
    for s in pre:
        before = [t for t in post if t < s]
        found += [(s, s - t, -1.0) for t in (before if pairing == "all" else before[-1:])]
    return found


def pair_amounts(rule: Any, pre: np.ndarray, post: np.ndarray) -> list[tuple[float, float]]:
    """When pairs come together, and by what they change the weight."""
    return [
        (when, rule.a_plus * math.exp(-apart / rule.tau_plus))
        if sign > 0
        else (when, -rule.a_minus * math.exp(-apart / rule.tau_minus))
        for when, apart, sign in pairs_of(pre, post, rule.pairing)
    ]


def pair(rule: Any, pre: np.ndarray, post: np.ndarray) -> float:
    return sum(amount for _, amount in pair_amounts(rule, pre, post))


def bounded(rule: Any, weight: np.ndarray, pre: list, post: list) -> np.ndarray:
    """The weights of a sample after all its spikes, each of which meets the ones before it."""
    weight = weight.copy()
    events = [(s, 0, j, n) for j, own in enumerate(pre) for n, s in enumerate(own)]
    events += [(t, 1, i, n) for i, own in enumerate(post) for n, t in enumerate(own)]

    def meets(others: list, now: float, counts: Any, tau: float) -> np.ndarray:
        found = []
        for own in others:
            ages = [now - s for s in own if counts(s, now)]
            ages = ages if rule.pairing == "all" else ages[-1:]
            found.append(sum(math.exp(-age / tau) for age in ages))
        return np.array(found)

    for now, is_post, neuron, _ in sorted(events):
        span = rule.w_max - rule.w_min
        if is_post:
            trace = meets(pre, now, lambda s, t: s <= t, rule.tau_plus)
            room = np.clip(1 - (weight[neuron] - rule.w_min) / span, 0, 1) ** rule.mu
            weight[neuron] += rule.a_plus * room * trace
            weight[neuron] = weight[neuron].clip(rule.w_min, rule.w_max)
        else:
            trace = meets(post, now, lambda s, t: s < t, rule.tau_minus)
            room = np.clip((weight[:, neuron] - rule.w_min) / span, 0, 1) ** rule.mu
            weight[:, neuron] -= rule.a_minus * room * trace
            weight[:, neuron] = weight[:, neuron].clip(rule.w_min, rule.w_max)
    return weight


def triplet(rule: Any, pre: np.ndarray, post: np.ndarray) -> float:
    def trace(ages: list[float], tau: float) -> float:
        ages = ages if rule.pairing == "all" else ages[-1:]
        return sum(math.exp(-age / tau) for age in ages)

    total = 0.0
    for n, t in enumerate(post):
        slow = trace([t - other for other in post[:n]], rule.tau_y)
        fast = trace([t - s for s in pre if s <= t], rule.tau_plus)
        total += fast * (rule.a2_plus + rule.a3_plus * slow)
    for n, s in enumerate(pre):
        slow = trace([s - other for other in pre[:n]], rule.tau_x)
        fast = trace([s - t for t in post if t < s], rule.tau_minus)
        total -= fast * (rule.a2_minus + rule.a3_minus * slow)
    return total


def reward(
    rule: Any, pre: np.ndarray, post: np.ndarray, rewards: list, t_max: float
) -> tuple[float, float]:
    """The change, and the eligibility at the end; ``rewards``: pairs of time and value."""
    tau = rule.tau_eligibility
    amounts = pair_amounts(rule, pre, post)
    change = 0.0
    for when, value in rewards:
        for s, amount in amounts:
            if rule.tau_reward is None:
                change += value * amount * math.exp(-(when - s) / tau) if s <= when else 0.0
            else:
                change += value * amount * _overlap(s, when, tau, rule.tau_reward, t_max)
    return change, sum(amount * math.exp(-(t_max - s) / tau) for s, amount in amounts)


def _overlap(s: float, when: float, tau: float, tau_reward: float, t_max: float) -> float:
    """The integral of two exponential traces from the later begin on, by its antiderivative."""
    rate = 1 / tau + 1 / tau_reward

    def value(t: float) -> float:
        return -math.exp(-(t - s) / tau - (t - when) / tau_reward) / rate

    return value(t_max) - value(max(s, when))


def eprop(rule: Any, pre: np.ndarray, post: np.ndarray, signals: list, t_max: float) -> float:
    change = 0.0
    for when, value in signals:
        for t in post:
            trace = sum(math.exp(-(t - s) / rule.tau_trace) for s in pre if s <= t)
            left = math.exp(-(when - t) / rule.tau_eligibility)
            change -= rule.learning_rate * value * trace * left if t <= when else 0.0
    return change
