"""Weights from real inputs: what was asked for holds, and for any size, rate and time scale."""

import math

import pytest
import torch
from torch import nn

from evtorch import torch_api as snn


def first(out):
    return out[..., 0].flatten()


@pytest.fixture
def spikes():
    return torch.rand(40, 30, 1, generator=torch.Generator().manual_seed(1)) * 2e-2


def lif(**options):
    return snn.LIF(30, 20, **{"refractory": math.inf, **options})


def share(out):
    return first(out).isfinite().double().mean().item()


@pytest.mark.parametrize("active", [0.3, 0.8])
def test_without_margin_the_wanted_share_spikes(spikes, active):
    layer = snn.initialise_(lif(), spikes, active=active, margin=1)
    assert share(layer(spikes)) == pytest.approx(active, abs=0.01)


def test_a_margin_multiplies_the_weights(spikes):
    layers = [lif(), lif()]
    for layer, margin in zip(layers, (1, 2.5), strict=True):
        torch.manual_seed(0)
        snn.initialise_(layer, spikes, margin=margin)
    torch.testing.assert_close(2.5 * layers[0].weight, layers[1].weight)


def test_any_scale_of_time_weights_and_inputs_gives_the_same_network(spikes):
    layers, outs = [], []
    for time, volt in ((1.0, 1.0), (1e-3, 50.0)):
        constants = {"tau_mem": 2e-2 * time, "tau_syn": 1e-2 * time, "v_threshold": 1.0 * volt}
        layer = lif(**constants)
        snn.initialise_(layer, spikes * time, generator=torch.Generator().manual_seed(3))
        layers.append(layer)
        outs.append(layer(spikes * time) / time)
    torch.testing.assert_close(layers[0].weight * 50, layers[1].weight, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(*outs, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("present", [0.1, 1.0])
def test_rare_and_frequent_input_excite_alike(present):
    generator = torch.Generator().manual_seed(2)
    spikes = torch.rand(40, 200, 2, generator=generator).sort(dim=-1).values * 1e-2
    spikes[torch.rand(40, 200, generator=generator) > present] = math.inf
    layer = snn.initialise_(snn.LIF(200, 20, refractory=math.inf), spikes)
    out = layer(spikes)
    assert share(out) > 0.95
    assert 1e-3 < first(out).median().item() < 1e-2


def test_a_wanted_time_and_rate(spikes):
    early = snn.initialise_(lif(), spikes, active=0.5, time=5e-3)
    assert first(early(spikes)).median().item() == pytest.approx(5e-3, rel=0.02)
    layer = snn.LIF(30, 20, max_spikes=24, t_max=4e-2)
    snn.initialise_(layer, spikes, active=0.5, rate=3.0)
    assert layer(spikes).isfinite().sum().item() / 800 == pytest.approx(3.0, rel=0.02)


def test_networks_layer_by_layer():
    values = torch.rand(40, 30)
    model = nn.Sequential(
        nn.Linear(30, 30),
        nn.Sigmoid(),
        snn.LatencyEncoder(0.0, 2e-2),
        snn.LIF(30, 20, refractory=math.inf, delay="axonal"),
        snn.RecurrentLIF(20, 10, max_spikes=40, t_max=5e-2),
        snn.LI(10, 3),
    )
    linear = model[0].weight.detach().clone()
    assert snn.initialise_(model, values) is model
    assert torch.equal(model[0].weight, linear)
    out = model(values)
    assert out.std().item() == pytest.approx(1, rel=1e-4)
    assert all(layer.silent_fraction < 0.1 for layer in snn.health_report(model).layers)
    assert all(p.grad_fn is None and p.requires_grad for p in model.parameters())


def test_neurons_differ_by_the_wanted_spread_however_often_inputs_spike():
    for slots in (1, 26):
        spikes = torch.rand(8, 200, slots).sort(dim=-1).values * 0.2
        layer = snn.LIF(200, 400, max_spikes=8, t_max=0.2, on_overflow="truncate")
        snn.initialise_(layer, spikes, active=0.1, margin=1, spread=0.25)
        sums = layer.weight.detach().sum(dim=1)
        assert (sums.std() / sums.mean()).item() == pytest.approx(0.25, abs=0.03)


def test_recurrent_layers_that_end_for_want_of_room_under_strong_drive():
    spikes = torch.rand(8, 20, 26).sort(dim=-1).values * 0.2
    layer = snn.RecurrentLIF(20, 10, max_spikes=16, t_max=0.2)
    snn.initialise_(layer, spikes, active=0.5, rate=2.0)
    out = layer(spikes)  # Which raises where there is no room.
    assert out.isfinite().sum().item() / 80 == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("options", [{"readout": "integral", "t_max": 0.1}, {"readout": "max"}])
def test_readouts_have_unit_spread(spikes, options):
    layer = snn.initialise_(snn.LI(30, 4, v_leak=0.3, **options), spikes)
    assert layer(spikes).std().item() == pytest.approx(1, rel=1e-3)


def test_the_generator_decides_and_events_are_as_good_as_times(spikes):
    weights = []
    for given in (spikes, spikes, snn.events_from_spike_times(spikes)):
        model = nn.Sequential(lif(), snn.LI(20, 3))
        snn.initialise_(model, given, generator=torch.Generator().manual_seed(5))
        weights.append(model[0].weight.detach())
    assert torch.equal(weights[0], weights[1])
    torch.testing.assert_close(weights[0], weights[2])


def test_samples_without_input_do_not_count(spikes):
    spikes[:20] = math.inf
    layer = snn.initialise_(lif(), spikes, active=0.9, margin=1)
    assert share(layer(spikes)[20:]) == pytest.approx(0.9, abs=0.01)


def test_what_cannot_be_is_said(spikes):
    for options, message in (
        ({"active": 0}, "active must"),
        ({"margin": 0.5}, "margin must"),
        ({"time": math.inf}, "time must"),
        ({"rate": True}, "rate must"),
        ({"spread": -1}, "spread must"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            snn.initialise_(lif(), spikes, **options)
    with pytest.raises(ValueError, match="no spiking layers"):
        snn.initialise_(nn.Linear(3, 3), spikes)
    with pytest.raises(ValueError, match="LIF gets no input spikes"):
        snn.initialise_(lif(), torch.full_like(spikes, math.inf))
    with pytest.raises(ValueError, match=r"no weights make LIF spike as wanted.*rate=9"):
        snn.initialise_(lif(refractory=0.0, max_spikes=4), spikes, rate=9.0)

    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = lif(), lif()

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ValueError, match="did not call idle"):
        snn.initialise_(Unused(), spikes)
