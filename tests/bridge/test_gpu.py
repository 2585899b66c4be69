"""The CUDA path: run only where torch and JAX both have a card."""

import jax
import jax.numpy as jnp
import pytest
import torch
from torch import nn

from evtorch import bridge

from .._card import CARD, marks

pytestmark = marks


def test_conversions_stay_on_the_device():
    x = torch.randn(8, device=CARD)
    array = bridge.to_jax(x)
    assert next(iter(array.devices())).platform == "gpu"
    back = bridge.to_torch(array)
    assert back.device == x.device
    assert back.data_ptr() == x.data_ptr()


def test_gradients():
    f = bridge.as_torch_function(lambda x, w: jnp.tanh(x @ w))
    x = torch.randn(64, 5, device=CARD, dtype=torch.float64, requires_grad=True)
    w = torch.randn(5, 6, device=CARD, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(f, (x, w))


def test_stream_order_both_ways():
    f = bridge.as_torch_function(lambda x: jax.lax.fori_loop(0, 20, lambda i, x: x @ x / 1000, x))
    for stream in (torch.cuda.default_stream(), torch.cuda.Stream()):
        with torch.cuda.stream(stream):
            for _ in range(50):
                x = torch.randn(1000, 1000, device=CARD) @ torch.randn(1000, 1000, device=CARD)
                expected = x.clone()
                y = f(x)
                x.fill_(float("nan"))
                for _ in range(20):
                    expected = expected @ expected / 1000
                torch.testing.assert_close(y, expected, rtol=1e-3, atol=1e-3, equal_nan=True)


def test_mixed_devices_are_named():
    f = bridge.as_torch_function(lambda x, w: x + w)
    with pytest.raises(ValueError, match=r"`w` is on device 'cpu' but `x` is on 'cuda:0'"):
        f(torch.ones(2, device=CARD), torch.ones(2))


def test_memory_is_shared_until_torch_is_done_with_it():
    for _ in range(50):
        x = torch.randn(1000, 1000, device=CARD)
        array = bridge.to_jax(x)
        doubled = bridge.to_torch(array * 2)
        expected = x * 2
        del x, array
        torch.empty(1000, 1000, device=CARD).fill_(float("nan"))
        torch.testing.assert_close(doubled, expected)


def test_inputs_on_the_host_are_computed_there():
    f = bridge.as_torch_function(lambda x: jnp.sin(x) + jnp.arange(3.0))
    x = torch.randn(3, requires_grad=True)
    y = f(x)
    y.sum().backward()
    assert y.device.type == "cpu"
    assert x.grad is not None
    torch.testing.assert_close(x.grad, x.detach().cos())


@pytest.mark.parametrize("lowering", ["native", "callback"])
def test_torch_in_jax(lowering):
    module = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Linear(32, 4))
    module = module.to(CARD).eval()
    fn, params = bridge.as_jax_function(module, lowering=lowering)
    x = torch.randn(16, 64, device=CARD)
    out, buffers = fn(params, bridge.to_jax(x), buffers=fn.buffers)
    gradient = jax.jit(jax.grad(lambda p, x: fn(p, x, buffers=fn.buffers)[0].sum()))
    found = gradient(params, bridge.to_jax(x))
    module(x).sum().backward()
    torch.testing.assert_close(bridge.to_torch(out), module(x).detach(), rtol=1e-5, atol=1e-6)
    for name, p in module.named_parameters():
        torch.testing.assert_close(bridge.to_torch(found[name]), p.grad, rtol=1e-4, atol=1e-5)
    assert set(buffers) == set(fn.buffers)


def _trained(device, step_of):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 5)).double().to(device)
    step = step_of(model, torch.optim.Adam(model.parameters(), 1e-2))
    data = torch.Generator().manual_seed(1)
    for _ in range(20):
        x = torch.randn(8, 20, generator=data, dtype=torch.float64).to(device)
        with jax.numpy_dtype_promotion("standard"):  # optax relies on it
            step(x, x[:, :5])
    return [p.detach().cpu() for p in model.parameters()]


def _by_hand(model, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()

    return step


def test_compiled_steps_train_as_torch_does():
    def compiled(model, optimizer):
        return bridge.compile_step(model, nn.functional.mse_loss, optimizer)

    expected = _trained(CARD, _by_hand)
    for found, wanted in zip(_trained(CARD, compiled), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
    for found, wanted in zip(_trained("cpu", compiled), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)


def test_optax_optimizer():
    import optax

    def with_optax(model, _):
        return _by_hand(model, bridge.OptaxOptimizer(model.parameters(), optax.adam(1e-2)))

    for found, wanted in zip(_trained(CARD, with_optax), _trained("cpu", _by_hand), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-8)


def test_jax_modules_live_on_the_device():
    module = bridge.JaxModule(lambda p, x: x @ p["w"], {"w": jnp.ones((3, 2))}).to(CARD)
    x = torch.ones(4, 3, device=CARD, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert x.grad.device.type == CARD
    assert all(p.device.type == CARD and p.grad is not None for p in module.parameters())
