"""Every gradient against finite differences, in float64."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from evtorch import torch_api as snn

from ._networks import INF, draw_delay, spikes, strong

# Times are of order 1 here, so that one step of finite differences suits all arguments.
UNIT = {"tau_mem": 2.0, "tau_syn": 1.0, "dtype": torch.float64}


def finite(times):
    """Spike times without the silent ones, whose difference quotients would be NaN."""
    return torch.where(times < INF, times, 0)


def check_module(module, inputs, after=lambda out: out):
    """Gradients with respect to the inputs and all parameters."""
    names = [name for name, _ in module.named_parameters()]

    def function(inputs, *values):
        parameters = dict(zip(names, values, strict=True))
        return after(torch.func.functional_call(module, parameters, (inputs,)))

    values = [p.detach().clone().requires_grad_() for p in module.parameters()]
    inputs = inputs.clone().requires_grad_()
    assert gradcheck(function, (inputs, *values), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("gradient", ["eventprop", "fast_and_deep"])
@pytest.mark.parametrize("delay", [None, "axonal", "dendritic"])
def test_lif(gradient, delay):
    layer = snn.LIF(3, 3, **UNIT, refractory=INF, gradient=gradient, delay=delay)
    strong(layer)
    if layer.delay is not None:
        draw_delay(layer, 0.1, 0.5)
    inputs = spikes(2, 3, 1) * 100
    inputs[0, 1] = INF
    out = layer(inputs)
    assert (out < INF).any()
    # gradcheck would move inf; check the finite inputs only.
    present = inputs < INF

    def function(times, weight):
        full = torch.full_like(inputs, INF).masked_scatter(present, times)
        return finite(torch.func.functional_call(layer, {"weight": weight}, (full,)))

    weight = layer.weight.detach().clone().requires_grad_()
    times = inputs[present].requires_grad_()
    assert gradcheck(function, (times, weight), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("delay", ["axonal", "dendritic"])
def test_lif_parameters(delay):
    layer = snn.LIF(
        3,
        2,
        **UNIT,
        v_leak=0.1,
        v_reset=-0.2,
        refractory=0.3,
        max_spikes=2,
        on_overflow="truncate",
        delay=delay,
        learn=("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory"),
    )
    strong(layer)
    draw_delay(layer, 0.1, 0.5)
    inputs = spikes(2, 3, 1) * 100
    assert (layer(inputs)[..., 1] < INF).all()
    check_module(layer, inputs)


@pytest.mark.parametrize("readout", ["max", "integral", "value"])
def test_li(readout):
    layer = snn.LI(3, 2, **UNIT, readout=readout, t_max=4.0, learn=("tau_mem", "tau_syn", "v_leak"))
    check_module(layer, spikes(2, 3, 1) * 100)


@pytest.mark.parametrize("t_max", [4.0, INF])
def test_li_with_a_weight(t_max):
    layer = snn.LI(
        3,
        2,
        **UNIT,
        readout="integral",
        t_max=t_max,
        tau_weight=1.7,
        learn=("tau_mem", "tau_syn", "v_leak"),
    )
    check_module(layer, spikes(2, 3, 1) * 100)


def test_second_derivatives_of_a_maximum():
    """Its time moves, which counts in second order."""
    times = (spikes(2, 3, 1) * 100).requires_grad_()
    weight = torch.tensor([[3.0, 4.0, -1.0]], dtype=torch.float64, requires_grad=True)

    def function(times, weight):
        return snn.functional.li(times, weight, tau_mem=2.0, tau_syn=1.0)

    assert gradgradcheck(function, (times, weight), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_li_trace():
    layer = snn.LI(3, 2, **UNIT)
    times = torch.tensor([0.5, 2.5], dtype=torch.float64)
    check_module(Trace(layer, times), spikes(2, 3, 1) * 100)


class Trace(torch.nn.Module):
    def __init__(self, layer, times):
        super().__init__()
        self.layer, self.times = layer, times

    def forward(self, spikes):
        return self.layer.trace(spikes, self.times)


def test_delay_of_spike_times_and_events():
    module = snn.Delay(3, 0.2, dtype=torch.float64)
    inputs = spikes(2, 3, 2) * 100
    check_module(module, inputs)
    check_module(module, inputs, lambda out: snn.events_from_spike_times(out).time.cumsum(-1))
    check_module(
        torch.nn.Sequential(Merge(), module), inputs, lambda events: events.time.cumsum(-1)
    )


class Merge(torch.nn.Module):
    def forward(self, spikes):
        return snn.events_from_spike_times(spikes)


def test_conversions_of_events():
    inputs = (spikes(2, 3, 2) * 100).requires_grad_()

    def function(inputs):
        events = snn.events_from_spike_times(inputs)
        return snn.spike_times_from_events(events, 3, 2) * torch.arange(1.0, 3.0)

    assert gradcheck(function, (inputs,))


def test_encoder():
    values = torch.rand(4, 3, dtype=torch.float64) * 0.8 + 0.1
    check_module(snn.LatencyEncoder(0.1, 2.0, bias=0.3), values)


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_cross_entropy(alpha):
    loss = snn.TTFSCrossEntropyLoss(1.0, xi=0.5, alpha=alpha, reduction="none")
    times = (spikes(4, 3, 2) * 100).requires_grad_()
    target = torch.tensor([0, 1, 2, 0])
    assert gradcheck(lambda times: loss(times, target), (times,))


def test_mean_square():
    times = (spikes(4, 3, 2) * 100).requires_grad_()
    classes = snn.SpikeTimeMSELoss(1.0, 1.6)
    assert gradcheck(lambda times: classes(times, torch.tensor([0, 1, 2, 0])), (times,))
    target = spikes(4, 3, 2, seed=2).requires_grad_()
    assert gradcheck(snn.SpikeTimeMSELoss(silent_time=3.0), (times, target))


def test_a_deep_model():
    model = torch.nn.Sequential(
        snn.LatencyEncoder(0.0, 2.0),
        strong(snn.LIF(3, 3, **UNIT, refractory=INF)),
        snn.Delay(3, 0.1, dtype=torch.float64),
        strong(snn.LIF(3, 3, **UNIT, refractory=INF)),
        snn.LI(3, 2, **UNIT),
    )
    check_module(model, torch.rand(2, 3, dtype=torch.float64) * 0.8 + 0.1)
