"""Convolutions, masks and delays of single connections: spikes and gradients of dense layers."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as f

from evtorch import torch_api as snn

from .._thorough import usual
from ._networks import INF, draw_delay, spikes
from .test_gradcheck import UNIT, check_module, finite

MS = 1e-3
SEVERAL = {"max_spikes": 3, "on_overflow": "truncate", "dtype": torch.float64}
CONVS = {
    "1d, stride, dilation": (1, (4, 7), (4, 6, 3, 2, 1, 2), {}),
    "1d, groups": (1, (4, 5), (4, 2, 2, 1, 0, 1, 2), {"refractory": 2 * MS}),
    "2d, padding": (2, (2, 4, 3), (2, 3, (3, 2), 1, (1, 0)), {"tau_mem": 1e-2, "v_leak": 0.2}),
    "2d, all": (2, (4, 5, 4), (4, 4, 2, (2, 1), 1, (1, 2), 2), {"refractory": INF}),
    "2d, depthwise": (2, (3, 3, 3), (3, 3, 2, 1, "valid", 1, 3), {"t_max": 15 * MS}),
}


def strong_(layer):
    """Weights of both signs with which most neurons spike."""
    with torch.no_grad():
        drawn = torch.randn(layer.weight.shape, dtype=layer.weight.dtype)
        layer.weight.copy_((drawn + 1.2) * 6 / layer.fan_in)
    return layer


def assert_same_gradients(first, second):
    """The same spikes to 1e-12 and gradients of functions of the same leaves."""
    results = []
    for out, leaves in (first, second):
        seed = torch.rand(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(3))
        loss = (seed * torch.where(out < INF, out, 0)).sum()
        results.append((out, torch.autograd.grad(loss, leaves)))
    (out, gradients), (expected, expected_gradients) = results
    assert (out[..., 0] < INF).float().mean() > 0.3
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=0)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        assert wanted.abs().max() > 0
        scale = wanted.abs().max().item()
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-12 * max(scale, 1))


def unfolded(layer, axes, size):
    """The matrix of a convolution, by torch's own."""
    inputs = math.prod(size)
    unit = torch.eye(inputs, dtype=torch.float64).reshape(inputs, *size)
    convolve = f.conv1d if axes == 1 else f.conv2d
    conv = layer.conv
    options = (None, conv.stride, conv.padding, conv.dilation, conv.groups)
    return convolve(unit, layer.weight, *options).flatten(1).T


@pytest.mark.parametrize("name", usual({"2d, all", "1d, groups"}, CONVS))
def test_convolutions_equal_a_dense_layer_with_the_unfolded_weight(name):
    axes, size, arguments, options = CONVS[name]
    kind = snn.LIFConv1d if axes == 1 else snn.LIFConv2d
    learn = ("tau_syn", "v_threshold", "v_reset")
    layer = strong_(kind(*arguments, learn=learn, **{**SEVERAL, **options}))
    with torch.no_grad():
        layer.v_threshold += torch.rand(layer.out_channels, dtype=torch.float64)
    inputs = spikes(2, *size, 2).requires_grad_()
    with torch.no_grad():
        inputs[0, 0] = INF
    out = layer(inputs)
    plain = (nn.Conv1d if axes == 1 else nn.Conv2d)(*arguments)
    expected = plain(torch.zeros(2, *size)).shape
    assert out.shape == (*expected, 3)
    positions = expected[2:].numel()
    constants = {
        key: value.repeat_interleave(positions) if isinstance(value, torch.Tensor) else value
        for key, value in layer.constants().items()
    }
    matrix = unfolded(layer, axes, size)
    limits = {"max_spikes": 3, "on_overflow": "truncate", "t_max": layer.t_max}
    dense = snn.functional.lif(inputs.flatten(1, -2), matrix, **constants, **limits)
    leaves = [inputs, layer.weight, *(getattr(layer, each) for each in learn)]
    if layer.refractory == INF:
        leaves = leaves[:-1]
    assert_same_gradients((out, leaves), (dense.reshape(out.shape), leaves))


