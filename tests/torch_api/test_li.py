"""The leaky integrator as a module."""

import copy
import math

import pytest
import torch

from evtorch import torch_api as snn

from ..reference import Neuron, leaky_integral, leaky_maximum, leaky_value
from ._networks import INF, gradient, spikes

T_MAX = 3e-2
READOUTS = {"max": leaky_maximum, "integral": leaky_integral, "value": leaky_value}


def reference(read, inputs, layer, *end):
    out = torch.empty(len(inputs), layer.out_features, dtype=torch.float64)
    for b, sample in enumerate(inputs):
        for j, row in enumerate(layer.weight):
            events = sorted((t.item(), w.item()) for w, t in zip(row, sample[:, 0], strict=True))
            times, weights = zip(*events, strict=True)
            neuron = Neuron(layer.tau_mem, layer.tau_syn, INF, layer.v_leak)
            out[b, j] = read(neuron, times, weights, *end)
    return out


@pytest.mark.parametrize("readout", READOUTS)
def test_readouts_equal_the_reference(readout):
    layer = snn.LI(
        5, 3, tau_mem=1.5e-2, v_leak=0.1, readout=readout, t_max=T_MAX, dtype=torch.float64
    )
    inputs = spikes(4, 5, 1)
    out = layer(inputs)
    assert out.shape == (4, 3)
    torch.testing.assert_close(
        out, reference(READOUTS[readout], inputs, layer, T_MAX), rtol=1e-8, atol=1e-12
    )
    torch.testing.assert_close(layer(snn.events_from_spike_times(inputs)), out)


@pytest.mark.parametrize("t_max", [T_MAX, INF])
@pytest.mark.parametrize("tau_mem", [1e-2, 1.5e-2, 2e-2, torch.tensor([1e-2, 2e-2, 3e-2])])
def test_weighted_integrals_equal_a_quadrature_of_the_voltage(tau_mem, t_max):
    """With equal and twofold time constants, others, and those of single neurons."""
    tau_weight = 6e-3
    layer = snn.LI(
        5,
        3,
        tau_mem=tau_mem,
        tau_syn=1e-2,
        v_leak=0.1,
        readout="integral",
        t_max=t_max,
        tau_weight=tau_weight,
        dtype=torch.float64,
    )
    inputs = spikes(4, 5, 1)
    inputs[0, 1] = INF
    out = layer(inputs)
    # Midpoints of steps of 4 us: their error is far below 1e-6 of the integral.
    step = 4e-6
    times = torch.arange(0.5 * step, min(t_max, 25 * tau_weight), step, dtype=torch.float64)
    weighted = layer.trace(inputs, times) * torch.exp(-times / tau_weight)
    torch.testing.assert_close(out, weighted.sum(dim=-1) * step, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(layer(snn.events_from_spike_times(inputs)), out)
    single = copy.deepcopy(layer).float()(inputs.float())
    torch.testing.assert_close(single.double(), out, rtol=1e-5, atol=1e-8)


def test_the_weight_belongs_to_integrals_and_to_checkpoints():
    with pytest.raises(ValueError, match=r"tau_weight must be inf with readout='max', got 0\.01"):
        snn.LI(5, 3, tau_weight=1e-2)
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="tau_weight must be > 0"):
            snn.LI(5, 3, readout="integral", tau_weight=wrong)
    layer = snn.LI(5, 3, readout="integral", tau_weight=1e-2)
    assert "tau_weight=0.01" in repr(layer)
    other = snn.LI(5, 3, readout="integral", t_max=INF, tau_weight=2e-2)
    with pytest.warns(snn.CheckpointWarning, match=r"tau_weight=0\.01, but this one has tau_w"):
        other.load_state_dict(layer.state_dict())


def test_trace_equals_the_reference():
    layer = snn.LI(5, 3, v_leak=0.1, dtype=torch.float64)
    inputs = spikes(4, 5, 1)
    times = torch.tensor([0.0, 1e-2, 3e-2], dtype=torch.float64)
    trace = layer.trace(inputs, times)
    assert trace.shape == (4, 3, 3)
    for i, time in enumerate(times):
        expected = reference(leaky_value, inputs, layer, time.item())
        torch.testing.assert_close(trace[..., i], expected, rtol=1e-9, atol=1e-12)


