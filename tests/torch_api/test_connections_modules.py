"""Convolutions, sparse layers and synaptic delays in the life of a model."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from .._thorough import usual
from ._networks import INF, gradient, spikes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MS = 1e-3
INPUTS = {"conv": (2, 4, 3, 1), "mask": (6, 1), "synaptic": (6, 1)}
MASK = torch.tensor([[1, 1, 0, 1, 0, 0], [0, 1, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0]]).bool()


def make(kind, **options):
    given = {"max_spikes": 2, "on_overflow": "truncate", **options}
    if kind == "conv":
        return snn.LIFConv2d(2, 3, 2, padding=(1, 0), **given)
    if kind == "mask":
        return snn.LIF(6, 3, mask=MASK, **given)
    return snn.LIF(6, 3, mask=MASK, delay="synaptic", **given)


def batch(kind, samples=4, dtype=torch.float32):
    return spikes(samples, *INPUTS[kind], dtype=dtype)


def total(out):
    return torch.where(out < INF, out, 0).sum()


@pytest.mark.parametrize("kind", usual({"mask"}, INPUTS))
def test_state_dict_copies_and_dtypes(kind):
    layer, other = make(kind), make(kind)
    inputs = batch(kind)
    expected = layer(inputs)
    assert not torch.equal(other(inputs), expected)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(inputs), expected)
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(same(inputs), expected)
    double = copy.deepcopy(layer).double()
    out = double(inputs.double())
    assert out.dtype == torch.float64
    torch.testing.assert_close(out.float(), expected, rtol=1e-4, atol=0)
    meta = make(kind, device="meta")
    assert all(x.is_meta for x in (*meta.parameters(), *meta.buffers()))
    meta.to_empty(device="cpu").load_state_dict(layer.state_dict())
    assert torch.equal(meta(inputs), expected)
    with torch.device("meta"):
        assert make(kind).weight.is_meta


def test_a_checkpoint_brings_its_connections():
    mask = MASK.roll(1, dims=1)
    layer, other = make("mask"), snn.LIF(6, 3, mask=mask, max_spikes=2, on_overflow="truncate")
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(batch("mask")), layer(batch("mask")))
    assert torch.equal(other.dense_weight() != 0, MASK)
    fewer = snn.LIF(6, 3, mask=torch.eye(3, 6).bool())
    with pytest.raises(RuntimeError, match=r"size mismatch for weight.*\[8\].*\[3\]"):
        fewer.load_state_dict(layer.state_dict())
    strided = snn.LIFConv1d(2, 3, 2, stride=2)
    with pytest.warns(snn.CheckpointWarning, match=r"stride=\[2\].*stride=\[1\]"):
        snn.LIFConv1d(2, 3, 2).load_state_dict(strided.state_dict())


@pytest.mark.parametrize("kind", usual({"conv"}, INPUTS))
def test_compiled_and_mapped_layers_are_the_same(kind):
    torch._dynamo.reset()
    layer, inputs = make(kind), batch(kind)
    if isinstance(layer, snn.LIF) and layer.delay is not None:
        nn.init.uniform_(layer.delay, 0, 5 * MS)
    expected = layer(inputs)
    report = str(snn.health_report(layer))
    wanted = torch.autograd.grad(total(expected), list(layer.parameters()))
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    out = compiled(inputs)
    torch.testing.assert_close(out, expected)
    found = torch.autograd.grad(total(out), list(layer.parameters()))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.func.vmap(layer)(inputs), expected)
    assert str(snn.health_report(layer)) == report

    def loss(parameters, sample):
        return total(torch.func.functional_call(layer, parameters, (sample,)))

    parameters = dict(layer.named_parameters())
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, inputs)
    summed = [x.sum(dim=0) for x in each.values()]
    torch.testing.assert_close(summed, list(wanted), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", INPUTS)
def test_a_step_of_an_optimiser_lowers_the_loss(kind):
    layer, inputs = make(kind, refractory=INF), batch(kind)
    groups = snn.parameter_groups(layer)
    assert sum(len(list(group["params"])) for group in groups) == len(list(layer.parameters()))
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    losses = []
    for _ in range(2):
        loss = total((layer(inputs) / 2e-2).square())
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        norms = snn.clip_grad_(layer, 1e-2)
        assert norms is not None
        optimiser.step()
    assert losses[1] < losses[0]


@pytest.mark.parametrize("kind", INPUTS)
def test_silent_neurons_are_counted_and_rescued(kind):
    layer, inputs = make(kind), batch(kind)
    with torch.no_grad():
        layer.weight.fill_(1e-3)
        if kind == "conv":
            layer.weight[0] = 3
        else:
            layer.weight[:3] = 3
    layer(inputs)
    health = snn.health_report(layer).layers[0]
    samples = 4 if kind != "conv" else 4 * 5 * 2
    assert health.neurons == 3
    assert health.samples == samples
    assert health.counts.silent[0] < samples
    assert health.counts.silent[1:].tolist() == [samples] * 2
    before = layer.weight.detach().clone()
    assert snn.rescue_silent_(layer) == 2
    raised = layer.weight.detach() - before
    unit = layer.critical_weight().item() * 0.05
    first = raised[:1] if kind == "conv" else raised[:3]
    rest = raised[1:] if kind == "conv" else raised[3:]
    assert (first == 0).all()
    torch.testing.assert_close(rest, torch.full_like(rest, unit), rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", INPUTS)
def test_initial_weights_let_most_neurons_spike(kind):
    layer, inputs = make(kind), batch(kind, samples=16)
    layer(inputs)
    assert snn.health_report(layer).layers[0].silent_fraction < 0.5
    with torch.no_grad():
        layer.weight.zero_()
    snn.initialise_(nn.Sequential(layer), inputs)
    layer(inputs)
    assert snn.health_report(layer).layers[0].silent_fraction < 0.5
    assert (layer.weight != 0).all()


def test_weight_penalty_counts_weights_in_their_neurons_unit():
    threshold = torch.tensor([1.0, 2.0, 4.0])
    layer = make("mask", v_threshold=threshold)
    with torch.no_grad():
        layer.weight.fill_(3.0)
    unit = layer.critical_weight()[torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])]
    expected = (3.0 / unit).square().mean()
    torch.testing.assert_close(snn.weight_penalty(layer).double(), expected, rtol=1e-5, atol=0)
    assert unit[0] * 8 / 3 == pytest.approx(snn.LIF(1, 1).critical_weight())


def test_silent_loss_of_a_mask_is_that_of_the_matrix():
    sparse, dense = make("mask"), snn.LIF(6, 3, max_spikes=2, on_overflow="truncate")
    with torch.no_grad():
        sparse.weight.mul_(0.3)
        dense.weight.copy_(sparse.dense_weight())
    inputs = batch("mask")
    for layer in (sparse, dense):
        layer(inputs)
    loss = snn.silent_loss(sparse)
    assert loss > 0
    torch.testing.assert_close(loss, snn.silent_loss(dense))
    loss.backward()
    snn.silent_loss(dense).backward()
    torch.testing.assert_close(gradient(sparse.weight), gradient(dense.weight)[MASK])


@pytest.mark.parametrize("kind", ["conv", "synaptic", "mask"])
def test_silent_loss_has_the_gradient_of_differences(kind):
    layer, inputs = make(kind).double(), batch(kind).double()
    with torch.no_grad():
        layer.weight.mul_(0.45)
        if kind == "synaptic":
            layer.delay.uniform_(0, 5e-3)

    def loss() -> torch.Tensor:
        layer(inputs)
        return snn.silent_loss(layer)

    loss().backward()
    names = [name for name, p in layer.named_parameters() if p.grad is not None]
    assert ("delay" in names) == (kind == "synaptic")
    for name, parameter in layer.named_parameters():
        scale = 1e-5 if name == "weight" else 1e-8
        step = scale * torch.randn_like(parameter)
        found = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(sign * step)
            found.append(loss().item())
            with torch.no_grad():
                parameter.sub_(sign * step)
        expected = (found[0] - found[1]) / 2
        assert expected != 0
        assert (gradient(parameter) * step).sum().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", INPUTS)
def test_overflow_and_undefined_values(kind):
    layer, inputs = make(kind, max_spikes=1, on_overflow="error"), batch(kind)
    with torch.no_grad():
        layer.weight.fill_(20.0)
    with pytest.raises(snn.SpikeOverflowError, match="max_spikes = 1"):
        layer(inputs)
    layer.on_overflow = "truncate"
    assert layer(inputs[:0]).shape == (0, *layer(inputs).shape[1:])
    layer(inputs[:0]).sum().backward()
    assert (layer(torch.full_like(inputs, INF)) == INF).all()
    nothing = layer(inputs[..., :0])
    assert nothing.shape == layer(inputs).shape
    assert (nothing == INF).all()
    with torch.no_grad():
        layer.weight[(0,) * layer.weight.ndim] = torch.nan
    with pytest.raises(ValueError, match="weight must be finite"):
        layer(inputs)
    with snn.validation(False):
        assert layer(inputs).isnan().any()


def test_a_convolutional_network_learns_through_pooling_and_flattening():
    model = nn.Sequential(
        snn.LIFConv2d(1, 4, 3, padding="same", refractory=INF),
        snn.FirstSpikePool2d(2),
        snn.FlattenSpikes(),
        snn.LIF(16, 3, refractory=INF),
    )
    inputs = spikes(8, 1, 4, 4, 1, dtype=torch.float32)
    target = torch.arange(8) % 3
    optimiser = torch.optim.Adam(model.parameters(), 5e-2)
    losses = []
    for _ in range(15):
        out = model(inputs)[..., 0].clamp(max=4e-2)
        loss = nn.functional.cross_entropy(-out / 5e-3, target)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.8 * losses[0]


def test_hardware_takes_masks_and_refuses_synaptic_delays():
    backend = snn.hardware.MockBSS2()
    options = {"max_spikes": 2, "on_overflow": "truncate", "refractory": 2 * MS, "t_max": 0.1}
    layer, dense = make("mask", **options), snn.LIF(6, 3, **options)
    with torch.no_grad():
        dense.weight.copy_(layer.dense_weight())
    scaling = snn.hardware.Scaling(weight=3.0, time=1e-3)
    results = []
    for each in (layer, dense):
        out = snn.hardware.on_backend(each, snn.hardware.MockBSS2(), scaling=scaling)(batch("mask"))
        total(out).backward()
        results.append(out)
    assert torch.equal(*results)
    torch.testing.assert_close(gradient(layer.weight), gradient(dense.weight)[MASK])
    assert gradient(layer.weight).abs().max() > 0
    with pytest.raises(ValueError, match=r"'0' has delays of single connections.*delay='axonal'"):
        snn.hardware.on_backend(make("synaptic"), backend)
    with pytest.raises(ValueError, match=r"backend does not go with delay='synaptic'"):
        make("synaptic", backend=backend)
    with pytest.raises(ValueError, match=r"cannot run on hardware, which takes LIF layers"):
        snn.hardware.on_backend(nn.Sequential(make("conv"), make("mask")), backend)


def test_nir_writes_masks_as_matrices_and_refuses_synaptic_delays():
    layer = make("mask")
    graph = snn.nir.to_nir(nn.Sequential(layer))
    (weight,) = (node.weight for node in graph.nodes.values() if hasattr(node, "weight"))
    np.testing.assert_array_equal(weight, layer.dense_weight().detach().numpy())
    with pytest.raises(ValueError, match=r"layer '0' \(LIF\) has delays of single conn"):
        snn.nir.to_nir(nn.Sequential(make("synaptic")))


def test_the_trace_of_a_masked_layer_with_dendritic_delays():
    options = {"delay": "dendritic", "refractory": math.inf, "dtype": torch.float64}
    layer, dense = snn.LIF(6, 3, mask=MASK, **options), snn.LIF(6, 3, **options)
    with torch.no_grad():
        layer.delay.copy_(torch.tensor([0.0, 2e-3, 5e-3]))
        dense.delay.copy_(layer.delay)
        dense.weight.copy_(layer.dense_weight())
    inputs, times = batch("mask").double(), torch.linspace(0, 3e-2, 9, dtype=torch.float64)
    expected = dense.trace(inputs, times)
    torch.testing.assert_close(layer.trace(inputs, times), expected, rtol=0, atol=1e-12)
    found = layer.trace(inputs, times, output=layer(inputs))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_layers_say_what_they_are():
    assert "connections=8" in repr(make("mask"))
    assert "delay='synaptic'" in repr(make("synaptic"))
    text = repr(snn.LIFConv2d(2, 4, 3, padding=1, groups=2, v_threshold=0.9))
    assert "2, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1)" in text
    assert "groups=2" in text
    assert "v_threshold=0.9" in text