def masked(**options):
    """A sparse layer of 6 inputs, 4 neurons of between 1 and 6 connections."""
    mask = torch.rand(4, 6) < 0.5
    mask[0], mask[1] = True, False
    mask[:, 2] = True
    return strong_(snn.LIF(6, 4, mask=mask, **{**SEVERAL, **options})), mask


@pytest.mark.parametrize(
    "options",
    usual(
        [{}, {"delay": "axonal"}],
        [{}, {"refractory": INF, "v_leak": 0.1}, {"delay": "axonal"}, {"silent": "peak"}],
    ),
)
def test_a_masked_layer_equals_the_dense_one(options):
    if "silent" in options:
        options = {**options, "t_max": 1.5e-2}
    layer, mask = masked(learn=("tau_mem", "v_threshold"), **options)
    dense = snn.LIF(6, 4, learn=("tau_mem", "v_threshold"), **SEVERAL, **options)
    if layer.delay is not None:
        draw_delay(layer, 0, 5 * MS)
    assert layer.weight.shape == (mask.sum(),)
    matrix = torch.zeros(4, 6, dtype=torch.float64).masked_scatter(mask, layer.weight)
    torch.testing.assert_close(layer.dense_weight(), matrix, rtol=0, atol=0)
    inputs = spikes(5, 6, 2).requires_grad_()
    state = {**dict(layer.named_parameters()), "weight": matrix}
    expected = torch.func.functional_call(dense, state, (inputs,))
    leaves = [inputs, *layer.parameters()]
    assert_same_gradients((layer(inputs), leaves), (expected, leaves))


def test_a_list_of_connections_is_the_mask_in_another_order():
    layer, mask = masked()
    order = torch.randperm(int(mask.sum()))
    pairs = mask.nonzero()[order]
    for given in (pairs, pairs.tolist()):
        listed = snn.LIF(6, 4, connections=given, **SEVERAL)
        with torch.no_grad():
            listed.weight.copy_(layer.weight[order])
        inputs = spikes(3, 6, 2)
        assert torch.equal(listed(inputs), layer(inputs))


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("is_learned", [False, True])
def test_synaptic_delays_equal_axonal_ones_neuron_by_neuron(is_sparse, is_learned):
    values = torch.rand(4, 6, dtype=torch.float64) * 5 * MS
    mask = torch.rand(4, 6) < 0.5
    mask[:, 1] = True
    given = {"mask": mask} if is_sparse else {}
    layer = strong_(snn.LIF(6, 4, delay="synaptic" if is_learned else values, **given, **SEVERAL))
    assert layer.delay_type == "synaptic"
    assert set(dict(layer.named_parameters())) == {"weight", *(["delay"] if is_learned else [])}
    assert layer.delay is not None
    assert layer.delay.shape == layer.weight.shape
    if is_learned:
        with torch.no_grad():
            layer.delay.copy_(values[mask] if is_sparse else values)
    matrix, inputs = layer.dense_weight(), spikes(3, 6, 2).requires_grad_()
    late = torch.zeros(4, 6, dtype=torch.float64).masked_scatter(mask, layer.delay)
    late = late if is_sparse else layer.delay
    rows = [
        snn.functional.lif(
            *(inputs + late[j, :, None], matrix[j : j + 1]),
            max_spikes=3,
            on_overflow="truncate",
        )
        for j in range(4)
    ]
    leaves = [inputs, *layer.parameters()]
    assert_same_gradients((layer(inputs), leaves), (torch.cat(rows, dim=1), leaves))


