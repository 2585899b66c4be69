"""How torch code becomes JAX: random numbers, gradients that stop, and what is kept."""

import copy
import gc
import pickle
import weakref
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from evtorch import bridge
from evtorch import torch_api as snn
from evtorch.bridge.lower._document import document
from evtorch.bridge.lower._lower import lower

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def native(module):
    return bridge.as_jax_function(module, lowering="native")


def same_gradient(function, x=X):
    """Compare with torch: the output, and the gradient of the sum of all outputs."""
    fn, params = native(function)
    tensor = torch.tensor(x, requires_grad=True)
    outputs = jax.tree.leaves(function(tensor))
    torch.stack([output.sum() for output in outputs]).sum().backward()

    def total(x):
        found = jax.tree.leaves(fn(params, x))
        return sum(f.sum() for f in found), found

    gradient, found = jax.jit(jax.grad(total, has_aux=True))(x)
    for array, output in zip(found, outputs, strict=True):
        np.testing.assert_allclose(array, output.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert tensor.grad is not None
    np.testing.assert_allclose(gradient, tensor.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_the_list_of_operators_is_current():
    file = Path(__file__).parents[3] / "docs" / "bridge_operators.md"
    assert file.read_text() == document()


def test_how_it_ran_is_said():
    fn, params = bridge.as_jax_function(nn.Linear(3, 2))
    assert fn.lowering is None
    fn(params, X)
    assert (fn.lowering, fn.lowering_reason) == ("native", "")
    fn, params = bridge.as_jax_function(nn.Linear(3, 2), lowering="callback")
    fn(params, X)
    assert (fn.lowering, fn.lowering_reason) == ("callback", "the callback was asked for")
    with pytest.raises(ValueError, match=r"`lowering` must be one of \('auto', 'native', 'callb"):
        bridge.as_jax_function(nn.Linear(3, 2), lowering="fast")  # pyright: ignore[reportArgumentType]


def test_dropout_comes_from_the_key():
    module = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.3))
    fn, params = native(module)
    ones = np.ones(20_000, np.float32)
    key = jax.random.key(0)
    out = np.asarray(fn(params, ones, rng=key))
    assert abs((out > 0).mean() - 0.49) < 0.02
    np.testing.assert_allclose(out[out > 0], 1 / 0.49, rtol=1e-6)
    np.testing.assert_array_equal(out, fn(params, ones, rng=key))
    gradient = jax.grad(lambda x: fn(params, x, rng=key).sum())(ones)
    np.testing.assert_allclose(gradient, out, rtol=1e-6)
    rows = jax.vmap(lambda k: fn(params, ones[:50], rng=k))(jax.random.split(key, 2))
    assert not np.array_equal(rows[0], rows[1])
    shared = jax.vmap(lambda x: fn(params, x, rng=key))(np.stack([ones[:50]] * 2))
    np.testing.assert_array_equal(shared[0], shared[1])
    assert not np.array_equal(fn(params, ones), fn(params, ones))


@pytest.mark.parametrize(
    ("draw", "mean", "std"),
    [
        (lambda x: torch.rand_like(x), 0.5, 12**-0.5),
        (lambda x: torch.randn(x.shape) * 2 + 1, 1, 2),
        (lambda x: x.clone().normal_(1, 3), 1, 3),
        (lambda x: x.clone().uniform_(2, 3), 2.5, 12**-0.5),
        (lambda x: torch.bernoulli(x * 0 + 0.25), 0.25, 0.1875**0.5),
        (lambda x: x.clone().bernoulli_(0.25), 0.25, 0.1875**0.5),
        (lambda x: torch.randint(2, 7, x.shape).float(), 4, 2**0.5),
        (lambda x: x.clone().exponential_(2), 0.5, 0.5),
        (lambda x: x.clone().geometric_(0.5), 2, 2**0.5),
        (lambda x: torch.poisson(x * 0 + 4), 4, 2),
        (lambda x: torch.multinomial(torch.ones(3), len(x), True).float(), 1, (2 / 3) ** 0.5),
        (lambda x: torch.randperm(len(x)).float() / len(x), 0.5, 12**-0.5),
    ],
)
def test_distributions(draw, mean, std):
    fn, params = native(draw)
    count = 4000
    out = np.asarray(fn(params, np.ones(count, np.float32), rng=jax.random.key(0)))
    assert abs(out.mean() - mean) < 4 * std / count**0.5 + 1e-3
    assert abs(out.std() - std) < 0.1 * std


