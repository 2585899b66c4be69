"""Torch code of several kinds in `as_jax_function`, and how it fails."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from evtorch import bridge

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    hidden: Any = None


class ModelOutput(dict):
    """As Hugging Face's: a dict whose fields are a dataclass's."""


@pytest.mark.parametrize(
    ("function", "fields"),
    [
        (lambda x: x.max(0), ("values", "indices")),
        (lambda x: x.sort(), ("values", "indices")),
        (lambda x: x.topk(2), ("values", "indices")),
        (lambda x: torch.linalg.eigh(x.T @ x), ("eigenvalues", "eigenvectors")),
    ],
    ids=["max", "sort", "topk", "eigh"],
)
def test_results_with_named_fields(function, fields):
    converted, params = bridge.as_jax_function(function)
    expected = function(torch.from_numpy(X))
    for call in (converted, jax.jit(converted)):
        found = call(params, X)
        for position, name in enumerate(fields):
            np.testing.assert_allclose(
                getattr(found, name), expected[position].numpy(), rtol=1e-5, atol=1e-5
            )


def test_dataclasses_and_dicts_of_other_types_as_results():
    converted, params = bridge.as_jax_function(lambda x: [Output(x + 1, (x, Output(2 * x)))])
    (found,) = jax.jit(converted)(params, X)
    np.testing.assert_array_equal(found.logits, X + 1)
    np.testing.assert_array_equal(found["hidden"][1].logits, 2 * X)
    assert found.hidden[1].hidden is None
    converted, params = bridge.as_jax_function(lambda x: ModelOutput(logits=x))
    np.testing.assert_array_equal(converted(params, X)["logits"], X)


class Forces(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x):
        x = x if x.requires_grad else x.requires_grad_()
        energy = torch.tanh(self.linear(x)).sum()
        return torch.autograd.grad(energy, x, create_graph=True)[0]


def test_gradients_inside_a_module():
    module = Forces()
    converted, params = bridge.as_jax_function(module)

    def native(p, x):
        return jax.grad(lambda x: jnp.tanh(x @ p["linear.weight"].T + p["linear.bias"]).sum())(x)

    np.testing.assert_allclose(converted(params, X), native(params, X), rtol=1e-4, atol=1e-6)
    found = jax.grad(lambda p: (converted(p, X) ** 2).sum())(params)
    expected = jax.grad(lambda p: (native(p, X) ** 2).sum())(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found, expected
    )


def test_batch_norm_called_twice_hands_its_statistics_on():
    module = nn.BatchNorm1d(3)
    converted, params = bridge.as_jax_function(module)

    def twice(p):
        once, buffers = converted(p, X, buffers=converted.buffers)
        again, buffers = converted(p, once + X, buffers=buffers)
        return (again**3).sum(), buffers

    gradients, buffers = jax.jit(jax.grad(twice, has_aux=True))(params)
    x = torch.from_numpy(X)
    (module(module(x) + x) ** 3).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(gradients[name], parameter.grad.numpy(), rtol=1e-3, atol=1e-4)
    for name, buffer in module.named_buffers():
        np.testing.assert_allclose(buffers[name], buffer.numpy(), rtol=1e-6)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


def test_exported_parameters_are_taken_with_buffers_and_tied_names():
    module = Tied().eval()
    converted, _ = bridge.as_jax_function(module)
    with torch.no_grad():
        module.norm.running_mean.add_(0.5)
        module.first.weight.mul_(2)
    exported = bridge.export_parameters(module)
    assert {"last.weight", "norm.running_mean"} <= set(exported)
    expected = module(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(converted(exported, X), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="`params` must be a dict with the names"):
        converted({**exported, "stranger": X}, X)


def test_random_numbers_under_checkpoint_need_a_key():
    converted, params = bridge.as_jax_function(nn.Dropout(0.5))

    def loss(x, rng):
        return jax.checkpoint(lambda x: converted(params, x, rng=rng))(x).sum()

    with pytest.raises(bridge.BridgeError, match=r"jax.checkpoint.*rng=jax.random.key"):
        jax.grad(loss)(X, None)
    found = np.asarray(jax.grad(loss)(X, jax.random.key(0)))
    np.testing.assert_array_equal(found, converted(params, X * 0 + 1, rng=jax.random.key(0)))


def test_a_mode_set_after_tracing_is_named():
    module = nn.Dropout(0.5).eval()
    converted, params = bridge.as_jax_function(module, lowering="callback")
    jitted = jax.jit(converted)
    jitted(params, X)
    module.train()
    with pytest.raises(Exception, match="set to train mode since then: set the mode first"):
        jax.block_until_ready(jitted(params, X))


def test_a_shape_that_is_another_one_later_is_named():
    lengths = iter((1, 2))
    converted, params = bridge.as_jax_function(lambda x: x[0, : next(lengths)], lowering="callback")
    with pytest.raises(Exception, match=r"returned shape \(2,\) where it returned \(1,\) when JAX"):
        jax.block_until_ready(converted(params, X))


def test_outputs_without_a_way_back_have_zero_gradients():
    converted, params = bridge.as_jax_function(lambda x: (x.detach(), x * 2), lowering="callback")
    np.testing.assert_array_equal(jax.grad(lambda x: converted(params, x)[0].sum())(X), 0 * X)


@pytest.mark.parametrize("differentiated", [False, True])
def test_the_message_of_a_callback_comes_first(differentiated):
    def checked(x):
        def check(value):
            if (value < 0).any():
                raise ValueError("x must be positive,\n  says the user")
            return value

        return jax.lax.stop_gradient(x) + jax.pure_callback(
            check, jax.ShapeDtypeStruct(x.shape, x.dtype), jax.lax.stop_gradient(x)
        )

    function = bridge.as_torch_function(checked)
    message = (
        r"^checked failed while it ran with `x` float32\[2\]: ValueError: x must be positive,\n"
        r"  says the user$"
    )
    with pytest.raises(bridge.BridgeError, match=message):
        function(-torch.ones(2, requires_grad=differentiated))
    assert function(torch.ones(2)).tolist() == [2, 2]
