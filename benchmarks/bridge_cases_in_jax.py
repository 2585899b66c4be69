"""Small programs that call a torch module in JAX; each raises `Wrong` if the result is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from bridge_cases_in_torch import expect
from bridge_peers import InJax
from torch import nn

Make = Callable[..., InJax]


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, *args: torch.Tensor) -> Any:
        return self.fn(*args)


class Cube(torch.autograd.Function):
    """x**3 with a derivative of its own, as in torch's tutorials."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradients[0]


def sample(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def array(tensor: torch.Tensor) -> jax.Array:
    return jnp.array(tensor.detach().numpy())


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


def leaves(tree: Any) -> list[Any]:
    return [np.asarray(leaf) for leaf in jax.tree_util.tree_leaves(tree)]


def close(found: Any, expected: Any, tolerance: float = 1e-4) -> None:
    """Compare pytrees of arrays; bridges order parameters differently, so leaves go by size."""
    pairs = zip(
        sorted(leaves(found), key=np.size), sorted(leaves(expected), key=np.size), strict=True
    )
    for a, b in pairs:
        expect(a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance))


def parameter_gradients(module: nn.Module, x: torch.Tensor) -> list[np.ndarray]:
    loss = module(x).square().sum()
    return [g.numpy() for g in torch.autograd.grad(loss, list(module.parameters()))]


def call(make: Make) -> None:
    module, x = net(), sample(4, 5)
    bridged = make(module, x)
    close(bridged.fn(bridged.params, array(x)), module(x).detach().numpy())


def jit(make: Make) -> None:
    module, x = net(), sample(4, 5)
    bridged = make(module, x)
    close(jax.jit(bridged.fn)(bridged.params, array(x)), module(x).detach().numpy())


def _gradient(make: Make, transform: Callable[..., Any]) -> None:
    module, x = net(), sample(4, 5)
    bridged = make(module, x)
    gradient = transform(jax.grad(lambda p, x: (bridged.fn(p, x) ** 2).sum()))
    close(gradient(bridged.params, array(x)), parameter_gradients(module, x))


def gradient(make: Make) -> None:
    _gradient(make, lambda f: f)


def jitted_gradient(make: Make) -> None:
    _gradient(make, jax.jit)


