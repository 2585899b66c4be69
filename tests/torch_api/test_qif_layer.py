"""The layer of quadratic integrate-and-fire neurons: what it is, reports and learns."""

import copy
import math

import jax.numpy as jnp
import pytest
import torch

from evtorch import bridge, jax_core
from evtorch import torch_api as snn
from evtorch.torch_api import functional as F

from ..reference._quadratic_neuron import QuadraticNeuron

END, F64 = 0.1, torch.float64


def spikes_of(samples=3):
    return torch.sort(torch.rand(samples, 5, 3, dtype=F64) * END, dim=-1).values


def layer_of(inputs=5, **options):
    given = {"max_spikes": 6, "t_max": END, "dtype": F64, "pseudospikes": True, **options}
    return snn.QIF(inputs, 4, **given)


def test_a_layer_is_its_function():
    spikes = spikes_of()
    for pseudospikes in (False, True):
        layer = layer_of(pseudospikes=pseudospikes)
        out = layer(spikes)
        neuron = jax_core.QIF(**layer.constants(), pseudospikes=pseudospikes)
        assert torch.equal(out, F.spiking(spikes, layer.weight, neuron, max_spikes=6, t_max=END))
        assert out.isfinite().all() == pseudospikes
        assert (out[..., 0] <= END).double().mean() > 0.6
        assert torch.equal(layer(snn.events_from_spike_times(spikes)), out)
        silent = (out[..., 0] > END).sum(dim=0)
        assert torch.equal(snn.health_report(layer).layers[0].counts.silent, silent.int())
        more = spikes_of(samples=19)
        assert torch.equal(layer(more)[:7], layer(more[:7]))
        times = torch.linspace(0, END, 20, dtype=F64)
        v = layer.trace(spikes, times)
        assert torch.equal(layer.trace(spikes, times, output=out), v)
    assert "pseudospikes=True" in repr(layer)


def test_gradients_of_two_layers_reach_everything_and_are_exact():
    names = ("tau_mem", "current", "v_start")
    net = torch.nn.Sequential(
        layer_of(learn=names, delay="axonal", max_spikes=2, on_overflow="truncate"),
        layer_of(4, current=torch.tensor([0.0, 0.1, 0.25, 0.5], dtype=F64), learn=names),
    )
    with torch.no_grad():
        net[0].delay.fill_(1e-3)
    spikes = spikes_of(samples=2).requires_grad_()
    parameters = dict(net.named_parameters())
    assert len(parameters) == 9

    def run(spikes, *values):
        given = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(net, given, (spikes,))

    inputs = (spikes, *parameters.values())
    assert torch.autograd.gradcheck(run, inputs, eps=1e-7, atol=1e-6, rtol=1e-5, fast_mode=True)
    net(spikes).square().sum().backward()
    for parameter in parameters.values():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.all()


def test_silent_neurons_learn_to_spike():
    """The loss is smooth through the trial's end, so descent adds spikes and moves them."""
    layer = layer_of(max_spikes=2, on_overflow="truncate")
    with torch.no_grad():
        layer.weight.fill_(0.05)
    spikes = torch.linspace(0.01, 0.05, 5, dtype=F64).reshape(1, 5, 1)
    target = torch.tensor([0.06, 0.07, 0.08, 0.09], dtype=F64)
    assert (layer(spikes) > END).all()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = ((layer(spikes)[0, :, 0] - target) / 0.02).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-3 < losses[0]
    assert snn.health_report(layer).layers[0].silent_fraction == 0


