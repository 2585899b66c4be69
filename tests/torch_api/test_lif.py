"""The LIF module against the independent reference, and what its options mean."""

from typing import Any

import numpy as np
import pytest
import torch

from evtorch import torch_api as snn

from ..reference import Neuron, simulate
from ._networks import INF, draw_delay, spikes, strong

MS = 1e-3
EPS32 = torch.finfo(torch.float32).eps


def reference(inputs, layer, delays=None):
    """First ``max_spikes`` spikes of every neuron, ``(batch, out, max_spikes)``."""
    out = torch.full((len(inputs), layer.out_features, layer.max_spikes), INF, dtype=torch.float64)
    constants = {
        name: torch.as_tensor(getattr(layer, name), dtype=torch.float64).expand(layer.out_features)
        for name in ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
    }
    for b, sample in enumerate(inputs):
        for j in range(layer.out_features):
            neuron = Neuron(**{name: value[j].item() for name, value in constants.items()})
            events = sorted(
                (t.item() + (0 if delays is None else delays[j, i].item()), w.item())
                for i, w in enumerate(layer.weight[j])
                for t in sample[i]
                if t < INF
            )
            times, weights = zip(*events, strict=True)
            run = simulate(neuron, times, weights, layer.max_spikes, layer.t_max)
            out[b, j, : len(run.spikes)] = torch.tensor(run.spikes, dtype=torch.float64)
    return out


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tau_mem": 1e-2, "refractory": INF},
        {"tau_mem": 3e-2, "v_leak": 0.1, "v_reset": -0.5, "refractory": 4 * MS, "t_max": 25 * MS},
        {"tau_mem": torch.tensor([1e-2, 2e-2, 3e-2]), "v_threshold": torch.tensor([1.0, 0.8, 1.2])},
    ],
    ids=lambda options: "-".join(options) or "default",
)
def test_spikes_equal_the_reference(options):
    layer = snn.LIF(5, 3, max_spikes=4, on_overflow="truncate", dtype=torch.float64, **options)
    strong(layer)
    inputs = spikes(4, 5, 2)
    inputs[1, 2, 1] = inputs[2, 0] = INF
    with torch.no_grad():
        out = layer(inputs)
    assert out.shape == (4, 3, 4)
    assert (out < INF).any()
    torch.testing.assert_close(out, reference(inputs, layer), rtol=1e-9, atol=0)


@pytest.mark.parametrize("batch", [(), (2, 1, 3), (0,), (2, 0)])
def test_any_number_of_leading_batch_dimensions(batch):
    layer = strong(snn.LIF(5, 4, refractory=INF))
    inputs = spikes(*batch, 5, 2, dtype=torch.float32)
    with torch.no_grad():
        out = layer(inputs)
        assert out.shape == (*batch, 4, 1)
        for flat, one in zip(inputs.reshape(-1, 5, 2), out.reshape(-1, 4, 1), strict=True):
            # XLA vectorises each shape in its own way, which may change the last bit.
            torch.testing.assert_close(layer(flat), one, rtol=4 * EPS32, atol=0)


def test_events_give_the_same_spikes_and_gradients():
    layer = strong(snn.LIF(5, 4, max_spikes=3, on_overflow="truncate", dtype=torch.float64))
    inputs = spikes(3, 5, 2).requires_grad_()
    grads = []
    for form in (inputs, snn.events_from_spike_times(inputs)):
        out = layer(form)
        loss = torch.where(out < INF, out, 0).pow(2).sum()
        grads.append((out, *torch.autograd.grad(loss, (inputs, layer.weight))))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


def test_int64_indices_are_accepted():
    layer = strong(snn.LIF(5, 4, refractory=INF))
    events = snn.events_from_spike_times(spikes(3, 5, 2, dtype=torch.float32))
    wide = snn.Events(events.time, events.index.long())
    with torch.no_grad():
        torch.testing.assert_close(layer(wide), layer(events), rtol=0, atol=0)


