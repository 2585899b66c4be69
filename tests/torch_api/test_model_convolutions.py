"""Convolutions of neurons other than LIF, against layers with their dense matrices."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from .._thorough import usual

END, F64 = 0.1, torch.float64
ROOM: dict[str, Any] = {"max_spikes": 20, "t_max": END, "on_overflow": "truncate", "dtype": F64}
CASES: dict[str, tuple[Any, Any, tuple[int, ...], dict[str, Any]]] = {
    "without leak": (
        *(snn.DeltaLIFConv2d, snn.DeltaLIF),
        (2, 5, 4),
        {"tau_mem": math.inf, "padding": 1},
    ),
    "with leak": (snn.DeltaLIFConv1d, snn.DeltaLIF, (2, 7), {"stride": 2, "groups": 2}),
    "two axes": (snn.IFConv2d, snn.IF, (2, 5, 4), {"padding": "same", "refractory": 1e-3}),
    "one axis": (snn.IFConv1d, snn.IF, (2, 7), {"stride": 2, "groups": 2, "refractory": 1e-3}),
}
STRUCTURE = {"stride", "padding", "dilation", "groups"}


@pytest.mark.parametrize("name", usual({"one axis"}, CASES))
def test_they_are_their_dense_matrix(name: str) -> None:
    torch.manual_seed(0)
    kind, dense, shape, given = CASES[name]
    structure = {name: given[name] for name in STRUCTURE & set(given)}
    constants = {name: value for name, value in given.items() if name not in STRUCTURE}
    threshold = torch.tensor([0.8, 1.0, 1.1, 1.3], dtype=F64)
    layer = kind(2, 4, 3, v_threshold=threshold, learn="v_threshold", **given, **ROOM)
    convolve = (nn.functional.conv1d, nn.functional.conv2d)[len(shape) - 2]
    pixels = torch.eye(math.prod(shape), dtype=F64).unflatten(1, shape)
    matrix = convolve(pixels, layer.weight, **structure)
    after = matrix.shape[1:]
    matrix = matrix.flatten(1).T
    outputs = len(matrix)
    each = layer.v_threshold.repeat_interleave(outputs // 4)
    flat = dense(matrix.shape[1], outputs, v_threshold=each, **constants, **ROOM)

    spikes = (torch.rand(3, *shape, 2, dtype=F64) * END / 2).sort(-1).values.requires_grad_()
    found = layer(spikes)
    assert found.shape == (3, *after, 20)
    weights = torch.randn(found.shape, dtype=F64)
    times = torch.linspace(0, END, 20, dtype=F64)

    def gradients(out: torch.Tensor, voltage: torch.Tensor) -> tuple[torch.Tensor, ...]:
        value = (weights.view_as(out) * out)[out.isfinite()].sum() + voltage.square().sum()
        return torch.autograd.grad(value, (spikes, layer.weight, layer.v_threshold))

    ours = gradients(found, layer.trace(spikes, times, output=found))
    neuron = flat.model(**{**flat.constants(), "v_threshold": each})
    arguments = {**flat.arguments(), "weight": matrix, "neuron": neuron, "on_overflow": "truncate"}
    given_flat = spikes.flatten(1, -2)
    expected = snn.functional.spiking(given_flat, **arguments)
    v = snn.functional.spiking_trace(given_flat, **arguments, times=times, output=expected)
    torch.testing.assert_close(found.flatten(1, -2), expected, rtol=0, atol=1e-13)
    assert found.isfinite().sum() > 50
    for a, b in zip(ours, gradients(expected, v), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    report = snn.health_report(layer).layers[0]
    assert (report.neurons, report.samples) == (4, 3 * outputs // 4)
    assert snn.cost(layer, spikes.detach()).layers[0].spikes == found.isfinite().sum() / 3


def test_what_they_do_not_have_is_named() -> None:
    with pytest.raises(TypeError, match=r"DeltaLIFConv2d has no option delay, mask; a kernel says"):
        snn.DeltaLIFConv2d(2, 4, 3, delay="axonal", mask=None)
    with pytest.raises(TypeError, match="IFConv1d has no option solver"):
        snn.IFConv1d(2, 4, 3, solver="auto")
    with pytest.raises(ValueError, match="in_channels must be divisible by groups = 2, got 3"):
        snn.IFConv2d(3, 4, 3, groups=2)
    layer = snn.DeltaLIFConv2d(2, 4, 3, tau_mem=math.inf)
    with pytest.raises(ValueError, match=r"spikes must have shape \(..., 2, H, W, k\)"):
        layer(torch.zeros(1, 3, 5, 4, 1))
    assert "kernel_size=(3, 3)" in repr(layer)
    assert "tau_mem=inf" in repr(layer)
    other = snn.DeltaLIFConv2d(2, 4, 3, tau_mem=1e-2)
    with pytest.warns(snn.CheckpointWarning, match="tau_mem=inf"):
        other.load_state_dict(layer.state_dict())
