"""The recurrent layer as a module: its spikes, gradients and manners."""

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from evtorch import torch_api as snn

from ..reference import Neuron, simulate_recurrent
from ._networks import INF, draw_delay, spikes, strong

INPUTS, NEURONS = 3, 3
CONSTANTS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
# Times are of order 1 here, so that one step of finite differences suits all arguments.
UNIT: dict[str, Any] = {
    "tau_mem": 2.0,
    "tau_syn": 1.0,
    "v_leak": 0.1,
    "v_reset": -0.2,
    "refractory": 0.3,
    "max_spikes": 3,
    "t_max": 3.0,
    "on_overflow": "truncate",
    "dtype": torch.float64,
}


def recurrent(seed=2, scale=1.0, **options):
    """A layer whose neurons spike, and excite and inhibit each other."""
    layer = snn.RecurrentLIF(INPUTS, NEURONS, **{**UNIT, **options})
    strong(layer)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.recurrent_weight.normal_(0, scale, generator=generator)
    return layer


def inputs(dtype=torch.float64):
    return (spikes(2, INPUTS, 1) * 100).to(dtype)


def finite(times):
    return torch.where(times < INF, times, 0)


def reference(layer, times):
    neurons = [Neuron(**{name: float(getattr(layer, name)) for name in CONSTANTS})] * NEURONS
    weights = layer.weight.detach().numpy(), layer.recurrent_weight.detach().numpy()
    options = {"max_spikes": layer.max_spikes, "t_max": layer.t_max}
    runs = [simulate_recurrent(neurons, sample, *weights, **options) for sample in times.numpy()]
    return np.array([run.times(layer.max_spikes) for run in runs])


def test_spikes_equal_the_reference():
    layer = recurrent()
    times = inputs()
    out = layer(times)
    assert out.shape == (2, NEURONS, 3)
    assert (out[..., 1] < INF).any()
    np.testing.assert_allclose(out.detach(), reference(layer, times), rtol=1e-10)
    without = copy.deepcopy(layer)
    torch.nn.init.zeros_(without.recurrent_weight)
    assert not torch.allclose(finite(without(times)), finite(out))


def test_gradcheck_of_input_and_all_parameters():
    layer = recurrent(learn=CONSTANTS, delay="axonal", recurrent_delay="axonal")
    draw_delay(layer, 0.1, 0.5)
    assert layer.recurrent_delay is not None
    torch.nn.init.uniform_(layer.recurrent_delay, 0.1, 0.5)
    names = [name for name, _ in layer.named_parameters()]
    assert set(names) == {"weight", "recurrent_weight", "delay", "recurrent_delay", *CONSTANTS}

    def function(times, *values):
        parameters = dict(zip(names, values, strict=True))
        return finite(torch.func.functional_call(layer, parameters, (times,)))

    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    given = inputs().requires_grad_()
    assert torch.autograd.gradcheck(function, (given, *values), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_functional_and_events_are_the_same():
    layer = recurrent()
    times = inputs().requires_grad_()
    options = {k: v for k, v in UNIT.items() if k != "dtype"}
    weights = layer.weight, layer.recurrent_weight
    found = []
    for call in (
        lambda: layer(times),
        lambda: snn.functional.recurrent_lif(times, *weights, **options),
        lambda: layer(snn.events_from_spike_times(times)),
    ):
        out = call()
        found.append([out, *torch.autograd.grad(finite(out).pow(2).sum(), (times, *weights))])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def test_copies_pickles_and_state_dict():
    layer = recurrent()
    times = inputs()
    expected = layer(times)
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    other = recurrent(seed=5)
    other.load_state_dict(layer.state_dict())
    assert set(layer.state_dict()) == {"weight", "recurrent_weight", "_extra_state"}
    for same in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(file, weights_only=False),
        other,
    ):
        assert torch.equal(same(times), expected)
    assert "3, 3, tau_mem=2, " in repr(layer)
    delayed = recurrent(recurrent_delay="axonal")
    delayed.load_state_dict(layer.state_dict(), strict=False)
    torch.testing.assert_close(delayed(times), expected, rtol=1e-12, atol=0)
    assert "delay='axonal'" in repr(snn.RecurrentLIF(2, 2, delay="axonal"))


