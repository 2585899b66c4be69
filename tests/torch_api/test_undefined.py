"""NaN stays NaN where values are not checked: it must not become silence."""

import math

import pytest
import torch

from evtorch import torch_api as snn

ONCE = {"refractory": math.inf}
SEVERAL = {"max_spikes": 3, "t_max": 0.1, "on_overflow": "truncate"}
PER_NEURON = {"learn": ("tau_mem",)}
LAYERS = {
    "once": lambda: snn.LIF(5, 4, **ONCE),
    "several": lambda: snn.LIF(5, 4, **SEVERAL),
    "fast and deep": lambda: snn.LIF(5, 4, gradient="fast_and_deep", **ONCE),
    "recurrent": lambda: snn.RecurrentLIF(5, 4, **SEVERAL),
    "max": lambda: snn.LI(5, 4),
    "integral": lambda: snn.LI(5, 4, readout="integral", t_max=0.1),
    "value": lambda: snn.LI(5, 4, readout="value", t_max=0.1, **PER_NEURON),
}


def run(layer, spikes):
    """Output, and gradients of a sum that does not see silence."""
    spikes = spikes.clone().requires_grad_()
    with snn.validation(False):
        out = layer(spikes)
    torch.where(out == math.inf, 0, out).sum().backward()
    return out.detach().reshape(3, 4, -1).sum(-1), layer.weight.grad, spikes.grad


def inputs():
    return torch.rand(3, 5, 1) * 2e-2


@pytest.mark.parametrize("kind", LAYERS)
def test_a_weight(kind):
    layer, spikes = LAYERS[kind](), inputs()
    with torch.no_grad():
        layer.weight[1, 2] = math.nan
    out, of_weight, of_spikes = run(layer, spikes)
    everywhere = torch.ones(4, dtype=torch.bool)
    expected = everywhere if kind == "recurrent" else torch.arange(4) == 1
    assert (out.isnan() == expected).all()
    assert of_weight.isnan().any(1).equal(expected)
    assert of_spikes.isnan().any()


@pytest.mark.parametrize("kind", LAYERS)
def test_a_time(kind):
    layer, spikes = LAYERS[kind](), inputs()
    spikes[1, 2] = math.nan
    out, of_weight, of_spikes = run(layer, spikes)
    assert out.isnan().equal((torch.arange(3) == 1)[:, None].expand(3, 4))
    assert of_weight.isnan().any()
    assert of_spikes[1].isnan().any()
    assert not of_spikes[[0, 2]].isnan().any()


@pytest.mark.parametrize("name", ["tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset"])
@pytest.mark.parametrize("kind", ["several", "recurrent"])
def test_a_constant(kind, name):
    layer = LAYERS[kind]()
    values = torch.full((4,), getattr(layer, name))
    values[2] = math.nan
    delattr(layer, name)
    layer.register_buffer(name, values)
    out, of_weight, _ = run(layer, inputs())
    assert out.isnan()[:, 2].all()
    assert of_weight[2].isnan().any()


def test_under_compile():
    layer, spikes = LAYERS["once"](), inputs()
    with torch.no_grad():
        layer.weight[0, 0] = math.nan
    out = torch.compile(layer, backend="aot_eager")(spikes)
    assert out.isnan().any(-1).any(0).tolist() == [True, False, False, False]


def test_observed_spikes():
    spikes, weight = inputs(), torch.randn(4, 5)
    observed = torch.full((3, 4, 1), 1.5e-2)
    broken, late = weight.clone(), observed.clone()
    broken[1, 2] = late[0, 1] = math.nan
    for given, seen in ((broken, observed), (weight, late)):
        given.requires_grad_()
        with snn.validation(False):
            out = snn.functional.lif_observed(spikes, given, seen, **ONCE)
        out.sum().backward()
        assert out[0, 1].isnan().all()
        assert not out[:, 0].isnan().any()
        assert given.grad.isnan().any(1).tolist() == [False, True, False, False]


def test_conversions_delays_and_losses():
    spikes = inputs()
    spikes[1, 2] = math.nan
    with snn.validation(False):
        events = snn.events_from_spike_times(spikes)
        assert events.time[1].isnan().sum() == 1
        times = snn.spike_times_from_events(events, 5, 1)
        assert times[1, 2].isnan().all()
        raster = snn.dense_from_spike_times(spikes, 1e-3, 30, on_overflow="truncate")
        assert raster[:, 1].isnan().any()
        assert not raster[:, 0].isnan().any()
        assert snn.functional.delay(spikes, torch.zeros(5))[1, 2].isnan().all()
        target = torch.tensor([0, 2, 1])
        for loss in (
            snn.TTFSCrossEntropyLoss(alpha=0.1),
            snn.SpikeTimeMSELoss(t_correct=1e-2, t_wrong=2e-2),
        ):
            assert loss(spikes, target).isnan()


@pytest.mark.parametrize("neuron", [snn.hx.LIF, snn.hx.EventPropLIF])
def test_time_grids_of_hx(neuron):
    experiment = snn.hx.Experiment(mock=True, engine="euler")
    event_prop = neuron is snn.hx.EventPropLIF
    make = snn.hx.EventPropSynapse if event_prop else snn.hx.Synapse
    synapse = make(3, 2, experiment=experiment)
    with torch.no_grad():
        synapse.weight[0, 1] = math.nan
    population = neuron(2, experiment=experiment)
    spikes = population(synapse(snn.hx.LIFObservables(spikes=torch.ones(20, 1, 3))))
    snn.hx.run(experiment, 20)
    assert spikes.spikes.isnan().any(0).tolist() == [[True, False]]
    spikes.spikes.nansum().backward()
    assert synapse.weight.grad.isnan().any(1).tolist() == [True, False]