def test_functional_forms_agree():
    weight = torch.randn(3, 5, dtype=torch.float64)
    inputs = spikes(4, 5, 1)
    f = snn.functional
    times = torch.tensor([T_MAX], dtype=torch.float64)
    value = f.li(inputs, weight, readout="value", t_max=T_MAX)
    torch.testing.assert_close(value, f.li_value(inputs, weight, times)[..., 0])
    integral = f.li(inputs, weight, readout="integral", t_max=T_MAX)
    torch.testing.assert_close(integral, f.li_integral(inputs, weight, t_max=T_MAX))
    torch.testing.assert_close(f.li(inputs, weight), f.li_max(inputs, weight))
    early = f.li_integral(inputs, weight, t_max=T_MAX, tau_weight=1e-2)
    assert not torch.allclose(integral, early)
    endless = f.li_integral(inputs, weight, t_max=math.inf, tau_weight=1e-2)
    late = f.li_integral(inputs, weight, t_max=1.0, tau_weight=1e-2)
    torch.testing.assert_close(endless, late)


@pytest.mark.parametrize("batch", [(), (2, 3), (0,)])
def test_leading_batch_dimensions(batch):
    assert snn.LI(5, 3)(spikes(*batch, 5, 2, dtype=torch.float32)).shape == (*batch, 3)


def test_learned_constants_get_gradients():
    layer = snn.LI(5, 3, learn=("tau_mem", "tau_syn", "v_leak"))
    layer(spikes(4, 5, 1, dtype=torch.float32)).sum().backward()
    for name in ("tau_mem", "tau_syn", "v_leak"):
        assert gradient(getattr(layer, name)).abs().max() > 0, name
    assert "tau_mem=learned" in repr(layer)


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        ("integral", "t_max must be finite"),
        ("value", "t_max must be finite"),
        ("mean", "readout must be 'max', 'integral' or 'value'"),
    ],
)
def test_bad_readouts(readout, message):
    with pytest.raises(ValueError, match=message):
        snn.LI(5, 3, readout=readout)


def test_outputs_that_never_rise_are_counted_and_rescued():
    torch.manual_seed(1)
    layer = snn.LI(5, 3, v_leak=torch.tensor([0.1, 0.2, 0.3]))
    inputs = spikes(4, 5, 1).float()
    with torch.no_grad():
        layer.weight[1].abs_().neg_()
    out = layer(inputs)
    rest = torch.as_tensor(layer.v_leak)[1]
    assert (out[:, 1] == rest).all()
    (grad,) = torch.autograd.grad(out.sum(), layer.weight)
    assert grad[1].count_nonzero() == 0
    (health,) = snn.health_report(layer).layers
    assert health.always_silent.tolist() == [1]
    before = layer.weight.detach().clone()
    assert snn.rescue_silent_(layer) == 1
    assert (layer.weight[1] > before[1]).all()
    assert torch.equal(layer.weight[::2], before[::2])
    for _ in range(20):
        layer(inputs)
        snn.rescue_silent_(layer)
    assert (layer(inputs)[:, 1] > rest).any()


def test_readouts_with_a_gradient_everywhere_have_nothing_to_report():
    layer = snn.LI(5, 3, readout="value", t_max=T_MAX)
    layer(spikes(4, 5, 1).float())
    report = snn.health_report(layer)
    assert (report.layers, report.not_run) == ((), ())


def test_most_maxima_rise_with_initial_weights():
    inputs = spikes(50, 40, 1).float()
    resting = []
    for seed in range(10):
        torch.manual_seed(seed)
        layer = snn.LI(40, 10)
        layer(inputs)
        resting.append(snn.health_report(layer).layers[0])
    assert sum(health.silent_fraction for health in resting) / 10 < 0.05
    assert all(len(health.always_silent) == 0 for health in resting)
