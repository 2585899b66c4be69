"""The distance of van Rossum between spike trains."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from evtorch import torch_api as snn

from ._networks import INF, gradient, spikes
from .test_count_losses import check_gradient, trains

TAU = 5e-3
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)


def by_quadrature(train, target, tau):
    """``1/tau`` times the integral of the squared difference of the two traces."""
    signed = [(t, 1.0) for t in train if t < INF] + [(t, -1.0) for t in target if t < INF]
    ends = sorted({t for t, _ in signed})
    if not ends:
        return 0.0
    edges = [*ends, *(ends[-1] + tau * np.arange(1, 21))]
    total = 0.0
    for start, end in itertools.pairwise(edges):
        t = start + (end - start) * (_NODES + 1) / 2
        trace = sum(s * np.exp(-(t - at) / tau) for at, s in signed if at <= start)
        total += (end - start) / 2 * (_WEIGHTS * trace**2).sum()
    return total / tau


@pytest.mark.parametrize("tau", [1e-3, TAU, 0.1])
def test_the_distance_is_the_integral(tau):
    train, target = trains(4, 3, 5), trains(4, 3, 3, seed=1)
    train[0, 0] = INF
    train[1, 1], target[1, 1] = INF, INF
    loss = snn.VanRossumLoss(tau, reduction="none")
    distance = loss(train, target)
    assert distance.shape == (4, 3)
    pairs = zip(train.reshape(-1, 5).tolist(), target.reshape(-1, 3).tolist(), strict=True)
    expected = np.reshape([by_quadrature(*pair, tau) for pair in pairs], (4, 3))
    np.testing.assert_allclose(distance.numpy(), expected, rtol=1e-9, atol=1e-13)
    assert expected[1, 1] == 0
    torch.testing.assert_close(loss(target, train), distance, rtol=1e-12, atol=1e-14)
    assert distance.sqrt().isfinite().all()


def test_gradients_with_respect_to_both_trains():
    train, target = trains(2, 2, 3), trains(2, 2, 4, seed=1)
    loss = snn.VanRossumLoss(TAU)
    check_gradient(loss, train, target)
    check_gradient(lambda moved, other: loss(other, moved), target, train)
    full = spikes(2, 2, 3).requires_grad_()
    assert gradcheck(lambda t: loss(t, target), full, eps=1e-8, atol=1e-6, rtol=1e-6)


def test_known_values():
    def distance(train, target):
        return snn.functional.van_rossum(torch.tensor([train]), torch.tensor([target]), 1.0).item()

    assert distance([INF, INF], [INF]) == 0
    assert distance([3.0], [INF]) == pytest.approx(0.5)
    assert distance([3.0], [1e4]) == pytest.approx(1.0)
    assert distance([1.0, 2.0], [1.0, 2.0]) == 0
    assert distance([1.0], [1.5]) == pytest.approx(1 - math.exp(-0.5), rel=1e-6)


TRAINS = st.lists(st.floats(0.0, 20.0, width=32), max_size=5).map(
    lambda times: torch.tensor([sorted(times) + [INF] * (5 - len(times))], dtype=torch.float64)
)


@given(TRAINS, TRAINS, TRAINS, st.floats(0.25, 8.0))
def test_the_root_is_a_distance_that_shifts_do_not_change(a, b, c, shift):
    def squared(x, y):
        return snn.functional.van_rossum(x, y, 2.0).item()

    assert squared(a, a) == pytest.approx(0, abs=1e-12)
    assert squared(a, b) == pytest.approx(squared(b, a), abs=1e-12)
    assert squared(a + shift, b + shift) == pytest.approx(squared(a, b), rel=1e-6, abs=1e-12)
    assert squared(a, c) ** 0.5 <= squared(a, b) ** 0.5 + squared(b, c) ** 0.5 + 1e-6


@pytest.mark.parametrize("slots", [1, 8])
def test_close_trains_in_float32(slots):
    target = trains(200, slots).float()
    moved = (target * (1 + 2.0**-18)).requires_grad_()
    single = snn.functional.van_rossum(moved, target, TAU, reduction="none")
    double = snn.functional.van_rossum(moved.double(), target.double(), TAU, reduction="none")
    assert (single >= 0).all()
    # Of single spikes all digits are kept; else terms that cancel leave their rounding.
    close = {"rtol": 1e-5, "atol": 0.0} if slots == 1 else {"rtol": 0.0, "atol": 3e-6}
    torch.testing.assert_close(single.double(), double, **close)
    single.sum().backward()
    assert gradient(moved).isfinite().all()


def test_far_times_and_equal_trains_have_finite_gradients():
    target = torch.tensor([[0.0, 1.0, 1e30, INF]], requires_grad=True)
    train = target.detach().clone().requires_grad_()
    loss = snn.VanRossumLoss(1e-30)(train, target)
    loss.backward()
    assert loss == 0
    for times in (train, target):
        assert torch.equal(gradient(times), torch.zeros(1, 4))


@pytest.mark.parametrize("batch", [(), (4,), (2, 2), (0,)])
@pytest.mark.parametrize("slots", [0, 2])
def test_reductions_and_shapes(batch, slots):
    train = spikes(*batch, 3, slots).requires_grad_()
    target = spikes(*batch, 3, 4)
    none = snn.VanRossumLoss(TAU, reduction="none")(train, target)
    assert none.shape == (*batch, 3)
    torch.testing.assert_close(snn.VanRossumLoss(TAU, reduction="sum")(train, target), none.sum())
    mean = snn.VanRossumLoss(TAU)(train, target)
    torch.testing.assert_close(mean, none.mean() if none.numel() else none.new_zeros(()))
    mean.backward()


TRAIN = spikes(4, 3, 2)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (spikes(4, 2, 2), ValueError, r"target must have the shape of spikes .*\(4, 3, 'k'\)"),
        (spikes(3, 2), ValueError, "target must have the shape of spikes"),
        (TRAIN.float(), TypeError, "target is torch.float32, but spikes is torch.float64"),
        (TRAIN * math.nan, ValueError, "target must not be NaN"),
        (torch.ones(4, 3, 2, dtype=torch.int64), TypeError, "target must be float32 or float64"),
        (snn.events_from_spike_times(TRAIN), TypeError, "target .*snn.spike_times_from_events"),
        (None, TypeError, "target must be a tensor"),
    ],
)
def test_bad_targets(target, error, message):
    with pytest.raises(error, match=message):
        snn.VanRossumLoss(TAU)(TRAIN, target)


def test_bad_spikes_and_settings():
    with pytest.raises(ValueError, match="spikes must be >= 0"):
        snn.VanRossumLoss(TAU)(-TRAIN, TRAIN)
    for tau in (0.0, INF, math.nan):
        with pytest.raises(ValueError, match="tau must be finite and > 0"):
            snn.VanRossumLoss(tau)
    with pytest.raises(ValueError, match="reduction must be"):
        snn.VanRossumLoss(TAU, reduction="average")  # pyright: ignore[reportArgumentType]
