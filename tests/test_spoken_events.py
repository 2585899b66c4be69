"""What the example on spoken digits generates: only order tells a word from its reverse."""

from typing import Any

import pytest
import torch
from torch import Tensor

FAR = 5.0
"""Standard errors: beyond, no statistic of the hundreds below lies by chance."""


@pytest.fixture(scope="module")
def draw(imported: Any) -> Any:
    return imported("_spoken_events").draw_spoken_events


@pytest.fixture(scope="module")
def data(draw: Any) -> Any:
    return draw(4000, 1, 100)


def test_samples_are_sorted_events_of_700_channels_over_half_a_second_to_one(data: Any) -> None:
    time, index = data.events
    assert time.shape == index.shape == (4000, 140)
    there = time.isfinite()
    assert (time[:, 1:] >= time[:, :-1]).all()
    assert time[there].min() >= 0
    assert index[there].min() == 0
    assert index[there].max() == 699
    assert (index[~there] == -1).all()
    ends = torch.where(there, time, 0).max(1).values
    assert 0.4 < ends.min() < 0.55
    assert 0.95 < ends.max() <= data.t_max == 1.0
    assert data.classes.unique().tolist() == list(range(20))


@pytest.mark.parametrize("events", [100, 8000])
def test_numbers_of_events_have_the_mean_that_was_asked_for(draw: Any, events: int) -> None:
    numbers = draw(200, 0, events).events.time.isfinite().sum(1) / events
    assert 0.6 <= numbers.min() < 0.65
    assert 1.35 < numbers.max() <= 1.4
    assert abs(numbers.mean() - 1) < FAR * 0.4 / 3**0.5 / 200**0.5


def test_one_seed_gives_the_same_samples(draw: Any) -> None:
    first, second, other = (draw(20, seed, 50) for seed in (3, 3, 4))
    assert torch.equal(first.classes, second.classes)
    assert all(map(torch.equal, first.events, second.events))
    assert not torch.equal(first.events.index, other.events.index)


def in_thirds(data: Any) -> Tensor:
    """Counts of bands of ten channels in each third of a sample."""
    time, index = data.events
    there = time.isfinite()
    third = 3 * time / torch.where(there, time, 0).max(1, keepdim=True).values
    cell = torch.where(there, third.clamp(max=2).floor() * 70 + index // 10, 0).long()
    return torch.zeros(len(data), 210).scatter_add(1, cell, there.float())


def test_a_word_and_the_same_word_backwards_have_the_same_counts_of_each_channel(data: Any) -> None:
    counts = data.counts(10)
    assert torch.equal(counts, data.counts().reshape(4000, 70, 10).sum(2))
    assert torch.equal(counts.sum(1), data.events.time.isfinite().sum(1).float())
    for forward in range(0, 20, 2):
        one, other = (counts[data.classes == label] for label in (forward, forward + 1))
        error = (one.var(0) / len(one) + other.var(0) / len(other)).sqrt()
        assert ((one.mean(0) - other.mean(0)).abs() < FAR * error).all()


def test_counts_tell_the_word_and_only_order_tells_its_direction(draw: Any, data: Any) -> None:
    test = draw(1000, 2, 100)

    def accuracy(features: Tensor, of_test: Tensor) -> float:
        means = torch.stack([features[data.classes == label].mean(0) for label in range(20)])
        right = torch.cdist(of_test, means).argmin(1) == test.classes
        return right.double().mean().item()

    assert 0.35 < accuracy(data.counts(10), test.counts(10)) < 0.55
    assert accuracy(in_thirds(data), in_thirds(test)) > 0.8