def test_buffers_and_tied_weights():
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    module[2].weight = module[0].weight
    fn, params = native(module)
    (out, buffers), back = jax.vjp(lambda p: fn(p, X, buffers=fn.buffers), params)
    expected = module(torch.tensor(X))
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    for name, buffer in module.named_buffers():
        np.testing.assert_allclose(buffers[name], buffer.numpy(), rtol=1e-6)
    expected.sum().backward()
    ones = jax.tree.map(lambda b: jnp.zeros_like(b) if b.dtype == jnp.float32 else None, buffers)
    zeros = {
        name: np.zeros(b.shape, jax.dtypes.float0) if ones[name] is None else ones[name]
        for name, b in buffers.items()
    }
    (gradients,) = back((jnp.ones_like(out), zeros))
    np.testing.assert_allclose(gradients["0.weight"], module[0].weight.grad, rtol=1e-4, atol=1e-5)


def without_gradients(x):
    with torch.no_grad():
        scale = x * 2
        part = x[0]
    y = x * 3
    y.data.mul_(2)
    with torch.no_grad():
        y[0] = 1
    return x * scale + x.detach() * x + part * x, y * y, x.detach().exp()


class Twice(torch.autograd.Function):
    """With a gradient that is not that of what it computes."""

    @staticmethod
    def forward(ctx, x, factor, kind):
        ctx.save_for_backward(x)
        ctx.factor, ctx.root = factor, x.abs().sqrt()
        return x * factor, x > 0

    @staticmethod
    def backward(ctx, *gradients):
        (x,) = ctx.saved_tensors
        return gradients[0] * x * ctx.factor + ctx.root, None, None


class Pair(torch.autograd.Function):
    """In the newer form."""

    @staticmethod
    def forward(x, y):
        return x * y, x + y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output[0])

    @staticmethod
    def backward(ctx, *gradients):
        x, y, product = ctx.saved_tensors
        return gradients[0] * y * product, gradients[1] * x


twice = Twice.apply


def with_own_gradients(x):
    first, positive = Twice.apply(x, 2.0, "kind")
    return (*Pair.apply(first, x.exp()), positive)


@pytest.mark.parametrize(
    "function",
    [
        without_gradients,
        lambda x: with_own_gradients(x)[:2],
        lambda x: twice(x, 2.0, "kind")[0],
    ],
)
def test_gradients_stop_where_torch_stops_them(function):
    same_gradient(function)


def test_second_derivatives_of_autograd_functions():
    fn, _ = native(lambda x: with_own_gradients(x)[0])
    x = torch.tensor(X, requires_grad=True)
    (g,) = torch.autograd.grad(with_own_gradients(x)[0].sum(), x, create_graph=True)
    (expected,) = torch.autograd.grad(g.square().sum(), x)
    gradient = jax.grad(lambda x: fn({}, x).sum())
    found = jax.grad(lambda x: (gradient(x) ** 2).sum())(X)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_forward_mode():
    fn, _ = native(torch.tanh)
    _, tangent = jax.jvp(lambda x: fn({}, x), (X,), (np.ones_like(X),))
    np.testing.assert_allclose(tangent, 1 - np.tanh(X) ** 2, rtol=1e-6)


def test_promotion_and_integers():
    def mixed(x):
        whole = (x * 3).to(torch.int32)
        return (
            whole + 1.5,
            whole / 2,
            whole // 2,
            -whole % 3,
            torch.div(whole, -2, rounding_mode="trunc"),
            whole + torch.tensor(2.0, dtype=torch.float16),
            x + torch.tensor(2),
            (x > 0) + 1,
            (x > 0).sum(),
            whole.to(torch.uint8) + whole.to(torch.int8),
        )

    with jax.enable_x64(True):
        fn, _ = native(mixed)
        found = fn({}, X)
    for array, tensor in zip(found, mixed(torch.tensor(X)), strict=True):
        assert array.dtype == tensor.numpy().dtype
        np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-6)


def test_bridged_functions_inside_are_themselves():
    inner = bridge.as_torch_function(lambda x, *, power: {"y": jnp.sin(x) ** power})
    same_gradient(lambda x: inner(x * 2, power=3)["y"] + 1)