def test_trace_is_that_of_neurons_that_get_each_others_spikes():
    layer = recurrent(delay="axonal", recurrent_delay="axonal")
    for delay in (layer.delay, layer.recurrent_delay):
        torch.nn.init.uniform_(delay, 0.1, 0.5)
    times, looks = inputs(), torch.linspace(0, 3, 7, dtype=torch.float64)
    own = layer(times)
    arriving = [
        torch.nn.functional.pad(snn.functional.delay(times, layer.delay), (0, 2), value=INF),
        snn.functional.delay(own, layer.recurrent_delay),
    ]
    expected = snn.functional.lif_observed_trace(
        torch.cat(arriving, dim=-2),
        torch.cat([layer.weight, layer.recurrent_weight], dim=-1),
        own,
        looks,
        **layer.constants(),
    )
    trace = layer.trace(times, looks)
    torch.testing.assert_close(trace, expected, rtol=1e-12, atol=1e-12)
    of_events = layer.trace(snn.events_from_spike_times(times), looks)
    torch.testing.assert_close(of_events, trace, rtol=1e-12, atol=1e-12)
    parameters = list(layer.parameters())
    for ours, theirs in zip(
        torch.autograd.grad(trace.square().sum(), parameters),
        torch.autograd.grad(expected.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    layer.max_spikes, layer.on_overflow = 1, "error"
    with pytest.raises(snn.SpikeOverflowError, match="accept that these samples end"):
        layer.trace(times, looks)


def test_initial_recurrent_weights_are_small_and_of_either_sign():
    layer = snn.RecurrentLIF(5, 200)
    weight = layer.recurrent_weight
    peak = 0.25
    assert weight.std().item() == pytest.approx(0.2 / (200**0.5 * peak), rel=0.02)
    assert abs(weight.mean().item()) < 0.02 * weight.std().item()
    torch.manual_seed(1)
    again = snn.RecurrentLIF(5, 200)
    assert not torch.equal(again.recurrent_weight, weight)


def test_overflow_health_and_rescue():
    layer = recurrent(max_spikes=1, on_overflow="error")
    times = inputs()
    with pytest.raises(
        snn.SpikeOverflowError, match=r"max_spikes = 1 times.*accept that these samples end"
    ):
        layer(times)
    layer.on_overflow = "truncate"
    out = layer(times)
    (health,) = snn.health_report(layer).layers
    assert health.samples == 2
    assert health.counts.overflow.sum() > 0
    np.testing.assert_allclose(out.detach(), reference(layer, times), rtol=1e-10)
    with torch.no_grad():
        layer.weight[0] = -1.0
    layer(times)
    before = layer.weight[0].clone()
    assert snn.rescue_silent_(layer, max_silent=0.5) >= 1
    assert (layer.weight[0] > before).all()


def test_an_optimiser_lowers_the_loss_through_recurrent_weights_alone():
    layer = recurrent(refractory=INF, scale=0.3)
    target = layer(inputs()).detach()[..., 0]
    torch.nn.init.zeros_(layer.recurrent_weight)
    loss = snn.SpikeTimeMSELoss()
    optimiser = torch.optim.Adam([layer.recurrent_weight], 2e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        value = loss(layer(inputs())[..., :1], target[..., None])
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < losses[0] / 10


@pytest.mark.parametrize("shape", [(2, 4, 0), (0, 4, 1)])
def test_nothing_in_nothing_out(shape):
    layer = snn.RecurrentLIF(4, 3, refractory=INF)
    out = layer(torch.empty(shape))
    assert out.shape == (shape[0], 3, 1)
    assert (out == INF).all()
    finite(out).sum().backward()
    assert layer.recurrent_weight.grad is not None
    assert (layer.recurrent_weight.grad == 0).all()


def test_no_neurons():
    layer = snn.RecurrentLIF(3, 0)
    times = inputs(torch.float32).requires_grad_()
    out = layer(times)
    assert out.shape == (2, 0, 1)
    (gradient,) = torch.autograd.grad(out.sum(), times)
    assert (gradient == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recurrent_weight": torch.zeros(3, 2)}, r"recurrent_weight must have shape \(3, 3\)"),
        ({"recurrent_weight": torch.full((3, 3), float("nan"))}, "recurrent_weight must be finite"),
        ({"recurrent_weight": torch.zeros(3, 3).double()}, "recurrent_weight is torch.float64"),
        ({"recurrent_weight": [[0.0] * 3] * 3}, "recurrent_weight must be a tensor"),
        ({"recurrent_delay": -1.0}, "recurrent_delay must be >= 0"),
        ({"recurrent_delay": torch.full((3,), INF)}, "recurrent_delay must be finite"),
        ({"recurrent_delay": torch.zeros(2)}, r"recurrent_delay must .*shape \(3,\)"),
        ({"max_spikes": 0}, "max_spikes must be >= 1"),
        ({"v_reset": 2.0}, "v_reset must be below v_threshold"),
    ],
)
def test_bad_arguments_are_named(change, message):
    given = {"weight": torch.ones(3, 3), "recurrent_weight": torch.zeros(3, 3), **change}
    with pytest.raises((TypeError, ValueError), match=message):
        snn.functional.recurrent_lif(inputs(torch.float32), **given)


def test_options_that_only_the_feed_forward_layer_has_are_refused():
    kind: Any = "dendritic"
    for name in ("delay", "recurrent_delay"):
        with pytest.raises(ValueError, match=rf"^{name} must be None, 'axonal'.*'dendritic'"):
            snn.RecurrentLIF(2, 2, **{name: kind})
    other: Any = {"backend": None}
    with pytest.raises(TypeError, match="backend"):
        snn.RecurrentLIF(2, 2, **other)


def test_masks_leave_the_weights_of_their_connections():
    torch.manual_seed(0)
    mask = torch.rand(6, 5) < 0.5
    mask[:, 0] = True
    among = torch.rand(6, 6) < 0.4
    among[2] = False
    options = {"max_spikes": 4, "on_overflow": "truncate", "dtype": torch.float64}
    layer = snn.RecurrentLIF(5, 6, mask=mask, recurrent_mask=among, **options)
    dense = snn.RecurrentLIF(5, 6, **options)
    assert layer.weight.shape == (int(mask.sum()),)
    assert layer.recurrent_weight.shape == (int(among.sum()),)
    with torch.no_grad():
        layer.recurrent_weight.mul_(5)
        dense.weight.copy_(layer.dense_weight())
        dense.recurrent_weight.copy_(layer.dense_recurrent_weight())
    inputs = torch.rand(4, 5, 1, dtype=torch.float64) * 2e-2
    outputs = layer(inputs), dense(inputs)
    torch.testing.assert_close(*outputs, rtol=0, atol=0)
    for out in outputs:
        out.nan_to_num(posinf=0).sum().backward()
    torch.testing.assert_close(layer.weight.grad, dense.weight.grad[mask])
    torch.testing.assert_close(layer.recurrent_weight.grad, dense.recurrent_weight.grad[among])
    times = torch.linspace(0, 3e-2, 7, dtype=torch.float64)
    torch.testing.assert_close(layer.trace(inputs, times), dense.trace(inputs, times))
    snn.initialise_(layer, inputs, active=0.5)
    snn.weight_penalty(layer).backward()
    other = snn.RecurrentLIF(5, 6, connections=mask.nonzero(), recurrent_mask=among, **options)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(inputs), layer(inputs), rtol=0, atol=0)


def test_masks_of_a_recurrent_layer_are_checked():
    every = torch.ones(6, 6, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"recurrent_mask must be bool of shape \(6, 6\)"):
        snn.RecurrentLIF(5, 6, recurrent_mask=torch.ones(6, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="recurrent_mask and recurrent_connections say the same"):
        snn.RecurrentLIF(5, 6, recurrent_mask=every, recurrent_connections=[(0, 1)])
    with pytest.raises(ValueError, match="mask has no connection in row 0"):
        snn.RecurrentLIF(5, 6, mask=torch.zeros(6, 5, dtype=torch.bool))
