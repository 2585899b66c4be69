"""Gradients that torch code computes itself: forces, penalties, Hessians, as JAX."""

from typing import Any

import jax
import numpy as np
import pytest
import torch
from torch import nn

from evtorch import bridge

X = np.linspace(-1, 1, 6).reshape(2, 3)


class Energy(nn.Module):
    """What torch code may do to get a tensor that gradients are computed for."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 4)
        self.net = nn.Sequential(self.first, nn.Tanh(), nn.Linear(4, 1)).double()
        self.kind = kind

    def forward(self, x):
        if self.kind == "argument":
            x.requires_grad_()
        elif self.kind == "detached":
            x = x.detach().requires_grad_()
        elif self.kind == "intermediate":
            x = (2 * x).requires_grad_()
        with torch.enable_grad():
            energy = self.net(x[:, :2].flip(1) @ self.first.weight[:2]).sum() + (x**3).sum()
            (force,) = torch.autograd.grad(energy, x, create_graph=True)
        return energy, force


def hessian(x):
    x.requires_grad_()
    y = (x.sin() * x.flip(0)).sum()
    first = torch.autograd.grad(y, x, create_graph=True)[0]
    second = torch.autograd.grad(first, [x], x.cos(), create_graph=True)[0]
    (fixed,) = torch.autograd.grad([y, first.sum()], x, retain_graph=True)
    return first, second * x, fixed * x


def outer(x):
    """What torch says of the outputs and of the gradient of a function of them."""
    tensor = torch.tensor(x, requires_grad=True)

    def total(outputs: Any) -> Any:
        return sum((k + 1) * (o**2).sum() for k, o in enumerate(outputs))

    return tensor, total


@pytest.mark.parametrize("kind", ["argument", "detached", "intermediate"])
def test_forces_of_energies(kind, x64):
    model = Energy(kind)
    fn, params = bridge.as_jax_function(model, lowering="native")
    x, total = outer(X)
    outputs = model(x)
    total(outputs).backward()

    def loss(params, x):
        found = fn(params, x)
        return total(found), found

    gradients, found = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, X)
    for array, output in zip(found, outputs, strict=True):
        np.testing.assert_allclose(array, output.detach().numpy(), rtol=1e-10, atol=1e-12)
    expected = np.zeros_like(X) if x.grad is None else x.grad.numpy()
    np.testing.assert_allclose(gradients[1], expected, rtol=1e-10, atol=1e-12)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            gradients[0][name], parameter.grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name
        )


def test_gradients_of_gradients_and_those_without_a_graph(x64):
    fn, params = bridge.as_jax_function(hessian, lowering="native")
    x, total = outer(X)
    outputs = hessian(x)
    total(outputs).backward()
    found = fn(params, X)
    for array, output in zip(found, outputs, strict=True):
        np.testing.assert_allclose(array, output.detach().numpy(), rtol=1e-10, atol=1e-12)
    gradient = jax.grad(lambda x: total(fn(params, x)))(X)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-10, atol=1e-12)
    rows = jax.vmap(lambda x: fn(params, x[None])[0][0])(X)
    np.testing.assert_allclose(rows, [fn(params, x[None])[0][0] for x in X], rtol=1e-10)


def test_a_gradient_penalty_in_a_compiled_step(x64):
    def made():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 1)).double()

        def loss(output, x):
            x = (x + 0.1).requires_grad_()
            (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
            return output.mean() + ((slope.norm(dim=1) - 1) ** 2).mean()

        return model, loss, torch.optim.SGD(model.parameters(), 0.1)

    plain, plain_loss, one = made()
    compiled, loss, other = made()
    step = bridge.compile_step(compiled, loss, other)
    x = torch.tensor(X)
    for _ in range(3):
        one.zero_grad()
        expected = plain_loss(plain(x), x)
        expected.backward()
        one.step()
        torch.testing.assert_close(step(x, x), expected.detach(), rtol=1e-12, atol=0)
    for a, b in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def by_backward(x):
    x = x.detach().requires_grad_()
    (x**2).sum().backward()
    return x.grad


def of_another(x):
    x.requires_grad_()
    return torch.autograd.grad((x**2).sum(), x + 1, allow_unused=True, materialize_grads=True)[0]


def through_noise(x):
    x.requires_grad_()
    return torch.autograd.grad((x * torch.rand_like(x)).sum(), x)[0]


def of_a_chain(x):
    x.requires_grad_()
    y = x**2
    return torch.autograd.grad((y**2).sum(), [x, y])[0]


def by_transformation(x):
    return torch.func.vmap(torch.func.grad(lambda row: (row**3).sum()))(x)


def by_functional(x):
    return torch.autograd.functional.jacobian(torch.sin, x)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (by_transformation, "inside with torch.func or torch.autograd.functional"),
        (by_functional, "inside with torch.func or torch.autograd.functional"),
        (by_backward, "calls backward inside"),
        (of_another, "with is_grads_batched or allow_unused"),
        (through_noise, "computes gradients through random numbers"),
        (of_a_chain, "with respect to a tensor and what follows"),
    ],
)
def test_other_ways_run_in_torch_and_say_why(function, reason):
    fn, params = bridge.as_jax_function(function)
    x = X.astype(np.float32)
    found = fn(params, x)
    assert fn.lowering == "callback"
    assert reason in fn.lowering_reason
    if function is not through_noise:
        np.testing.assert_allclose(found, function(torch.tensor(x)).detach(), rtol=1e-6)


def test_those_within_transformations_are_refused():
    """As in torch, which names `requires_grad_`."""

    def of_rows(x):
        return torch.func.vmap(hessian)(x)

    fn, params = bridge.as_jax_function(of_rows, lowering="native")
    with pytest.raises(bridge.BridgeError, match="inside of another transformation"):
        fn(params, X.astype(np.float32))
