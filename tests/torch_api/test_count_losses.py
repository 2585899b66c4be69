"""Soft spike counts, and losses on them."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from evtorch import torch_api as snn

from ._networks import INF, gradient, spikes

TARGET = torch.tensor([0, 1, 2, 0])
T_MAX, WIDTH = 1.5e-2, 4e-3


def trains(*shape: int, seed: int = 0) -> torch.Tensor:
    """Spike times within 20 ms, about a third of them missing."""
    times = spikes(*shape, seed=seed)
    missing = torch.rand(times.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
    return torch.where(missing, INF, times).sort(dim=-1).values


def counted(times, t_max, width):
    """Spike by spike."""
    flat = times.reshape(-1, times.shape[-1]).tolist()
    counts = [sum(min(1.0, max(0.0, (t_max - t) / width)) for t in train) for train in flat]
    return np.reshape(counts, times.shape[:-1])


@pytest.mark.parametrize("width", [None, WIDTH, 3e-2, 1e-9])
def test_counts_are_the_formula(width):
    times = trains(4, 3, 5)
    counts = snn.functional.soft_count(times, T_MAX, width)
    expected = counted(times, T_MAX, width or T_MAX)
    np.testing.assert_allclose(counts.numpy(), expected, rtol=1e-12)
    if width == 1e-9:
        assert torch.equal(counts, (times < T_MAX).sum(dim=-1).double()), "whole numbers"


def test_the_gradient_is_that_of_the_count_and_silence_has_none():
    times = trains(2, 3, 4)
    times[0, 1] = INF
    times.requires_grad_()
    snn.functional.soft_count(times, T_MAX, WIDTH).sum().backward()
    fading = (times > T_MAX - WIDTH) & (times < T_MAX)
    assert fading.any()
    assert not fading.all()
    torch.testing.assert_close(gradient(times), torch.where(fading, -1 / WIDTH, 0.0).double())


def test_a_spike_leaves_the_window_without_a_jump():
    near = torch.linspace(-1e-9, 1e-9, 11, dtype=torch.float64).reshape(-1, 1, 1)
    counts = snn.functional.soft_count(T_MAX + near, T_MAX)
    assert counts.max() < 1e-6
    assert (counts[6:] == 0).all()


@pytest.mark.parametrize(("scale", "smoothing"), [(1.0, 0.0), (2.5, 0.2)])
def test_cross_entropy_is_that_of_the_counts(scale, smoothing):
    times = trains(4, 3, 5)
    loss = snn.SpikeCountCrossEntropyLoss(
        T_MAX, width=WIDTH, scale=scale, label_smoothing=smoothing, reduction="none"
    )
    logits = scale * counted(times, T_MAX, WIDTH)
    share = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    wanted = (1 - smoothing) * np.eye(3)[TARGET.numpy()] + smoothing / 3
    expected = -(wanted * np.log(share)).sum(axis=-1)
    np.testing.assert_allclose(loss(times, TARGET).numpy(), expected, rtol=1e-12)
    check_gradient(loss, times, TARGET)


def check_gradient(loss, times, target):
    """Of the finite times; finite differences cannot move infinity."""
    present = times < INF

    def of_finite(values):
        return loss(torch.full_like(times, INF).masked_scatter(present, values), target)

    assert gradcheck(of_finite, times[present].requires_grad_(), eps=1e-8, atol=1e-6, rtol=1e-6)


def test_descent_draws_correct_spikes_forward_and_delays_the_others():
    times = spikes(4, 3, 2).requires_grad_()
    snn.SpikeCountCrossEntropyLoss(3e-2)(times, TARGET).backward()
    correct = F.one_hot(TARGET, 3).bool()
    assert (gradient(times)[correct] > 0).all()
    assert (gradient(times)[~correct] < 0).all()


def test_mean_square_with_classes_and_with_counts():
    times = trains(4, 3, 5)
    counts = counted(times, T_MAX, T_MAX)
    loss = snn.SpikeCountMSELoss(T_MAX, 2.5, 0.5)
    wanted = np.where(np.eye(3)[TARGET.numpy()] > 0, 2.5, 0.5)
    error = np.mean((counts - wanted) ** 2)
    np.testing.assert_allclose(loss(times, TARGET).numpy(), error, rtol=1e-12)
    given = snn.SpikeCountMSELoss(T_MAX)(times, torch.tensor(wanted))
    np.testing.assert_allclose(given.numpy(), error, rtol=1e-12)
    check_gradient(loss, times, TARGET)


LOSSES = [snn.SpikeCountCrossEntropyLoss, lambda *a, **n: snn.SpikeCountMSELoss(*a, 2, 0, **n)]


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("batch", [(), (4,), (2, 2), (0,)])
def test_reductions_silence_and_batch_dimensions(kind, batch):
    times = torch.full((*batch, 3, 2), INF, requires_grad=True)
    target = torch.zeros(batch, dtype=torch.int64)
    none = kind(T_MAX, reduction="none")(times, target)
    torch.testing.assert_close(kind(T_MAX, reduction="sum")(times, target), none.sum())
    mean = kind(T_MAX)(times, target)
    torch.testing.assert_close(mean, none.mean() if none.numel() else none.new_zeros(()))
    mean.backward()
    assert torch.equal(gradient(times), torch.zeros_like(times))


TIMES = spikes(4, 3, 2)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize(
    ("times", "target", "error", "message"),
    [
        (TIMES, TARGET + 1, ValueError, "target must hold classes >= 0 and < 3"),
        (TIMES, TARGET[:2], ValueError, r"target must hold one class .*\(4,\), got \(2,\)"),
        (TIMES, [0, 1, 2, 0], TypeError, "target must be a"),
        (TIMES[:, :0], TARGET, ValueError, "classes >= 1"),
        (TIMES * math.nan, TARGET, ValueError, "spikes must not be NaN"),
        (-TIMES, TARGET, ValueError, "spikes must be >= 0"),
        (TIMES.half(), TARGET, TypeError, "spikes must be float32 or float64"),
        (snn.events_from_spike_times(TIMES), TARGET, TypeError, "snn.spike_times_from_events"),
    ],
)
def test_bad_input(kind, times, target, error, message):
    with pytest.raises(error, match=message):
        kind(T_MAX)(times, target)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (TARGET, ValueError, "correct and wrong must be given where target holds classes"),
        (torch.ones(4, 2, dtype=torch.float64), ValueError, r"shape .*\(4, 3\), got \(4, 2\)"),
        (torch.ones(4, 3), TypeError, "target is torch.float32"),
        (torch.full((4, 3), INF, dtype=torch.float64), ValueError, "target counts must be finite"),
        (-torch.ones(4, 3, dtype=torch.float64), ValueError, "target counts must be finite"),
    ],
)
def test_bad_counts(target, error, message):
    with pytest.raises(error, match=message):
        snn.SpikeCountMSELoss(T_MAX)(TIMES, target)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (snn.SpikeCountCrossEntropyLoss, {"t_max": INF}),
        (snn.SpikeCountCrossEntropyLoss, {"width": 0.0}),
        (snn.SpikeCountCrossEntropyLoss, {"scale": -1.0}),
        (snn.SpikeCountCrossEntropyLoss, {"label_smoothing": math.nan}),
        (snn.SpikeCountCrossEntropyLoss, {"reduction": "average"}),
        (snn.SpikeCountMSELoss, {"t_max": 0.0}),
        (snn.SpikeCountMSELoss, {"correct": 1.0}),
        (snn.SpikeCountMSELoss, {"wrong": -1.0, "correct": 1.0}),
    ],
)
def test_bad_settings(kind, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} .*must"):
        kind(**{"t_max": T_MAX, **settings})
