"""No spike gets lost silently, and the counts of the last forward tell what does not learn."""

import copy
import math

import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from ._networks import INF, spikes


def last(layer: snn.SpikingLayer) -> snn.LayerHealth:
    health = layer.health()
    assert health is not None
    return health


def bursting(**options):
    """Neuron 0 is silent, neuron 1 spikes once, neuron 2 several times."""
    layer = snn.LIF(1, 3, **options)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [5.0], [30.0]]))
    return layer


ONE_SPIKE = torch.zeros(4, 1, 1)


def test_overflow_is_an_error_by_default():
    with pytest.raises(
        snn.SpikeOverflowError,
        match=r"1 of 3 neurons spike more than max_spikes = 1 .*4 samples.*Raise max_spikes.*"
        r"refractory=inf.*on_overflow='truncate'",
    ):
        bursting()(ONE_SPIKE)


def test_overflow_can_warn_or_be_accepted():
    with pytest.warns(snn.SpikeOverflowWarning, match="max_spikes = 1"):
        warned = bursting(on_overflow="warn")(ONE_SPIKE)
    accepted = bursting(on_overflow="truncate")(ONE_SPIKE)
    assert torch.equal(warned, accepted)
    more = bursting(max_spikes=20)(ONE_SPIKE)
    assert torch.equal(more[..., :1], accepted)
    assert (more[:, 2, 1] < INF).all()


@pytest.mark.parametrize("remedy", [{"refractory": INF}, {"t_max": 1e-3}])
def test_the_remedies_of_the_message_help(remedy):
    bursting(**remedy)(ONE_SPIKE)


def test_dendritic_delays_do_not_count():
    """The spikes that a delay moves beyond t_max need room too, and the message says so."""
    layer = bursting(delay="dendritic", t_max=2e-2)
    with torch.no_grad():
        layer.delay.fill_(2e-2)
    with pytest.raises(snn.SpikeOverflowError, match="counted before their dendritic delays"):
        layer(ONE_SPIKE)


def test_functional_reports_overflow_too():
    layer = bursting()
    with pytest.raises(snn.SpikeOverflowError):
        snn.functional.lif(ONE_SPIKE, layer.weight)
    out, health = snn.functional.lif(ONE_SPIKE, layer.weight, return_health=True)
    assert out.shape == (4, 3, 1)
    assert health.overflow.tolist() == [0, 0, 4]
    assert health.silent.tolist() == [4, 0, 0]
    assert health.grazing.tolist() == [0, 0, 0]


def test_report_counts_and_table():
    silent = snn.LIF(3, 2)
    nn.init.zeros_(silent.weight)
    model = nn.Sequential(
        bursting(on_overflow="truncate"), silent, snn.LI(2, 2, readout="integral", t_max=1.0)
    )
    report = snn.health_report(model)
    assert report.layers == ()
    assert report.not_run == ("0", "1")
    model(ONE_SPIKE)
    first, second = snn.health_report(model).layers
    assert (first.name, first.neurons, first.samples) == ("0", 3, 4)
    assert first.silent_fraction == pytest.approx(1 / 3)
    assert first.overflow_fraction == pytest.approx(1 / 3)
    assert first.grazing_rate == 0
    assert first.always_silent.tolist() == [0]
    assert second.always_silent.tolist() == [0, 1]
    lines = str(snn.health_report(model)).splitlines()
    assert lines[0].split() == [
        "layer",
        "neurons",
        "samples",
        "silent",
        "grazing",
        "overflow",
        "always",
        "silent",
    ]
    assert lines[1].split() == ["0", "3", "4", "33.3%", "0.0%", "33.3%", "0"]
    assert lines[2].split() == ["1", "2", "4", "100.0%", "0.0%", "0.0%", "0,", "1"]
    assert lines[3].startswith("1 is silent throughout: are times and time constants both in")
    assert len(lines) == 4
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got str"):
        snn.health_report("x")  # pyright: ignore[reportArgumentType]


def test_report_of_one_layer_of_an_empty_batch_and_of_many_dead_neurons():
    layer = snn.LIF(1, 20)
    nn.init.zeros_(layer.weight)
    layer(torch.zeros(0, 1, 1))
    (health,) = snn.health_report(layer).layers
    assert (health.name, health.samples, health.silent_fraction) == ("LIF", 0, 0.0)
    assert health.always_silent.tolist() == []
    layer(ONE_SPIKE)
    row = str(snn.health_report(layer)).splitlines()[1]
    assert row.endswith("0, 1, 2, 3, 4, 5, 6, 7, ... (20 in all)")


