"""Terms of a loss on rates, latencies and weights."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from ._networks import INF, gradient, spikes
from .test_count_losses import check_gradient, counted, trains

T_MAX, WIDTH = 1.5e-2, 8e-3


@pytest.mark.parametrize("width", [None, WIDTH])
@pytest.mark.parametrize(("lower", "upper"), [(0.0, INF), (0.0, 1.2), (1.5, INF), (1.2, 1.4)])
def test_rates_are_held_within_bounds(lower, upper, width):
    times = trains(6, 4, 5)
    times[:, 0] = INF
    mean = counted(times, T_MAX, width or T_MAX).mean(axis=0)
    outside = np.maximum(0, mean - upper) + np.maximum(0, lower - mean)
    penalty = snn.rate_penalty(times, lower, upper, T_MAX, width)
    np.testing.assert_allclose(penalty.numpy(), (outside**2).mean(), rtol=1e-12)
    check_gradient(lambda t, _: snn.rate_penalty(t, lower, upper, T_MAX, width), times, None)


def test_bounds_of_single_neurons_and_what_descent_does():
    times = trains(3, 2, 4, 5).requires_grad_()
    times.data[..., 3, :] = INF
    lower = torch.tensor([0.0, 4.0, 0.0, 4.0], dtype=torch.float64)
    upper = torch.tensor([0.0, INF, INF, INF], dtype=torch.float64)
    penalty = snn.rate_penalty(times, lower, upper, 3e-2)
    each = [
        snn.rate_penalty(times[..., k : k + 1, :], float(lower[k]), float(upper[k]), 3e-2)
        for k in range(4)
    ]
    torch.testing.assert_close(penalty, torch.stack(each).mean())
    penalty.backward()
    grad, fired = gradient(times), times < INF
    assert (grad[..., 0, :][fired[..., 0, :]] < 0).all(), "too many: spikes are delayed"
    assert (grad[..., 1, :][fired[..., 1, :]] > 0).all(), "too few: spikes are drawn forward"
    assert (grad[..., 2, :] == 0).all()
    assert (grad[~fired] == 0).all(), "silence has no gradient"
    assert each[3] == 16


@pytest.mark.parametrize("unit", [None, 2e-3])
def test_late_spikes_are_drawn_forward(unit):
    times, t_late = trains(6, 4, 5), 8e-3
    penalty = snn.latency_penalty(times, t_late, time_unit=unit)
    late = [max(0.0, t - t_late) if t < INF else 0.0 for t in times.flatten().tolist()]
    expected = sum((x / (unit or t_late)) ** 2 for x in late) / 24
    np.testing.assert_allclose(penalty.numpy(), expected, rtol=1e-12)
    check_gradient(lambda t, _: snn.latency_penalty(t, t_late, time_unit=unit), times, None)
    moved = times.requires_grad_()
    snn.latency_penalty(moved, t_late, time_unit=unit).backward()
    assert torch.equal(gradient(moved) > 0, (moved > t_late) & (moved < INF))


@pytest.mark.parametrize("shape", [(0, 4, 5), (6, 0, 5), (6, 4, 0), (4, 5)])
def test_empty_batches_and_no_batch(shape):
    times = spikes(*shape).requires_grad_()
    total = snn.rate_penalty(times, 0.0, 0.5, T_MAX) + snn.latency_penalty(times, 1e-3)
    assert total.isfinite()
    assert (total > 0) == (shape == (4, 5))
    total.backward()
    assert gradient(times).isfinite().all()


TIMES = spikes(4, 3, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: snn.rate_penalty(TIMES, 2.0, 1.0, T_MAX), ValueError, "lower must be .* <= upper"),
        (lambda: snn.rate_penalty(TIMES, INF, INF, T_MAX), ValueError, "lower must be finite"),
        (lambda: snn.rate_penalty(TIMES, -1.0, 1.0, T_MAX), ValueError, "lower must be finite and"),
        (lambda: snn.rate_penalty(TIMES, 0.0, -torch.ones(3).double(), T_MAX), ValueError, "upper"),
        (lambda: snn.rate_penalty(TIMES, 0.0, torch.ones(3), T_MAX), TypeError, "upper is torch.f"),
        (
            lambda: snn.rate_penalty(TIMES, torch.zeros(2).double(), 1.0, T_MAX),
            ValueError,
            r"lower must be a number or a tensor of shape \(3,\), got \(2,\)",
        ),
        (lambda: snn.rate_penalty(TIMES, 0.0, 1.0, INF), ValueError, "t_max must be finite"),
        (lambda: snn.rate_penalty(TIMES, 0.0, 1.0, T_MAX, 0.0), ValueError, "width must be"),
        (lambda: snn.rate_penalty(-TIMES, 0.0, 1.0, T_MAX), ValueError, "spikes must be >= 0"),
        (lambda: snn.latency_penalty(TIMES, -1.0), ValueError, "t_late must be finite and >= 0"),
        (lambda: snn.latency_penalty(TIMES, 0.0), ValueError, "time_unit must be given where t_l"),
        (lambda: snn.latency_penalty(TIMES, 1.0, time_unit=0.0), ValueError, "time_unit must be"),
        (lambda: snn.latency_penalty(TIMES * math.nan, 1.0), ValueError, "spikes must not be NaN"),
        (
            lambda: snn.latency_penalty(snn.events_from_spike_times(TIMES), 1.0),  # pyright: ignore[reportArgumentType]
            TypeError,
            "snn.spike_times_from_events",
        ),
        (lambda: snn.weight_penalty(nn.Linear(2, 3)), ValueError, "model must have LIF, Recurrent"),
        (lambda: snn.weight_penalty(snn.LIF(2, 3), -1.0), ValueError, "limit must be finite and >"),
        (lambda: snn.weight_penalty([snn.LIF(2, 3)]), TypeError, "model must be a torch.nn.Mod"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def peak(tau_mem, tau_syn):
    """The highest voltage after a spike of weight 1, on a fine grid."""
    t = np.linspace(0, 10 * (tau_mem + tau_syn), 2_000_001)
    decays = np.exp(-t / tau_mem) - np.exp(-t / tau_syn)
    return (tau_syn / (tau_mem - tau_syn) * decays).max()


@pytest.mark.parametrize("limit", [None, 0.4])
def test_weights_are_measured_against_the_threshold(limit):
    torch.manual_seed(0)
    tau_mem = torch.tensor([1e-2, 2e-2, 3e-2])
    hidden = snn.LIF(5, 3, tau_mem=tau_mem, tau_syn=4e-3, v_threshold=0.8, v_leak=0.2)
    loop = snn.RecurrentLIF(3, 6, tau_mem=1.2e-2, tau_syn=5e-3)
    model = nn.Sequential(hidden, loop, nn.Identity(), snn.LI(6, 2, tau_syn=5e-3), nn.Linear(2, 2))

    def term(weight, height, tau_mem, tau_syn):
        weight = weight.detach().double().numpy()
        critical = height / (weight.shape[1] * np.array([peak(t, tau_syn) for t in tau_mem]))
        beyond = weight if limit is None else np.maximum(0, np.abs(weight) - limit)
        return ((beyond / critical[:, None]) ** 2).mean()

    expected = (
        term(hidden.weight, 0.6, tau_mem.tolist(), 4e-3)
        + term(loop.weight, 1.0, [1.2e-2], 5e-3)
        + term(loop.recurrent_weight, 1.0, [1.2e-2], 5e-3)
        + term(model[3].weight, 1.0, [2e-2], 5e-3)
    )
    penalty = snn.weight_penalty(model, limit)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)
    penalty.backward()
    for layer in (hidden, loop, model[3]):
        grad = gradient(layer.weight)
        beyond = layer.weight.abs() > (limit or 0)
        assert torch.equal(grad.sign(), layer.weight.sign() * beyond)
    assert gradient(loop.recurrent_weight).isfinite().all()
    assert model[4].weight.grad is None


def test_a_layer_without_weights_and_learned_constants():
    layer = snn.LIF(0, 3)
    assert snn.weight_penalty(layer) == 0
    layer = snn.LIF(2, 3, learn=("tau_mem",))
    snn.weight_penalty(layer).backward()
    assert layer.tau_mem.grad is None, "the unit is a constant"  # pyright: ignore[reportAttributeAccessIssue]