@pytest.mark.parametrize("given", usual({"mask", "conv"}, ["mask", "synaptic", "conv"]))
def test_events_and_traces(given):
    if given == "conv":
        layer = strong_(snn.LIFConv2d(2, 3, 2, padding=1, **SEVERAL))
        inputs, shape = spikes(2, 2, 3, 2, 2), (2, 3, 4, 3)
    else:
        layer, _ = masked(delay="synaptic" if given == "synaptic" else None)
        inputs, shape = spikes(2, 6, 2), (2, 4)
        events = snn.events_from_spike_times(inputs)
        torch.testing.assert_close(layer(events), layer(inputs), rtol=1e-12, atol=0)
        lost = snn.Events(events.time[..., :0], events.index[..., :0])
        assert (layer(lost) == INF).all()
    out = layer(inputs)
    times = torch.tensor([0.0, 5 * MS, 12 * MS], dtype=torch.float64)
    layer.max_spikes = 6
    voltage = layer.trace(inputs, times)
    assert voltage.shape == (*shape, 3)
    assert (voltage[..., 0] == 0).all()
    torch.testing.assert_close(voltage, layer.trace(inputs, times, output=layer(inputs)))
    current = layer.trace(inputs, times, quantity="current")
    assert current.shape == voltage.shape
    if given == "mask":
        dense = snn.functional.lif_trace(
            inputs, layer.dense_weight(), times, max_spikes=6, on_overflow="truncate"
        )
        torch.testing.assert_close(voltage, dense, rtol=1e-10, atol=1e-12)
    assert out.shape == (*shape, 3)


@pytest.mark.parametrize(
    "kind", usual({"LIFConv2d", "synaptic"}, ["LIFConv1d", "LIFConv2d", "mask", "synaptic"])
)
def test_gradcheck(kind):
    options = {**UNIT, "refractory": INF, "learn": ("tau_syn", "v_leak")}
    if kind == "mask":
        mask = torch.tensor([[True, True, False], [False, True, True]])
        layer, shape = snn.LIF(3, 2, mask=mask, delay="synaptic", **options), (3,)
    elif kind == "synaptic":
        layer, shape = snn.LIF(3, 2, delay="synaptic", **options), (3,)
    else:
        size = (3,) if kind == "LIFConv1d" else (3, 2)
        layer, shape = getattr(snn, kind)(2, 2, 2, groups=2, padding=1, **options), (2, *size)
    with torch.no_grad():
        layer.weight.copy_((1 + torch.rand(layer.weight.shape, dtype=torch.float64)) * 8)
        if isinstance(layer, snn.LIF):
            draw_delay(layer, 0.1, 0.5)
    check_module(layer, spikes(2, *shape, 1) * 100, finite)


@pytest.mark.parametrize("kind", usual({"synaptic"}, ["conv", "synaptic"]))
def test_both_gradients_agree(kind):
    found = []
    for method in ("eventprop", "fast_and_deep"):
        torch.manual_seed(5)
        options = {"refractory": INF, "gradient": method, "dtype": torch.float64}
        if kind == "conv":
            layer, shape = snn.LIFConv1d(2, 3, 3, **options), (2, 5)
        else:
            layer, shape = masked(delay="synaptic", **options)[0], (6,)
            draw_delay(layer, 0, 5 * MS)
        inputs = spikes(3, *shape, 2).requires_grad_()
        loss = finite(strong_(layer)(inputs)).pow(2).sum()
        found.append(torch.autograd.grad(loss, (inputs, *layer.parameters())))
    for a, b in zip(*found, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-15)


def test_microseconds_in_float32():
    constants = {"refractory": INF, "padding": 1}
    fast = snn.LIFConv1d(2, 3, 3, tau_mem=2e-6, tau_syn=1e-6, **constants)
    slow = snn.LIFConv1d(2, 3, 3, tau_mem=2.0, tau_syn=1.0, **constants)
    with torch.no_grad():
        fast.weight.copy_(slow.weight)
    inputs = spikes(4, 2, 5, 1, dtype=torch.float32) * 100
    with torch.no_grad():
        torch.testing.assert_close(fast(inputs * 1e-6) * 1e6, slow(inputs), rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", usual({"conv"}, ["conv", "mask"]))
def test_learned_observed_gradients(kind):
    if kind == "conv":
        layer, inputs = strong_(snn.LIFConv1d(2, 2, 3, **SEVERAL)), spikes(2, 2, 5, 2)
    else:
        layer, inputs = masked()[0], spikes(2, 6, 2)
    inputs.requires_grad_()
    out = layer(inputs)
    seen = snn.functional.lif_observed(
        inputs, layer.weight, out.detach(), connections=layer.connections()
    )
    assert_same_gradients((seen, [inputs, layer.weight]), (out, [inputs, layer.weight]))