def second_order(make: Make) -> None:
    module, x = net(), sample(4, 5).requires_grad_()
    bridged = make(module, x.detach())

    def penalty(x: Any) -> Any:
        inner = jax.grad(lambda x: (bridged.fn(bridged.params, x) ** 2).sum())(x)
        return (inner**2).sum()

    (g,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    (expected,) = torch.autograd.grad(g.square().sum(), x)
    close(jax.jit(jax.grad(penalty))(array(x)), expected.numpy())


def vmap(make: Make) -> None:
    module, x = net(), sample(4, 5)
    bridged = make(module, x[0])
    found = jax.vmap(lambda row: bridged.fn(bridged.params, row))(array(x))
    close(found, module(x).detach().numpy())


def per_sample_gradients(make: Make) -> None:
    module, x = net(), sample(4, 5)
    bridged = make(module, x[0])
    gradient = jax.grad(lambda p, row: (bridged.fn(p, row) ** 2).sum())
    found = jax.jit(jax.vmap(gradient, (None, 0)))(bridged.params, array(x))
    summed = jax.tree_util.tree_map(lambda g: g.sum(0), found)
    close(summed, parameter_gradients(module, x))


def other_batch_size(make: Make) -> None:
    module, x = net(), sample(7, 5)
    bridged = make(module, sample(4, 5))
    close(jax.jit(bridged.fn)(bridged.params, array(x)), module(x).detach().numpy())


def batch_norm_leaves_the_module(make: Make) -> None:
    module, x = nn.BatchNorm1d(5), sample(6, 5)
    expected = nn.functional.batch_norm(x, None, None, training=True)
    bridged = make(module, x)
    before = [b.clone() for b in module.buffers()]
    close(jax.jit(bridged.fn)(bridged.params, array(x)), expected.numpy())
    expect(all(torch.equal(a, b) for a, b in zip(module.buffers(), before, strict=True)))


def batch_norm_returns_buffers(make: Make) -> None:
    module, x = nn.BatchNorm1d(5), sample(6, 5)
    bridged = make(module, x)
    if bridged.with_buffers is None:
        raise NotImplementedError
    _, buffers = jax.jit(bridged.with_buffers)(bridged.params, array(x))
    close(buffers["running_mean"], 0.1 * x.mean(0).numpy())


def dropout_differs_between_calls(make: Make) -> None:
    bridged = make(nn.Dropout(0.5), sample(50))
    fn = jax.jit(bridged.fn)
    expect(not np.array_equal(fn(bridged.params, jnp.ones(50)), fn(bridged.params, jnp.ones(50))))


def dropout_from_a_key(make: Make) -> None:
    bridged = make(nn.Dropout(0.5), sample(50))
    if bridged.with_key is None:
        raise NotImplementedError
    fn = jax.jit(bridged.with_key)
    first, again, other = (
        np.asarray(fn(bridged.params, jax.random.PRNGKey(seed), jnp.ones(50))) for seed in (1, 1, 2)
    )
    expect(np.array_equal(first, again) and not np.array_equal(first, other))


def dropout_gradient_has_the_forwards_mask(make: Make) -> None:
    bridged = make(nn.Dropout(0.5), sample(50))

    def loss(x: Any) -> Any:
        if bridged.with_key is None:
            out = bridged.fn(bridged.params, x)
        else:
            out = bridged.with_key(bridged.params, jax.random.PRNGKey(1), x)
        return out.sum(), out

    (_, out), found = jax.jit(jax.value_and_grad(loss, has_aux=True))(jnp.ones(50))
    close(found, out)


def custom_function(make: Make) -> None:
    x = sample(4)
    bridged = make(Of(lambda x: Cube.apply(x)), x)
    close(bridged.fn(bridged.params, array(x)), x.numpy() ** 3)
    found = jax.jit(jax.grad(lambda x: bridged.fn(bridged.params, x).sum()))(array(x))
    close(found, 3 * x.numpy() ** 2)


def control_flow(make: Make) -> None:
    x = sample(4).abs()
    bridged = make(Of(lambda x: x * 2 if x.sum() > 0 else -x), x)
    fn = jax.jit(bridged.fn)
    close(fn(bridged.params, array(x)), 2 * x.numpy())
    close(fn(bridged.params, array(-x)), x.numpy())


def complex_gradient(make: Make) -> None:
    z = torch.complex(sample(4), sample(4) + 1)
    bridged = make(Of(lambda z: torch.abs(torch.exp(z) * torch.conj(z)).sum()), z)
    found = jax.grad(lambda z: bridged.fn(bridged.params, z))(array(z))
    close(found, jax.grad(lambda z: jnp.abs(jnp.exp(z) * jnp.conj(z)).sum())(array(z)))


def inputs_are_not_mutated(make: Make) -> None:
    x = sample(16)
    bridged = make(Of(lambda x: x.add_(1).mul_(2)), x.clone())
    own = array(x)
    close(bridged.fn(bridged.params, own), 2 * (x.numpy() + 1))
    close(own, x.numpy())


def labels(make: Make) -> None:
    x, label = sample(4, 5), torch.tensor([1, 0, 2, 4])
    bridged = make(Of(nn.CrossEntropyLoss()), x, label)
    found = jax.jit(jax.grad(lambda x: bridged.fn(bridged.params, x, jnp.array([1, 0, 2, 4]))))
    expected = (torch.softmax(x, 1) - torch.nn.functional.one_hot(label, 5)) / 4
    close(found(array(x)), expected.numpy())


def float64(make: Make) -> None:
    x = sample(4).double() + 1
    bridged = make(Of(lambda x: x + 2.0**-40), x)
    try:
        found = bridged.fn(bridged.params, x.numpy())
    except Exception:
        return
    expect(np.array_equal(found, x.numpy() + 2.0**-40))


def several_outputs(make: Make) -> None:
    x = sample(4)
    bridged = make(Of(lambda x: {"y": x * 2, "n": (x.mean(), x.sum())}), x)
    out = jax.jit(bridged.fn)(bridged.params, array(x))
    close(out["y"], 2 * x.numpy())
    close(out["n"][0], x.mean().numpy())


def forward_mode(make: Make) -> None:
    x = sample(4, 5)
    bridged = make(Of(lambda x: torch.tanh(x) ** 2), x)
    _, found = jax.jvp(lambda x: bridged.fn(bridged.params, x), (array(x),), (array(x),))
    tanh = np.tanh(x.numpy())
    close(found, 2 * tanh * (1 - tanh**2) * x.numpy())


def no_callback(make: Make) -> None:
    module, x = net(), sample(4, 5)
    bridged = make(module, x)
    program = jax.jit(bridged.fn).lower(bridged.params, array(x)).as_text()
    assert "callback" not in program
    close(jax.jit(bridged.fn)(bridged.params, array(x)), module(x).detach().numpy())


def recurrent_layer(make: Make) -> None:
    _gradients_of(make, nn.LSTM(5, 4, batch_first=True), lambda out: out[0], sample(2, 6, 5))


def attention(make: Make) -> None:
    _gradients_of(
        make, nn.TransformerEncoderLayer(8, 2, 16).eval(), lambda out: out, sample(3, 2, 8)
    )


def _gradients_of(make: Make, module: nn.Module, of: Callable[[Any], Any], x: torch.Tensor) -> None:
    bridged = make(module, x)
    found = jax.jit(jax.grad(lambda x: (of(bridged.fn(bridged.params, x)) ** 2).sum()))(array(x))
    given = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad((of(module(given)) ** 2).sum(), given)
    close(found, expected.numpy())


def writes_to_views(make: Make) -> None:
    def write(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        y[:, 1:].t()[0] = 2 * x[:, 0]
        return y

    x = sample(3, 4)
    bridged = make(Of(write), x)
    found = jax.grad(lambda x: (bridged.fn(bridged.params, x) ** 2).sum())(array(x))
    expected = 2 * x.numpy()
    expected[:, 0] += 8 * x.numpy()[:, 0]
    expected[:, 1] = 0
    close(found, expected)


CASES: dict[str, Callable[[Make], None]] = {
    "call": call,
    "jit": jit,
    "grad": gradient,
    "jit(grad)": jitted_gradient,
    "grad of grad": second_order,
    "vmap": vmap,
    "jit(vmap(grad)): per-sample gradients": per_sample_gradients,
    "another batch size than the first": other_batch_size,
    "BatchNorm: right, and the module stays as it is": batch_norm_leaves_the_module,
    "BatchNorm: updated buffers returned": batch_norm_returns_buffers,
    "dropout under jit differs between calls (no key given)": dropout_differs_between_calls,
    "dropout from a JAX key": dropout_from_a_key,
    "dropout: gradient has the forward pass's mask": dropout_gradient_has_the_forwards_mask,
    "custom autograd.Function": custom_function,
    "control flow on values, under jit": control_flow,
    "complex gradient": complex_gradient,
    "input arrays are not mutated": inputs_are_not_mutated,
    "integer labels (cross entropy)": labels,
    "float64 input while x64 is off: not rounded silently": float64,
    "several outputs in a pytree": several_outputs,
    "forward mode (jax.jvp)": forward_mode,
    "jit leaves no callback into Python": no_callback,
    "LSTM": recurrent_layer,
    "a layer of a transformer": attention,
    "writes to views": writes_to_views,
}