def test_grazing_spikes_are_counted():
    # The voltage after one spike of weight 1 peaks at 1/4 (tau_mem = 2 tau_syn).
    layer = snn.LIF(1, 2, refractory=INF, min_slope=0.1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[4.001], [10.0]]))
    layer(ONE_SPIKE)
    assert last(layer).counts.grazing.tolist() == [4, 0]


def test_memory_holds_no_graph_and_follows_the_last_forward():
    layer = bursting(on_overflow="truncate")
    layer(ONE_SPIKE)
    assert not any(x.requires_grad for x in last(layer).counts if x is not None)
    assert "_health" not in layer.state_dict()
    layer(torch.full((2, 1, 1), INF))
    assert last(layer).counts.silent.tolist() == [2, 2, 2]
    assert last(layer).samples == 2


def test_rescue_makes_silent_neurons_spike():
    layers = snn.LIF(5, 4, refractory=INF), snn.LIF(4, 3, refractory=INF)
    for layer in layers:
        nn.init.constant_(layer.weight, -0.05)
    model = nn.Sequential(*layers)
    x = spikes(6, 5, 1, dtype=torch.float32)
    assert snn.rescue_silent_(model) == 0, "nothing is known before the first forward"
    model(x)
    before = copy.deepcopy(model.state_dict())
    assert snn.rescue_silent_(model) == 4
    step = layers[0].critical_weight() * 0.05
    torch.testing.assert_close(layers[0].weight - before["0.weight"], step.float().expand(4, 5))
    assert torch.equal(layers[1].weight, before["1.weight"]), "the first layer comes first"
    for _ in range(30):
        model(x)
        if not snn.rescue_silent_(model, max_silent=0.5):
            break
    assert ((model(x) < INF).float().mean(dim=0) >= 0.5).all()


def test_rescue_doubles_when_repeated_and_starts_over_when_it_helped():
    layer = snn.LIF(1, 2, refractory=INF)
    nn.init.constant_(layer.weight, -100.0)
    added = []
    for _ in range(4):
        layer(ONE_SPIKE)
        before = layer.weight.detach().clone()
        assert snn.rescue_silent_(layer, bump=0.5, max_doublings=2) == 2
        added.append((layer.weight - before)[0, 0].item())
    assert added == pytest.approx([0.5, 1.0, 2.0, 2.0])
    assert layer.rescues is not None
    assert layer.rescues.tolist() == [4, 4]
    with torch.no_grad():
        layer.weight[0] = 10.0
    layer(ONE_SPIKE)
    assert snn.rescue_silent_(layer, bump=0.5) == 1
    assert layer.rescues.tolist() == [0, 5]
    assert layer.weight[0].item() == 10.0


def test_rescue_leaves_rarely_silent_neurons_alone():
    layer = snn.LIF(1, 1, refractory=INF)
    nn.init.constant_(layer.weight, 10.0)
    x = torch.zeros(4, 1, 1)
    x[:2] = INF
    layer(x)
    assert snn.rescue_silent_(layer, max_silent=0.5) == 0
    assert snn.rescue_silent_(layer, max_silent=0.4) == 1
    assert snn.rescue_silent_(layer, max_silent=1) == 0


def test_rescue_of_all_layers():
    layers = snn.LIF(5, 4, refractory=INF), snn.LIF(4, 3, refractory=INF)
    for layer in layers:
        nn.init.zeros_(layer.weight)
    model = nn.Sequential(*layers)
    model(spikes(6, 5, 1, dtype=torch.float32))
    assert snn.rescue_silent_(model, first_layer_only=False) == 7


@pytest.mark.parametrize("bad", [{"max_silent": -0.1}, {"max_silent": math.nan}, {"bump": 0.0}])
def test_rescue_refuses_bad_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        snn.rescue_silent_(snn.LIF(1, 1), **bad)


def test_critical_weight_just_reaches_threshold():
    tau_mem = torch.tensor([0.5e-2, 1e-2, 2e-2, 3e-2], dtype=torch.float64)
    layer = snn.LIF(4, 4, tau_mem=tau_mem, v_leak=0.2, refractory=INF, dtype=torch.float64)
    coincident = torch.zeros(4, 1, dtype=torch.float64)
    critical = layer.critical_weight().unsqueeze(-1)
    with torch.no_grad():
        layer.weight.copy_(critical * (1 + 1e-9))
        assert (layer(coincident) < INF).all()
        layer.weight.copy_(critical * (1 - 1e-9))
        assert (layer(coincident) == INF).all()