def test_checkpoints_copies_room_and_compilers():
    layer, spikes = layer_of(max_spikes="auto", pseudospikes=False), spikes_of()
    with torch.no_grad():
        layer.weight.mul_(6)
    out = layer(spikes)
    assert torch.equal(copy.deepcopy(layer)(spikes), out)
    with pytest.warns(snn.CheckpointWarning, match="pseudospikes=True"):
        layer_of(pseudospikes=False).load_state_dict(layer_of().state_dict())
    mask = torch.rand(4, 5) < 0.5
    mask[:, 0] = True
    some, dense = layer_of(mask=mask), layer_of()
    with torch.no_grad():
        dense.weight.copy_(torch.where(mask, some.dense_weight(), 0))
    torch.testing.assert_close(some(spikes), dense(spikes), rtol=0, atol=1e-12)
    cut = layer_of(on_overflow="truncate")
    torch.testing.assert_close(
        torch.compile(cut, fullgraph=True, backend="eager")(spikes), cut(spikes)
    )
    single = layer_of(dtype=torch.float32)
    out = single(spikes.float())
    run, parameters = bridge.as_jax_function(single)
    torch.testing.assert_close(bridge.to_torch(run(parameters, bridge.to_jax(spikes.float()))), out)
    double = layer_of()
    double.load_state_dict(single.state_dict())
    torch.testing.assert_close(double(spikes).float(), out, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau_mem": 0.0}, "tau_mem must be > 0"),
        ({"current": math.inf}, "current must be finite"),
        ({"pseudospikes": True}, "t_max must be finite with pseudospikes=True"),
        ({"learn": "v_threshold"}, "learn must name neuron constants"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        snn.QIF(5, 4, **options)
    with pytest.raises(TypeError, match="QIF has no option refractory"):
        snn.QIF(5, 4, refractory=1.0)


def test_too_many_spikes_are_not_blamed_on_a_constant_that_there_is_not():
    layer = snn.QIF(1, 2, current=9.0, t_max=0.5)
    times = torch.zeros(1, 1, 1)
    for call in (layer, lambda x: F.spiking(x, layer.weight, layer.neuron(), t_max=0.5)):
        with pytest.raises(snn.SpikeOverflowError, match="Raise max_spikes; or lower") as found:
            call(times)
        assert "refractory" not in str(found.value)
    neuron = jax_core.QIF(current=9.0)
    with pytest.raises(Exception, match="raise max_spikes") as raised:
        jax_core.spiking(jnp.zeros((1, 1, 1)), jnp.ones((2, 1)), neuron, t_max=1.0)
    assert "refractory" not in str(raised.value)
    with pytest.raises(snn.SpikeOverflowError, match="refractory=inf"):
        snn.DeltaLIF(1, 2, v_leak=2.0, t_max=0.5)(times)


@pytest.mark.parametrize("delay", [None, 2e-3])
def test_recurrent_layers(delay):
    """What each neuron does, given all that it hears, is what the reference says."""
    torch.manual_seed(3)
    layer = snn.RecurrentQIF(
        5, 4, current=0.3, max_spikes=12, t_max=END, recurrent_delay=delay, dtype=F64
    )
    with torch.no_grad():
        layer.weight.mul_(1.5)
        layer.recurrent_weight.normal_(0.0, 0.8)
    spikes = spikes_of(samples=2)
    out = layer(spikes).detach()
    weight = torch.cat([layer.weight, layer.recurrent_weight], dim=1)
    assert 16 < out.isfinite().sum() < 80
    for given, own in zip(spikes, out, strict=True):
        heard = [*given, *(own + (delay or 0))]
        for n in range(4):
            events = sorted(
                (t.item(), w.item())
                for k, (times, w) in enumerate(zip(heard, weight[n], strict=True))
                for t in times
                # An infinite voltage feels no input, its own included.
                if t <= END and (delay or k != 5 + n)
            )
            found = QuadraticNeuron(2e-2, 0.3, 0.0).spikes(events, END)
            torch.testing.assert_close(
                own[n][own[n].isfinite()], torch.tensor(found, dtype=F64), rtol=0, atol=1e-11
            )
    parameters = dict(layer.named_parameters())

    def run(spikes, *values):
        given = dict(zip(parameters, values, strict=True))
        out = torch.func.functional_call(layer, given, (spikes,))
        return torch.where(out.isfinite(), out, 0)

    inputs = (spikes.requires_grad_(), *parameters.values())
    assert torch.autograd.gradcheck(run, inputs, eps=1e-7, atol=1e-6, rtol=1e-5, fast_mode=True)


def test_recurrent_layers_have_no_pseudospikes():
    with pytest.raises(ValueError, match="not for neurons that are connected to each other"):
        snn.RecurrentQIF(5, 4, t_max=END, pseudospikes=True)
    neuron = jax_core.QIF(pseudospikes=True)
    weights = torch.ones(4, 5), torch.ones(4, 4)
    with pytest.raises(ValueError, match="not for neurons that are connected to each other"):
        F.recurrent_spiking(torch.rand(2, 5, 1), *weights, neuron, t_max=END)