def test_functional_is_the_same():
    layer = strong(snn.LIF(5, 4, tau_mem=1.5e-2, v_leak=0.2, refractory=INF))
    inputs = spikes(3, 5, 1, dtype=torch.float32)
    out = snn.functional.lif(inputs, layer.weight, tau_mem=1.5e-2, v_leak=0.2, refractory=INF)
    torch.testing.assert_close(layer(inputs), out, rtol=0, atol=0)


def test_spiking_once_has_the_gradients_of_the_first_of_many_spikes():
    grads = []
    for options in ({"refractory": INF}, {"on_overflow": "truncate"}):
        layer = strong(snn.LIF(5, 4, dtype=torch.float64, **options))
        inputs = spikes(3, 5, 1).requires_grad_()
        grads.append(torch.autograd.grad(layer(inputs).pow(2).sum(), (inputs, layer.weight)))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=0)


def test_numpy_numbers_are_numbers():
    inputs, weight = spikes(3, 5, 1, dtype=torch.float32), torch.full((2, 5), 2.0)
    with torch.no_grad():
        plain = snn.functional.lif(inputs, weight, tau_mem=1e-2, refractory=INF)
        numpy = {"tau_mem": np.float64(1e-2), "refractory": np.float32(INF)}
        assert torch.equal(snn.functional.lif(inputs, weight, **numpy), plain)


def test_both_gradients_agree():
    grads = []
    for method in ("eventprop", "fast_and_deep"):
        layer = strong(snn.LIF(5, 4, refractory=INF, gradient=method, dtype=torch.float64))
        inputs = spikes(3, 5, 1).requires_grad_()
        grads.append(torch.autograd.grad(layer(inputs).pow(2).sum(), (inputs, layer.weight)))
    for a, b in zip(*grads, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=0)


def test_constants_are_numbers_buffers_or_parameters():
    per_neuron = torch.tensor([1e-2, 2e-2, 3e-2])
    layer = snn.LIF(
        5, 3, tau_mem=per_neuron, v_threshold=0.9, v_leak=0.1, learn=("tau_syn", "v_leak")
    )
    assert layer.v_threshold == 0.9
    assert isinstance(layer.v_threshold, float)
    assert set(dict(layer.named_parameters())) == {"weight", "tau_syn", "v_leak"}
    assert set(dict(layer.named_buffers())) == {"tau_mem"}
    torch.testing.assert_close(layer.tau_syn, torch.full((3,), 1e-2))
    torch.testing.assert_close(layer.tau_mem, per_neuron)
    assert layer.tau_mem is not per_neuron
    text = repr(layer)
    assert "tau_syn=learned" in text
    assert "tau_mem=per neuron" in text
    assert "v_threshold=0.9" in text


def test_learned_constants_give_the_spikes_of_the_same_numbers():
    names = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
    numbers = {"refractory": 2 * MS, "v_leak": 0.1, "max_spikes": 3, "on_overflow": "truncate"}
    fixed = strong(snn.LIF(5, 3, dtype=torch.float64, **numbers))
    learned = snn.LIF(5, 3, dtype=torch.float64, learn=names, **numbers)
    learned.load_state_dict(fixed.state_dict(), strict=False)
    inputs = spikes(4, 5, 2)
    with torch.no_grad():
        torch.testing.assert_close(learned(inputs), fixed(inputs), rtol=1e-10, atol=0)


def test_axonal_delay_shifts_the_inputs():
    layer = strong(snn.LIF(5, 3, delay="axonal", refractory=INF, dtype=torch.float64))
    delay = draw_delay(layer, 0, 5 * MS)
    assert delay.shape == (5,)
    inputs = spikes(4, 5, 1)
    expected = reference(inputs, layer, delay.expand(3, 5))
    with torch.no_grad():
        torch.testing.assert_close(layer(inputs), expected, rtol=1e-9, atol=0)
        from_events = layer(snn.events_from_spike_times(inputs))
    torch.testing.assert_close(from_events, expected, rtol=1e-9, atol=0)