def test_copies_and_pickles():
    fn, params = native(nn.Linear(3, 2))
    expected = fn(params, X)
    for other in (copy.deepcopy(fn), pickle.loads(pickle.dumps(fn))):
        np.testing.assert_array_equal(other(params, X), expected)
        assert other.lowering == "native"


def test_captured_modules_are_released():
    fn, params = native(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5)))
    fn(params, X)
    module = weakref.ref(fn.module)
    del fn
    gc.collect()
    assert module() is None


def test_lower_inside_a_program():
    model = nn.Linear(3, 1)
    names = ["weight", "bias"]

    def loss(tensors):
        own = dict(zip(names, tensors[:2], strict=True))
        out = torch.func.functional_call(model, own, (tensors[2],))
        return [nn.functional.mse_loss(out, tensors[3])], jax.tree.structure([0])

    types = [model.weight, model.bias, torch.ones(2, 3), torch.ones(2, 1)]
    lowered = lower(loss, [t.shape for t in types], [t.dtype for t in types], "loss")

    @jax.jit
    def step(weight, bias, x, target):
        def value(p):
            (found,), checked = lowered.run(None, [*p, x, target])
            assert not checked
            return found

        return jax.grad(value)((weight, bias))

    weight, bias = (p.detach().numpy() for p in model.parameters())
    target = np.ones((2, 1), np.float32)
    gradients = step(weight, bias, X, target)
    nn.functional.mse_loss(model(torch.tensor(X)), torch.tensor(target)).backward()
    for found, parameter in zip(gradients, model.parameters(), strict=True):
        assert parameter.grad is not None
        np.testing.assert_allclose(found, parameter.grad.numpy(), rtol=1e-5, atol=1e-6)


def times(*shape):
    return np.random.default_rng(0).uniform(0, 1e-2, shape).astype(np.float32)


def test_lost_spikes_fail_as_in_torch():
    layer = snn.LIF(5, 4, max_spikes=1, t_max=2e-2)
    fn, params = native(layer)
    with pytest.raises(Exception, match="neurons spike more than max_spikes = 1"):
        jax.block_until_ready(fn(params, times(6, 5, 1)))


def test_layers_keep_no_trace_of_being_captured():
    layers = nn.Sequential(snn.LIF(5, 4, max_spikes="auto", t_max=1e-3))
    expected = layers(torch.tensor(times(6, 5, 1)))
    report = str(snn.health_report(layers))
    fn, params = native(layers)
    found = fn(params, times(6, 5, 1))
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-6)
    fn(params, times(2, 5, 1))
    assert str(snn.health_report(layers)) == report


def test_tensors_that_require_gradients_and_are_no_parameters_run_in_torch():
    weight = torch.full((5,), 2.0, requires_grad=True)
    fn, params = bridge.as_jax_function(lambda x: (x * weight).square())
    fn(params, jnp.ones(5))
    assert "require gradients" in fn.lowering_reason

    @torch.no_grad()
    def frozen(x):
        return x * weight

    fn, params = bridge.as_jax_function(frozen, lowering="native")
    assert (fn(params, jnp.ones(5)) == 2).all()


def test_what_is_captured_under_autocast_is_not_run_without() -> None:
    fn, params = bridge.as_jax_function(nn.Linear(4, 3), lowering="native")
    x = jnp.ones((2, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fn(params, x).dtype == jnp.bfloat16
    assert fn(params, x).dtype == jnp.float32


@pytest.mark.parametrize("wrong", [9, -9])
@pytest.mark.parametrize(
    "read",
    [
        lambda x, i: torch.gather(x, 0, i),
        lambda x, i: x[i],
        lambda x, i: x.index_select(0, i),
        torch.take,
        lambda x, i: nn.functional.embedding(i, x[:, None])[:, 0],
        lambda x, i: nn.functional.cross_entropy(x.expand(2, 3), i, reduction="none"),
    ],
    ids=["gather", "index", "index_select", "take", "embedding", "cross_entropy"],
)
def test_what_is_read_out_of_bounds_is_nan(read: Any, wrong: int) -> None:
    fn, _ = bridge.as_jax_function(read, lowering="native")
    found = fn({}, jnp.arange(3.0), jnp.array([1, wrong]))
    assert np.isfinite(found[0])
    assert np.isnan(found[1])
