"""Layers under torch.compile and under the transformations of torch.func."""

import jax.monitoring
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from evtorch import torch_api as snn

from ._networks import INF, spikes, strong

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

_compiled: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: (
        _compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
)


def first_spike_layers():
    return nn.Sequential(
        snn.LatencyEncoder(0.0, 2e-2, bias=0.0),
        snn.Delay(3, 1e-3),
        strong(snn.LIF(3, 3, refractory=INF, delay="axonal")),
        strong(snn.LIF(3, 3, refractory=INF, delay="dendritic")),
    )


def test_layers_compile_once_and_without_graph_breaks():
    torch._dynamo.reset()
    recurrent = snn.RecurrentLIF(3, 3, max_spikes=2, on_overflow="truncate", t_max=5e-2)
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), *first_spike_layers(), strong(recurrent))
    model.append(snn.LI(3, 2, learn="tau_mem"))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    compiled(torch.rand(4, 2)).sum().backward()
    compilations = len(_compiled)
    model.zero_grad()
    values = torch.rand(4, 2)
    out = compiled(values)
    out.sum().backward()
    assert len(_compiled) == compilations, "later calls compile nothing"
    report = str(snn.health_report(model))
    expected = model(values)
    torch.testing.assert_close(out, expected)
    assert str(snn.health_report(model)) == report
    gradients = torch.autograd.grad(expected.sum(), list(model.parameters()))
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_layers_with_other_numbers_compile_into_one_graph_too():
    torch._dynamo.reset()
    values = spikes(4, 3, 2, dtype=torch.float32)
    for scale in (1.0, 2.0):
        layer = strong(
            snn.LIF(
                *(3, 3),
                max_spikes=2,
                on_overflow="truncate",
                t_max=scale * 5e-2,
                tau_mem=scale * 1e-2,
                refractory=scale * 1e-3,
            )
        )
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(values), layer(values))


def test_an_overflow_is_reported_from_compiled_code_too():
    torch._dynamo.reset()
    layer = strong(snn.LIF(3, 2, max_spikes=1))
    compiled = torch.compile(layer, backend="eager")
    for _ in range(2):
        with pytest.raises(snn.SpikeOverflowError, match="max_spikes = 1"):
            compiled(spikes(4, 3, 2, dtype=torch.float32))
    before = len(_compiled)
    with pytest.raises(snn.SpikeOverflowError):
        compiled(spikes(4, 3, 2, dtype=torch.float32, seed=1))
    assert len(_compiled) == before


def test_vmap_and_gradients_per_sample():
    model = first_spike_layers()
    values = torch.rand(4, 2)
    expected = model(values)
    report = str(snn.health_report(model))
    torch.testing.assert_close(vmap(model)(values), expected)
    assert str(snn.health_report(model)) == report
    parameters = dict(model.named_parameters())

    def loss(parameters, values):
        return functional_call(model, parameters, (values,)).nan_to_num(posinf=0).sum()

    each = vmap(grad(loss), (None, 0))(parameters, values)
    for n, value in enumerate(values):
        own = torch.autograd.grad(
            model(value).nan_to_num(posinf=0).sum(), list(parameters.values())
        )
        for name, gradient in zip(parameters, own, strict=True):
            torch.testing.assert_close(each[name][n], gradient, rtol=1e-4, atol=1e-7)


def test_an_overflow_is_reported_from_vmap_too():
    layer = strong(snn.LIF(3, 2, max_spikes=1))
    with pytest.raises(snn.SpikeOverflowError, match=r"of 2 neurons .* max_spikes = 1"):
        vmap(layer)(spikes(4, 3, 2, dtype=torch.float32))


def test_the_projected_gradient_of_delays_per_sample():
    delay = torch.tensor([-0.5, -0.5, 0.0])
    weights = torch.tensor([[1.0, -1.0, 1.0], [-2.0, 2.0, -2.0]])
    layer = snn.Delay(3)

    def loss(delay, weight):
        return (functional_call(layer, {"delay": delay}, (torch.ones(3, 1),))[:, 0] * weight).sum()

    each = vmap(grad(loss), (None, 0))(delay, weights)
    assert each.tolist() == [[0.0, -1.0, 1.0], [-2.0, 0.0, -2.0]]