@pytest.mark.parametrize("t_max", [INF, 15 * MS])
def test_dendritic_delay_shifts_the_arrival_at_the_neuron(t_max):
    layer = snn.LIF(
        5, 3, delay="dendritic", v_leak=0.1, refractory=INF, t_max=t_max, dtype=torch.float64
    )
    strong(layer)
    delay = draw_delay(layer, 0, 5 * MS)
    assert delay.shape == (3,)
    inputs = spikes(8, 5, 1)
    expected = reference(inputs, layer, delay[:, None].expand(3, 5))
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-9, atol=0)
    assert ((expected == INF).any() and (expected < INF).any()) == (t_max < INF)


def test_an_unknown_delay_is_refused_with_the_alternatives():
    kind: Any = "somatic"
    with pytest.raises(
        ValueError, match=r"delay must be None, 'axonal'.*'dendritic'.*'synaptic'.*'somatic'"
    ):
        snn.LIF(5, 3, delay=kind)
    kind = "dendritic"
    with pytest.raises(ValueError, match=r"delay must be None, 'axonal' \(.*got 'dendritic'"):
        snn.RecurrentLIF(5, 3, delay=kind)


def test_dendritic_delay_needs_a_rest():
    layer = snn.LIF(5, 3, delay="dendritic", v_leak=1.5, t_max=0.1, on_overflow="truncate")
    with pytest.raises(ValueError, match=r"v_leak must be below v_threshold.*dendritic"):
        layer(spikes(5, 1, dtype=torch.float32))


@pytest.mark.parametrize("delay", [None, "axonal", "dendritic"])
def test_trace_reaches_threshold_at_spikes_and_holds_reset_after(delay):
    layer = snn.LIF(
        5, 3, delay=delay, v_leak=0.2, v_reset=-0.3, refractory=4 * MS, dtype=torch.float64
    )
    strong(layer)
    if layer.delay is not None:
        draw_delay(layer, 1 * MS, 5 * MS)
    layer.max_spikes, layer.on_overflow = 2, "truncate"
    inputs = spikes(5, 1)
    first = layer(inputs)[:, 0].detach()
    times = torch.cat([torch.zeros(1, dtype=torch.float64), first - 1e-12, first + 1 * MS])
    voltage = layer.trace(inputs, times)
    assert voltage.shape == (3, 7)
    for j in range(3):
        torch.testing.assert_close(voltage[j, 1 + j].item(), 1.0, rtol=1e-6, atol=0)
        torch.testing.assert_close(voltage[j, 4 + j].item(), -0.3, rtol=1e-9, atol=0)
    torch.testing.assert_close(voltage[:, 0].detach(), torch.full((3,), 0.2, dtype=torch.float64))


@pytest.mark.parametrize("in_features", [5, 500])
def test_initial_weights_make_most_neurons_spike(in_features):
    layers = torch.nn.Sequential(
        snn.LIF(in_features, 60, refractory=INF), snn.LIF(60, 40, refractory=INF)
    )
    with torch.no_grad():
        layers(spikes(16, in_features, 1, dtype=torch.float32))
    for layer in snn.health_report(layers).layers:
        assert layer.silent_fraction < 0.4


def test_initialisation_follows_the_global_seed():
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(snn.LIF(5, 3).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    before = weights[2].clone()
    layer = snn.LIF(5, 3)
    layer.reset_parameters()
    assert not torch.equal(layer.weight, before)


def test_scale_of_time_does_not_matter():
    fast = strong(snn.LIF(5, 3, tau_mem=2e-6, tau_syn=1e-6, refractory=INF))
    slow = strong(snn.LIF(5, 3, tau_mem=2.0, tau_syn=1.0, refractory=INF))
    inputs = spikes(4, 5, 1, dtype=torch.float32) * 100
    with torch.no_grad():
        torch.testing.assert_close(fast(inputs * 1e-6) * 1e6, slow(inputs), rtol=1e-5, atol=0)
