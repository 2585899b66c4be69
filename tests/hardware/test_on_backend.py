"""Torch models on hardware: the same modules, and without effects the same numbers."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from .._thorough import usual

INF = math.inf
MOCK = snn.hardware.MockBSS2
CHIP = snn.hardware.Scaling(weight=10.0, time=1e-3)
TAUS = {"tau_mem": 1.2e-2, "tau_syn": 6e-3}
CHIP_TIMES = {**TAUS, "refractory": INF}

SEVERAL = {"refractory": 2e-3, "max_spikes": 20, "learn": ("v_threshold",)}


def stack(dtype=torch.float32, **options):
    options = {"refractory": INF, **options}
    return nn.Sequential(
        snn.LIF(5, 12, dtype=dtype, **options), snn.LIF(12, 3, dtype=dtype, **options)
    )


def times(*shape, dtype=torch.float32):
    return torch.rand(*shape, dtype=dtype) * 1e-2


def run(model, x, parameters):
    """Spikes, and gradients of a fixed loss in the input and in ``parameters``."""
    x = x.clone().requires_grad_()
    out = model(x)
    late = torch.where(out < INF, out, 0) * torch.linspace(1, 2, out.numel()).reshape(out.shape)
    return out, torch.autograd.grad(late.sum(), [x, *parameters])


@pytest.mark.parametrize("dtype", usual({torch.float32}, [torch.float32, torch.float64]))
@pytest.mark.parametrize("options", usual([SEVERAL], [{}, SEVERAL]))
def test_an_ideal_chip_gives_the_simulations_numbers_to_the_last_bit(dtype, options):
    model = stack(dtype, **options)
    hardware = snn.hardware.on_backend(model, MOCK.ideal())
    x, parameters = times(4, 5, 1, dtype=dtype), list(model.parameters())
    simulated, observed = run(model, x, parameters), run(hardware, x, parameters)
    assert (simulated[0] < INF).any()
    assert torch.equal(simulated[0], observed[0])
    assert any(gradient.abs().max() > 0 for gradient in simulated[1])
    for a, b in zip(simulated[1], observed[1], strict=True):
        assert torch.equal(a, b)
    counts = snn.health_report(hardware).layers[0].counts
    assert counts.unpredicted is not None
    assert counts.unpredicted.sum() == 0


def test_a_single_layer_takes_a_backend():
    layer = snn.LIF(5, 4, refractory=INF, backend=MOCK.ideal())
    twin = snn.LIF(5, 4, refractory=INF)
    twin.load_state_dict(layer.state_dict())
    x = times(2, 3, 5, 1)
    assert torch.equal(layer(x), twin(x))
    assert "backend='MockBSS2 chip 0'" in repr(layer)


def test_scaled_times_and_weights_return_in_the_models_units():
    model = stack(dtype=torch.float64, **CHIP_TIMES)
    x, parameters = times(4, 5, 1, dtype=torch.float64), list(model.parameters())
    scaled = snn.hardware.on_backend(model, MOCK.ideal(), scaling=CHIP)
    simulated, observed = run(model, x, parameters), run(scaled, x, parameters)
    torch.testing.assert_close(observed[0], simulated[0], rtol=1e-10, atol=0)
    for a, b in zip(simulated[1], observed[1], strict=True):
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-12)


def test_the_gradient_is_that_of_the_rounded_weights_and_reaches_the_trained_ones():
    model = stack(dtype=torch.float64, **CHIP_TIMES)
    with torch.no_grad():
        next(model.parameters())[0, 0] = 100.0
    rounded = stack(dtype=torch.float64, **CHIP_TIMES)
    with torch.no_grad():
        for mine, theirs in zip(model.parameters(), rounded.parameters(), strict=True):
            theirs.copy_((mine * 10).clamp(-63, 63).round() / 10)
    scaled = snn.hardware.on_backend(model, MOCK.ideal(weight_limit=63), scaling=CHIP)
    x = times(4, 5, 1, dtype=torch.float64)
    with pytest.warns(snn.hardware.WeightClippingWarning, match=r"layer 0 on Mock.*: 1\.7% of the"):
        observed = run(scaled, x, list(model.parameters()))
    simulated = run(rounded, x, list(rounded.parameters()))
    torch.testing.assert_close(observed[0], simulated[0], rtol=1e-10, atol=0)
    for a, b in zip(simulated[1], observed[1], strict=True):
        torch.testing.assert_close(b, a, rtol=1e-6, atol=1e-12)


class Recorder:
    """Counts runs and passes them on."""

    def __init__(self, backend, **changed):
        self.backend, self.runs, self.changed = backend, [], changed
        self.name, self.weight_limit = "recorder", backend.weight_limit

    def run(self, network, spikes, duration, *, voltage_times=None):
        self.runs.append(len(network.layers))
        seen = self.backend.run(network, spikes, duration, voltage_times=voltage_times)
        return dataclasses.replace(seen, **self.changed)


def test_a_stack_is_one_run_per_batch_and_what_stands_between_parts_it():
    backend = Recorder(MOCK.ideal())
    snn.hardware.on_backend(stack(), backend)(times(4, 5, 1))
    assert backend.runs == [2]
    model = nn.Sequential(
        snn.LatencyEncoder(0.0, 1e-2),
        *stack(),
        snn.LIF(3, 4, refractory=INF, delay="axonal"),
        snn.LIF(4, 4, refractory=INF),
        snn.Delay(4),
        nn.Sequential(snn.LIF(4, 4, refractory=INF, delay="dendritic")),
        snn.LIF(4, 4, refractory=INF),
        snn.LI(4, 2),
    )
    values = torch.rand(4, 5)
    backend.runs.clear()
    observed = snn.hardware.on_backend(model, backend)(values)
    assert backend.runs == [2, 2, 1, 1]
    assert torch.equal(observed, model(values))


@pytest.mark.parametrize("kind", ["axonal", "Delay", "between"])
def test_spikes_that_the_model_delays_beyond_the_end_are_dropped(kind):
    options = {"refractory": INF, "t_max": 0.02}
    first, last = snn.LIF(5, 12, **options), snn.LIF(12, 3, **options)
    delay = snn.Delay(5 if kind == "Delay" else 12, init=0.01)
    if kind == "axonal":
        delay = snn.LIF(12, 3, delay="axonal", **options)
    model = {
        "axonal": nn.Sequential(first, delay),
        "Delay": nn.Sequential(delay, first, last),
        "between": nn.Sequential(first, delay, last),
    }[kind]
    assert delay.delay is not None
    with torch.no_grad():
        delay.delay[: len(delay.delay) // 2] = 0.015
        delay.delay[0] = 0.0
    chip = snn.hardware.on_backend(model, MOCK.ideal())
    x, parameters = times(4, 5, 1), list(model.parameters())
    before = {"axonal": first, "Delay": nn.Identity(), "between": first}[kind]
    delayed = before(x)[..., 0] + delay.delay
    assert (torch.isfinite(delayed) & (delayed > 0.02)).any()
    simulated, observed = run(model, x, parameters), run(chip, x, parameters)
    assert torch.equal(simulated[0], observed[0])
    for a, b in zip(simulated[1], observed[1], strict=True):
        assert torch.equal(a, b)
    if kind != "Delay":
        with pytest.raises(ValueError, match="later than the duration"):
            chip(torch.full((1, 5, 1), 0.03))


def test_it_trains_on_a_realistic_chip_and_reports_what_the_model_did_not_see():
    torch.manual_seed(1)
    model = stack(**CHIP_TIMES, t_max=0.1)
    hardware = snn.hardware.on_backend(model, MOCK(1), scaling=CHIP, count_missing=True)
    x, target = times(16, 5, 1), torch.tensor([9e-3, 10e-3, 11e-3])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(25):
        out = hardware(x)[..., 0]
        loss = (torch.where(out < INF, out, 0.03) - target).square().mean() * 1e4
        optimizer.zero_grad()
        loss.backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
        nn.utils.clip_grad_value_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    report = snn.health_report(hardware)
    assert report.layers[0].unpredicted_rate is not None
    assert report.layers[0].missing_rate is not None
    assert "unpredicted  missing" in str(report)


def test_overflow_that_the_backend_reports_follows_the_policy():
    backend = Recorder(MOCK.ideal(), overflow=(np.array([0, 2]),))
    layer = snn.LIF(1, 2, refractory=INF, backend=backend)
    with pytest.raises(snn.SpikeOverflowError, match="1 of 2 neurons"):
        layer(times(2, 1, 1))
    layer.on_overflow = "truncate"
    layer(times(2, 1, 1))
    health = layer.health()
    assert health is not None
    assert health.counts.overflow.tolist() == [0, 2]


def test_lost_events_are_in_the_health_report():
    model = stack(**CHIP_TIMES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(6.0)
    chip = snn.hardware.on_backend(model, MOCK.ideal(link_rate=3e6), scaling=CHIP)
    chip(torch.zeros(4, 5, 1))
    report = snn.health_report(model)
    assert report.lost["input link"] == 4 * 2
    assert report.lost["output link"] > 0
    assert report.layers[1].lost == {}
    assert "events lost in the run that began with 0: 8 by input link, " in str(report)
    model(torch.zeros(4, 5, 1))
    assert snn.health_report(model).lost == {}


def test_networks_are_those_that_backends_get():
    model = nn.Sequential(*stack(**CHIP_TIMES), snn.Delay(3), snn.LIF(3, 2, **CHIP_TIMES))
    chip = snn.hardware.on_backend(model, MOCK.ideal(weight_limit=63), scaling=CHIP)
    first, second = chip.networks()
    assert [layer.neurons for layer in first.layers] == [12, 3]
    assert [layer.neurons for layer in second.layers] == [2]
    expected = (next(model.parameters()) * 10).clamp(-63, 63).round()
    np.testing.assert_array_equal(first.layers[0].weight, expected.detach().double())
    assert first.layers[0].tau_mem[0] == pytest.approx(1.2e-5)


@pytest.mark.parametrize(
    "reading",
    usual(
        [{"readout": "max"}, {"readout": "integral"}],
        [
            {"readout": "value"},
            {"readout": "max"},
            {"readout": "integral"},
            {"readout": "integral", "tau_weight": 1e-2},
        ],
    ),
    ids=str,
)
def test_read_outs_are_measured_and_have_the_models_gradients(reading):
    torch.manual_seed(2)
    hidden = snn.LIF(5, 12, dtype=torch.float64, **CHIP_TIMES, t_max=0.04)
    last = snn.LI(12, 3, dtype=torch.float64, **TAUS, v_leak=0.1, **reading, t_max=0.04)
    model = nn.Sequential(hidden, last)
    x, parameters = times(4, 5, 1, dtype=torch.float64), list(model.parameters())
    backend = Recorder(MOCK.ideal(), voltages=None)
    with pytest.raises(snn.hardware.BackendError, match="no voltages"):
        snn.hardware.on_backend(model, backend, scaling=CHIP, voltage_samples=9)(x)
    chip = snn.hardware.on_backend(model, MOCK.ideal(), scaling=CHIP, voltage_samples=401)
    assert [layer.has_threshold for layer in chip.networks()[0].layers] == [True, False]

    def gradients(model):
        out = model(x)
        return out, torch.autograd.grad((out * torch.arange(3)).sum(), parameters)

    (simulated, expected), (measured, found) = gradients(model), gradients(chip)
    torch.testing.assert_close(measured, simulated, rtol=1e-3, atol=1e-6)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
    real = snn.hardware.on_backend(model, MOCK(1), scaling=CHIP, voltage_samples=23)(x)
    assert real.shape == (4, 3)
    assert 1e-3 < (real - simulated).abs().max() / simulated.abs().max() < 1


def test_malformed_spikes_of_a_backend_are_refused():
    bad = Recorder(MOCK.ideal(), spikes=(np.full((2, 3, 1), np.nan),))
    with pytest.raises(
        snn.hardware.BackendError, match=r"recorder: layer 0: spike 0 of neuron 0.*not a number"
    ):
        snn.LIF(1, 3, backend=bad)(times(2, 1, 1))


def test_what_cannot_run_is_refused():
    with pytest.raises(TypeError, match="backend must be None"):
        snn.hardware.on_backend(stack(), "chip")
    with pytest.raises(TypeError, match="scaling must be"):
        snn.hardware.on_backend(stack(), MOCK.ideal(), scaling=3.0)
    with pytest.raises(TypeError, match=r"model must be an nn.Sequential or a LIF layer"):
        snn.hardware.on_backend(snn.LI(2, 2), MOCK.ideal())
    with pytest.raises(ValueError, match="no LIF layer"):
        snn.hardware.on_backend(nn.Sequential(snn.LI(2, 2)), MOCK.ideal())
    with pytest.raises(TypeError, match="takes its input only, got state: hardware begins each"):
        snn.hardware.on_backend(stack(), MOCK.ideal())(times(1, 5, 1), state=None)
    with pytest.raises(ValueError, match="layers without backend: hardware begins each run at"):
        snn.LIF(1, 1, t_max=1.0, backend=MOCK.ideal())(times(1, 1, 1), return_state=True)
    readout = nn.Sequential(snn.LIF(5, 2, t_max=1.0), snn.LI(2, 2))
    with pytest.raises(ValueError, match=r"LI.t_max must be finite"):
        snn.hardware.on_backend(readout, MOCK.ideal(), voltage_samples=9)(times(1, 5, 1))
    with pytest.raises(ValueError, match="voltage_samples must be None or >= 2"):
        snn.hardware.on_backend(readout, MOCK.ideal(), voltage_samples=1)
    with pytest.raises(ValueError, match="scaling is for a backend"):
        snn.LIF(1, 1, scaling=CHIP)
    model = nn.Sequential(snn.LIF(5, 2, t_max=1.0), snn.LIF(2, 2, t_max=2.0))
    with pytest.raises(ValueError, match="share t_max"):
        snn.hardware.on_backend(model, MOCK.ideal())(times(1, 5, 1))
    with pytest.raises(ValueError, match="later than the duration"):
        snn.LIF(1, 1, t_max=1e-3, backend=MOCK.ideal())(torch.full((1, 1, 1), 2e-3))
    events = snn.Events(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.int32))
    with pytest.raises(TypeError, match="spike_times_from_events"):
        snn.LIF(1, 1, backend=MOCK.ideal())(events)
    with pytest.raises(snn.hardware.HardwareLimitError, match=r"set a refractory period, inf"):
        snn.LIF(5, 2, **TAUS, t_max=0.1, backend=MOCK(), scaling=CHIP)(times(1, 5, 1))
    for value, shown in ((INF, "inf"), (math.nan, "nan")):
        model = stack(t_max=1.0)
        with torch.no_grad():
            list(model.parameters())[1][2, 7] = value
        expected = rf"layer 1 for MockBSS2 chip 0: weight must be .*weight\[2, 7\] = {shown}"
        with pytest.raises(ValueError, match=expected):
            snn.hardware.on_backend(model, MOCK(), scaling=CHIP)(times(1, 5, 1))
    with pytest.raises(snn.hardware.HardwareLimitError, match=r"is Scaling.time set\?"):
        snn.hardware.on_backend(stack(), MOCK(), scaling=snn.hardware.Scaling(10.0))(times(1, 5, 1))
