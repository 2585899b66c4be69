"""Traces of layers: from the spikes that the forward found, voltages and currents."""

import pytest
import torch

from evtorch import torch_api as snn

from ._networks import INF, draw_delay, spikes, strong

MS = 1e-3
LOOKS = torch.linspace(0, 0.05, 11, dtype=torch.float64)


def layer(kind: str) -> snn.LIF | snn.RecurrentLIF:
    options = {"max_spikes": 6, "refractory": 3 * MS, "t_max": 0.05, "dtype": torch.float64}
    options["learn"] = ("tau_mem", "tau_syn", "v_leak", "v_reset", "refractory")
    if kind == "recurrent":
        both = {"delay": "axonal", "recurrent_delay": "axonal"}
        made = snn.RecurrentLIF(3, 2, **both, **options)
        torch.nn.init.uniform_(made.recurrent_delay, 1 * MS, 3 * MS)
    else:
        made = snn.LIF(3, 2, delay=None if kind == "none" else kind, **options)
    if kind != "none":
        draw_delay(made, 1 * MS, 3 * MS)
    return strong(made)


@pytest.mark.parametrize("kind", ["none", "axonal", "dendritic", "recurrent"])
def test_trace_of_the_output_is_that_of_the_layer(kind):
    made, inputs = layer(kind), spikes(2, 3, 2).requires_grad_()
    output = made(inputs)
    assert torch.isfinite(output).sum() > 4
    asked = [inputs, *made.parameters()]
    for quantity in ("voltage", "current"):
        simulated = made.trace(inputs, LOOKS, quantity=quantity)
        # Without room or time for a spike, were there a simulation.
        made.max_spikes, made.t_max = 1, 1e-9
        found = made.trace(inputs, LOOKS, output=output, quantity=quantity)
        made.max_spikes, made.t_max = 6, 0.05
        assert found.shape == (2, 2, 11)
        torch.testing.assert_close(found, simulated, rtol=1e-12, atol=1e-12)
        weights = torch.arange(found.numel(), dtype=found.dtype).cos().reshape(found.shape)
        options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
        for ours, theirs in zip(
            torch.autograd.grad((found * weights).sum(), asked, **options),
            torch.autograd.grad((simulated * weights).sum(), asked, **options),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_dendritic_delays_shift_the_trace():
    """As what the layer without delays does at earlier times, with all derivatives."""
    made, plain = layer("dendritic"), strong(layer("none"))
    inputs = spikes(2, 3, 2).requires_grad_()
    delay = made.delay
    for quantity in ("voltage", "current"):
        delayed = made.trace(inputs, LOOKS, quantity=quantity)
        earlier = [
            plain.trace(inputs, (LOOKS - delay[neuron]).clamp(min=0), quantity=quantity)[:, neuron]
            for neuron in range(2)
        ]
        expected = torch.stack(earlier, 1)
        torch.testing.assert_close(delayed, expected, rtol=1e-12, atol=1e-12)
        weights = torch.arange(expected.numel(), dtype=expected.dtype).cos().reshape(expected.shape)
        options = {"allow_unused": True, "materialize_grads": True}
        shared = ("weight", "tau_mem", "tau_syn", "v_leak", "v_reset", "refractory")
        asked = [[inputs, delay, *(getattr(each, x) for x in shared)] for each in (made, plain)]
        ours = torch.autograd.grad((delayed * weights).sum(), asked[0], **options)
        theirs = torch.autograd.grad((expected * weights).sum(), asked[1], **options)
        assert all(x.abs().max() > 0 for x in theirs[:2])
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_nothing_has_arrived_before_a_dendritic_delay():
    made = strong(snn.LIF(3, 2, refractory=INF, delay=None, dtype=torch.float64))
    later = strong(snn.LIF(3, 2, refractory=INF, delay="dendritic", dtype=torch.float64))
    torch.nn.init.constant_(later.delay, 10 * MS)
    inputs = torch.zeros(3, 1, dtype=torch.float64)
    looks = torch.tensor([0.0, 9 * MS, 10 * MS, 15 * MS], dtype=torch.float64)
    current = later.trace(inputs, looks, quantity="current")
    assert (current[:, :2] == 0).all()
    expected = made.trace(inputs, looks[2:] - 10 * MS, quantity="current")
    torch.testing.assert_close(current[:, 2:], expected, rtol=1e-12, atol=1e-12)


def test_current_is_the_sum_over_synapses():
    inputs = spikes(2, 3, 1)
    expected = torch.zeros(2, 2, 11, dtype=torch.float64)
    made = strong(snn.LIF(3, 2, refractory=INF, dtype=torch.float64))
    for i in range(3):
        since = LOOKS - inputs[:, i]
        decay = torch.where(since >= 0, torch.exp(-since / 1e-2), 0)
        expected += made.weight.detach()[:, i, None] * decay[:, None]
    readout = snn.LI(3, 2, dtype=torch.float64)
    readout.weight = made.weight
    for each in (made, readout):
        current = each.trace(inputs, LOOKS, quantity="current")
        torch.testing.assert_close(current, expected, rtol=1e-12, atol=1e-12)


def test_output_on_which_the_layer_does_not_agree_is_reset_there():
    made, inputs = strong(snn.LIF(3, 2, v_reset=-0.5)), spikes(3, 2, dtype=torch.float32)
    output = torch.tensor([[0.004], [0.03]])
    trace = made.trace(inputs, output[:, 0], output=output)
    assert trace[0, 0] == trace[1, 1] == -0.5


@pytest.mark.parametrize("kind", [snn.LIF, snn.RecurrentLIF])
def test_what_does_not_fit_is_named(kind):
    made, inputs, looks = kind(3, 2), spikes(3, 2, dtype=torch.float32), torch.ones(2)
    with pytest.raises(ValueError, match='quantity must be "voltage" or "current"'):
        made.trace(inputs, looks, quantity="charge")
    for output, error, message in [
        (torch.ones(3, 1), ValueError, "output of shape .* 2 are expected"),
        (torch.ones(1, 2, 1), ValueError, "output of shape .* leading dimensions"),
        (torch.ones(2, 1).double(), TypeError, "output is torch.float64"),
        ([[1.0], [1.0]], TypeError, "output must be a tensor"),
    ]:
        with pytest.raises(error, match=message):
            made.trace(inputs, looks, output=output)
