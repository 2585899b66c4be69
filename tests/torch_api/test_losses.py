"""Losses on spike times."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from evtorch import torch_api as snn

from ._networks import INF, gradient, spikes

TARGET = torch.tensor([0, 1, 2, 0])


def test_cross_entropy_is_the_published_formula():
    times = spikes(4, 3, 2)
    first = times[..., 0]
    loss = snn.TTFSCrossEntropyLoss(8e-3, xi=0.3, alpha=0.2, beta=1.5, reduction="none")
    for n, value in enumerate(loss(times, TARGET)):
        correct = first[n, TARGET[n]]
        expected = torch.exp(-(first[n] - correct) / (0.3 * 8e-3)).sum().log()
        expected = expected + 0.2 * (torch.exp(correct / (1.5 * 8e-3)) - 1)
        torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)


def test_cross_entropy_is_small_if_the_correct_output_spikes_first():
    times = torch.tensor([[[1e-2], [2e-2]]])
    loss = snn.TTFSCrossEntropyLoss()
    assert loss(times, torch.tensor([0])) < 0.01 < 1 < loss(times, torch.tensor([1]))


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_cross_entropy_of_silent_outputs(alpha):
    times = spikes(4, 3, 1)
    times[0, 0] = INF  # the correct one
    times[1, 0] = INF  # a wrong one
    times[2] = INF  # all
    times.requires_grad_()
    loss = snn.TTFSCrossEntropyLoss(alpha=alpha, reduction="none")
    values = loss(times, TARGET)
    assert values.isfinite().all()
    torch.testing.assert_close(values[2].item(), math.log(3))
    values.sum().backward()
    grad = gradient(times)
    assert grad.isfinite().all()
    assert (grad[times == INF] == 0).all()
    assert (grad[0, 1:] < 0).all(), "wrong outputs learn to spike later"
    filled = torch.where(times < INF, times, 5e-2).detach()
    early = snn.TTFSCrossEntropyLoss(silent_time=5e-2, reduction="none")
    torch.testing.assert_close(
        early(times, TARGET), snn.TTFSCrossEntropyLoss(reduction="none")(filled, TARGET)
    )


def test_mean_square_with_classes():
    times = spikes(4, 3, 2)
    loss = snn.SpikeTimeMSELoss(1e-2, 1.6e-2, time_unit=1e-2)
    target = torch.where(F.one_hot(TARGET, 3).bool(), 1.0, 1.6).double()
    torch.testing.assert_close(loss(times, TARGET), F.mse_loss(times[..., 0] * 100, target))


def test_mean_square_with_times():
    times, target = spikes(4, 3, 2), spikes(4, 3, 2, seed=1)
    torch.testing.assert_close(snn.SpikeTimeMSELoss()(times, target), F.mse_loss(times, target))
    first = snn.SpikeTimeMSELoss()(times, target[..., 0])
    torch.testing.assert_close(first, F.mse_loss(times[..., 0], target[..., 0]))


def test_mean_square_of_silent_outputs_and_targets():
    times = torch.tensor([[INF], [2.0], [INF], [1.0]], requires_grad=True)
    target = torch.tensor([[1.0], [INF], [INF], [1.5]])
    value = snn.SpikeTimeMSELoss(silent_time=4.0, reduction="none")(times, target)
    torch.testing.assert_close(value.flatten(), torch.tensor([9.0, 4.0, 0.0, 0.25]))
    value.sum().backward()
    torch.testing.assert_close(gradient(times).flatten(), torch.tensor([0.0, -4.0, 0.0, -1.0]))
    default = snn.SpikeTimeMSELoss(reduction="none")(times, target)
    torch.testing.assert_close(default.flatten(), torch.tensor([4.0, 1.0, 0.0, 0.25]))


def test_silence_as_the_only_target_needs_its_time():
    times = torch.tensor([[1e-3], [INF]], requires_grad=True)
    silence = torch.full((2, 1), INF)
    with pytest.raises(ValueError, match="silent_time must be given where no target is finite"):
        snn.SpikeTimeMSELoss()(times, silence)
    with pytest.raises(ValueError, match="silent_time must be given where no target is finite"):
        snn.SpikeTimeMSELoss(INF, INF)(times, torch.tensor(0))
    loss = snn.SpikeTimeMSELoss(silent_time=2e-2, reduction="sum")(times, silence)
    loss.backward()
    torch.testing.assert_close(loss.item(), 1.9e-2**2)
    assert gradient(times)[0] < 0, "descent delays the spike"


def test_the_term_on_late_spikes_stays_finite():
    times = torch.tensor([[[1.0], [2.0]]] * 100, requires_grad=True)
    loss = snn.TTFSCrossEntropyLoss(1e-2, alpha=1.0, reduction="sum")
    value = loss(times, torch.zeros(100, dtype=torch.int64))
    value.backward()
    assert value.isfinite()
    assert gradient(times).isfinite().all()


@pytest.mark.parametrize("kind", [snn.TTFSCrossEntropyLoss, snn.SpikeTimeMSELoss])
@pytest.mark.parametrize("batch", [(), (4,), (2, 2), (0,)])
def test_reductions_and_batch_dimensions(kind, batch):
    settings: dict[str, Any] = {"t_correct": 1e-2, "t_wrong": 2e-2}
    if kind is snn.TTFSCrossEntropyLoss:
        settings = {}
    times = spikes(*batch, 3, 1)
    target = torch.zeros(batch, dtype=torch.int64)
    none = kind(**settings, reduction="none")(times, target)
    assert none.shape == (batch if kind is snn.TTFSCrossEntropyLoss else (*batch, 3))
    torch.testing.assert_close(kind(**settings, reduction="sum")(times, target), none.sum())
    mean = none.mean() if none.numel() else none.new_zeros(())
    torch.testing.assert_close(kind(**settings)(times, target), mean)


def test_decision():
    times = torch.tensor([[[3.0], [1.0]], [[INF], [INF]], [[2.0], [2.0]]])
    assert snn.first_to_spike(times).tolist() == [1, -1, 0]
    assert snn.first_to_spike(torch.empty(2, 0, 1)).tolist() == [-1, -1]
    assert snn.first_to_spike(torch.empty(2, 3, 0)).tolist() == [-1, -1]
    assert snn.first_to_spike(times[0]).shape == ()
    with pytest.raises(TypeError, match=r"got Events; convert them with snn\.spike_times_from_e"):
        snn.first_to_spike(snn.events_from_spike_times(times[:1]))  # pyright: ignore[reportArgumentType]


TIMES = spikes(4, 3, 1)


@pytest.mark.parametrize(
    ("loss", "target", "error", "message"),
    [
        (snn.TTFSCrossEntropyLoss(), TARGET[:2], ValueError, r"target .*\(4,\), got \(2,\)"),
        (snn.TTFSCrossEntropyLoss(), TARGET + 1, ValueError, "target must hold classes >= 0 and"),
        (snn.TTFSCrossEntropyLoss(), -TARGET, ValueError, "target must hold classes >= 0 and"),
        (snn.TTFSCrossEntropyLoss(), TIMES, TypeError, "target must be an integer tensor"),
        (snn.TTFSCrossEntropyLoss(), [0, 1, 2, 0], TypeError, "target must be an integer tensor"),
        (snn.SpikeTimeMSELoss(), TARGET, ValueError, "t_correct and t_wrong must be given"),
        (snn.SpikeTimeMSELoss(), TIMES[:2], ValueError, "target times must have the shape"),
        (snn.SpikeTimeMSELoss(), TIMES.float(), TypeError, "target is torch.float32"),
        (snn.SpikeTimeMSELoss(), TIMES * math.nan, ValueError, "target times must be >= 0"),
        (snn.SpikeTimeMSELoss(), -TIMES, ValueError, "target times must be >= 0"),
        (snn.SpikeTimeMSELoss(1, 2), TARGET + 1, ValueError, "target must hold classes >= 0 and"),
    ],
)
def test_bad_targets(loss, target, error, message):
    with pytest.raises(error, match=message):
        loss(TIMES, target)


@pytest.mark.parametrize("loss", [snn.TTFSCrossEntropyLoss(), snn.SpikeTimeMSELoss(1, 2)])
def test_bad_spikes(loss):
    with pytest.raises(ValueError, match="spikes must not be NaN"):
        loss(TIMES * math.nan, TARGET)
    for bad in (-TIMES, torch.full_like(TIMES, -INF)):
        with pytest.raises(ValueError, match="spikes must be >= 0"):
            loss(bad, TARGET)
    with pytest.raises(TypeError, match="spikes must be float32 or float64"):
        loss(TARGET, TARGET)
    with pytest.raises(TypeError, match=r"got Events; convert them with snn\.spike_times_from_e"):
        loss(snn.events_from_spike_times(TIMES), TARGET)
    with pytest.raises(ValueError, match=r"with one spike per class, spikes\.unsqueeze\(-1\)"):
        loss(TIMES[..., 0], TARGET)
    with pytest.raises(ValueError, match="spikes must have room for a spike"):
        loss(TIMES[..., :0], TARGET)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (snn.TTFSCrossEntropyLoss, {"tau_syn": 0.0}),
        (snn.TTFSCrossEntropyLoss, {"xi": -1.0}),
        (snn.TTFSCrossEntropyLoss, {"alpha": -1.0}),
        (snn.TTFSCrossEntropyLoss, {"beta": 0.0}),
        (snn.TTFSCrossEntropyLoss, {"silent_time": INF}),
        (snn.TTFSCrossEntropyLoss, {"reduction": "average"}),
        (snn.SpikeTimeMSELoss, {"t_correct": 1.0}),
        (snn.SpikeTimeMSELoss, {"t_wrong": -1.0, "t_correct": 1.0}),
        (snn.SpikeTimeMSELoss, {"silent_time": math.nan}),
        (snn.SpikeTimeMSELoss, {"time_unit": 0.0}),
        (snn.SpikeTimeMSELoss, {"reduction": "average"}),
    ],
)
def test_bad_settings(kind, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        kind(**settings)
