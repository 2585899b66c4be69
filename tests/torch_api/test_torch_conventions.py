"""The modules behave as torch modules do."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from evtorch import torch_api as snn

from ._networks import INF, gradient, spikes, strong


def model(**options):
    return nn.Sequential(
        snn.LIF(5, 4, refractory=INF, **options),
        snn.Delay(4, 1e-3),
        snn.LIF(4, 3, refractory=INF, learn=("tau_mem",), v_leak=torch.full((3,), 0.1)),
    )


def inputs(**options):
    return spikes(2, 5, 1, **{"dtype": torch.float32, **options})


def grads(module, out):
    return torch.autograd.grad(torch.where(out < INF, out, 0).sum(), list(module.parameters()))


def test_sequential_state_dict():
    a, b = model(), model()
    assert set(a.state_dict()) == {
        "0.weight",
        "0._extra_state",
        "1.delay",
        "2.weight",
        "2._extra_state",
        "2.tau_mem",
        "2.v_leak",
    }
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(inputs()), b(inputs()))


@pytest.mark.parametrize("used", [False, True])
def test_copies_and_pickles(used):
    module = model()
    if used:
        module(inputs()[..., :1]).sum().backward()
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    copies.append(torch.load(file, weights_only=False))
    expected = module(inputs())
    for other in copies:
        assert torch.equal(other(inputs()), expected)
        assert other[0].weight is not module[0].weight


def test_copies_keep_the_health_report():
    module = model()
    module(inputs())
    assert str(snn.health_report(copy.deepcopy(module))) == str(snn.health_report(module))
    assert all(value.is_floating_point() for value in module.state_dict().values())


def test_conversion_to_float64():
    module = model().double()
    out = module(inputs(dtype=torch.float64))
    assert out.dtype == torch.float64
    for grad in grads(module, out):
        assert grad.dtype == torch.float64
    single = copy.deepcopy(module).float()
    assert single[2].v_leak.dtype == torch.float32
    torch.testing.assert_close(single(inputs()), out.float(), rtol=1e-4, atol=0)


def test_dtype_at_construction():
    layer = snn.LIF(
        5, 3, dtype=torch.float64, learn="tau_mem", delay="axonal", v_leak=torch.ones(3)
    )
    assert {value.dtype for value in layer.state_dict().values()} == {torch.float64}


def test_train_and_eval_give_the_same_spikes():
    module = model()
    assert torch.equal(module.train()(inputs()), module.eval()(inputs()))


def test_no_grad_and_frozen_weights():
    layer = snn.LIF(5, 4, refractory=INF)
    with torch.no_grad():
        assert not layer(inputs()).requires_grad
    layer.requires_grad_(False)
    assert not layer(inputs()).requires_grad
    times = inputs().requires_grad_()
    assert layer(times).requires_grad


def test_an_optimiser_lowers_the_loss():
    module = nn.Sequential(*(strong(snn.LIF(*s, refractory=INF)) for s in ((5, 4), (4, 3))))
    times = inputs()
    target = module(times).detach()[..., 0] + 1e-3 * torch.tensor([[1.0, 2, 3], [3, 2, 1]])
    loss = snn.SpikeTimeMSELoss(time_unit=1e-3)
    optimiser = torch.optim.Adam(module.parameters(), 2e-2)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        value = loss(module(times), target)
        value.backward()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < losses[0] / 4


def test_gradients_accumulate():
    module = model()
    for _ in range(2):
        out = module(inputs())
        torch.where(out < INF, out, 0).sum().backward()
    once = grads(module, module(inputs()))
    for parameter, grad in zip(module.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * grad)


def test_hybrid_with_conv_before_and_linear_after():
    module = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.Flatten(),
        nn.Sigmoid(),
        snn.LatencyEncoder(0, 2e-2, bias=0.0),
        snn.LIF(2 * 4 * 4 + 1, 6, refractory=INF),
        snn.LI(6, 5),
        nn.Linear(5, 3),
    )
    out = module(torch.rand(4, 1, 6, 6))
    assert out.shape == (4, 3)
    nn.functional.cross_entropy(out, torch.tensor([0, 1, 2, 0])).backward()
    for name, parameter in module.named_parameters():
        assert gradient(parameter).isfinite().all(), name
        assert gradient(parameter).abs().max() > 0, name


def test_expanded_and_sliced_inputs():
    layer = strong(snn.LIF(5, 4, refractory=INF))
    base = spikes(4, 5, 3, dtype=torch.float32)
    view = base[::2, :, 1:2]
    assert torch.equal(layer(view), layer(view.contiguous()))
    expanded = base[0, :, :1].expand(2, 5, 1)
    assert torch.equal(layer(expanded), layer(expanded.contiguous()))
    assert torch.equal(layer(base.mT.contiguous().mT[:2, :, :1]), layer(base[:2, :, :1]))


def test_a_step_before_backward_is_an_error_not_a_wrong_gradient():
    layer = strong(snn.LIF(5, 4, refractory=INF))
    out = layer(inputs())
    with torch.no_grad():
        layer.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_silent_layers_have_zero_gradients():
    module = model()
    with torch.no_grad():
        next(module.parameters()).zero_()
    out = module(inputs())
    assert (out == INF).all()
    loss = snn.TTFSCrossEntropyLoss()(out, torch.tensor([0, 1]))
    assert loss.isfinite()
    loss.backward()
    for name, parameter in module.named_parameters():
        assert (gradient(parameter) == 0).all(), name


@pytest.mark.parametrize("shape", [(2, 5, 0), (2, 0, 1), (0, 5, 1)])
def test_nothing_in_nothing_out(shape):
    layer = snn.LIF(shape[1], 4, refractory=INF)
    out = layer(torch.empty(shape))
    assert out.shape == (shape[0], 4, 1)
    assert (out == INF).all()
    torch.where(out < INF, out, 0).sum().backward()
    assert (gradient(layer.weight) == 0).all()


def test_no_output_neurons():
    layer = snn.LIF(5, 0, refractory=INF)
    assert layer(inputs()).shape == (2, 0, 1)
