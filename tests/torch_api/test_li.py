"""The leaky integrator as a module."""

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
