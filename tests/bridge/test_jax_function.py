"""`as_jax_function`: torch modules inside JAX programs."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from evtorch import bridge
from evtorch.bridge import _static


def net():
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


@pytest.fixture
def x(rng):
    return jnp.asarray(rng.normal(size=(4, 5)), jnp.float32)


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_values_and_gradients(transform, x):
    module = net()
    fn, params = bridge.as_jax_function(module)
    assert set(params) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    value, gradients = transform(jax.value_and_grad(lambda p, x: jnp.sum(fn(p, x) ** 2)))(params, x)
    loss = module(bridge.to_torch(x)).square().sum()
    loss.backward()
    close(value, loss.item())
    for name, parameter in module.named_parameters():
        close(gradients[name], parameter.grad)


def test_second_order_and_vmap(x):
    module = net()
    fn, params = bridge.as_jax_function(module)

    def penalty(x):
        return jnp.sum(jax.grad(lambda x: jnp.sum(fn(params, x) ** 2))(x) ** 2)

    t = bridge.to_torch(x).clone().requires_grad_()
    (g,) = torch.autograd.grad(module(t).square().sum(), t, create_graph=True)
    (expected,) = torch.autograd.grad(g.square().sum(), t)
    close(jax.jit(jax.grad(penalty))(x), expected)
    close(jax.vmap(lambda row: fn(params, row))(x), fn(params, x))
    per_sample = jax.jit(jax.vmap(jax.grad(lambda p, r: fn(p, r).sum()), (None, 0)))(params, x)
    total = jax.grad(lambda p: fn(p, x).sum())(params)
    for name, gradient in per_sample.items():
        close(gradient.sum(0), total[name])
    nested = jax.vmap(jax.vmap(lambda row: fn(params, row)))(x.reshape(2, 2, 5))
    close(nested.reshape(4, 3), fn(params, x))


def test_batch_norm_buffers_are_returned_and_the_module_stays(x):
    module = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8))
    before = {name: b.clone() for name, b in module.named_buffers()}
    fn, params = bridge.as_jax_function(module)
    inputs = {name: np.array(p) for name, p in params.items()}
    out, buffers = jax.jit(lambda p, b, x: fn(p, x, buffers=b))(params, fn.buffers, x)
    again, second = fn(params, x, buffers=buffers)
    close(again, out)
    for name, buffer in module.named_buffers():
        assert torch.equal(buffer, before[name])
    expected = module(bridge.to_torch(x))
    close(out, expected.detach())
    for name, buffer in module.named_buffers():
        close(buffers[name], buffer)
    assert int(second["1.num_batches_tracked"]) == 2
    for name, value in inputs.items():
        np.testing.assert_array_equal(params[name], value)


def test_copies_and_pickles_start_anew(x):
    fn, params = bridge.as_jax_function(net())
    expected = fn(params, x)
    for other in (copy.deepcopy(fn), pickle.loads(pickle.dumps(fn))):
        close(other(params, x), expected)


class InPlace(nn.Module):
    def forward(self, x):
        return x.relu_().mul_(2)


def test_input_arrays_are_never_mutated(x):
    fn, params = bridge.as_jax_function(InPlace())
    before = np.array(x)
    close(fn(params, x), 2 * np.maximum(before, 0))
    np.testing.assert_array_equal(x, before)


def test_random_numbers(x):
    fn, params = bridge.as_jax_function(nn.Dropout(0.5))
    jitted = jax.jit(lambda x: fn(params, x))
    assert not np.array_equal(jitted(x), jitted(x))
    torch.manual_seed(3)
    first = jitted(x)
    torch.manual_seed(3)
    np.testing.assert_array_equal(jitted(x), first)
    ones = jnp.ones((50,))
    value, gradient = jax.jit(jax.value_and_grad(lambda x: fn(params, x).sum()))(ones)
    assert set(np.unique(gradient)) == {0.0, 2.0}
    assert float(value) == float(gradient.sum())
    key = jax.random.key(1)
    np.testing.assert_array_equal(fn(params, x, rng=key), fn(params, x, rng=key))
    assert not np.array_equal(fn(params, x, rng=key), fn(params, x, rng=jax.random.key(2)))
    keys = jax.random.split(key, 2)
    rows = jax.vmap(lambda k: fn(params, ones, rng=k))(keys)
    assert not np.array_equal(rows[0], rows[1])


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, *gradients):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * gradients[0]


class Branching(nn.Module):
    def forward(self, x, mode="up", *, scale=1.0, other=None):
        assert other is None
        y = Cube.apply(x) if x.sum() > 0 else -x
        return {"y": y * scale, "n": (y > 0).sum()} if mode == "up" else (y,)


def test_control_flow_custom_functions_statics_and_pytrees():
    fn, params = bridge.as_jax_function(Branching())
    for x in (jnp.array([1.0, 2.0]), jnp.array([-1.0, -2.0])):
        cube = bool(x.sum() > 0)
        out = jax.jit(lambda x: fn(params, x, scale=2.0))(x)
        close(out["y"], 2 * (x**3 if cube else -x))
        assert int(out["n"]) == 2
        close(jax.grad(lambda x: fn(params, x, "down")[0].sum())(x), 3 * x**2 if cube else -1)


def test_complex_gradients_have_jaxs_convention(rng):
    def torch_fn(z):
        return (z.exp() * z.conj()).abs().sum()

    def jax_fn(z):
        return jnp.abs(jnp.exp(z) * jnp.conj(z)).sum()

    fn, params = bridge.as_jax_function(torch_fn)
    z = jnp.asarray(rng.normal(size=3) + 1j * rng.normal(size=3), jnp.complex64)
    close(jax.grad(lambda z: fn(params, z))(z), jax.grad(jax_fn)(z), 1e-4)


def test_64_bits(x):
    double, parameters = bridge.as_jax_function(net().double())
    with pytest.raises(TypeError, match=r"`params\['0.bias'\]` is float64.*enable_x64"):
        double(parameters, x)
    with jax.enable_x64(True):
        assert double(parameters, x.astype(jnp.float64)).dtype == jnp.float64
    single, none = bridge.as_jax_function(lambda x: x.double())
    with pytest.raises(TypeError, match=r"returns `output` as torch.float64"):
        single(none, x)
    with jax.enable_x64(True):
        wide = x.astype(jnp.float64)
        double, parameters = bridge.as_jax_function(net().double(), lowering="callback")
        out, gradient = jax.vjp(lambda p: double(p, wide).sum(), parameters)
        one = jnp.ones_like(out)
    np.testing.assert_array_equal(gradient(one)[0]["2.bias"], np.full(3, 4.0))
    indices, none = bridge.as_jax_function(lambda i: torch.zeros(3).gather(0, i) + i)
    close(indices(none, jnp.array([2, 0])), [2, 0])
    large, none = bridge.as_jax_function(lambda x: torch.tensor(2**33) + 0 * x.sum().long())
    with pytest.raises(Exception, match="enable_x64"):
        large(none, x).block_until_ready()


def test_bad_input_is_named(x):
    fn, params = bridge.as_jax_function(net())
    with pytest.raises(ValueError, match=r"`params` must be a dict with the names \['0.bias'"):
        fn({}, x)
    with pytest.raises(TypeError, match=r"`args\[0\]` of Sequential is a Tensor.*to_jax"):
        fn(params, torch.ones(4, 5))
    with pytest.raises(TypeError, match=r"`module` must be an nn.Module or a function"):
        bridge.as_jax_function(3)  # pyright: ignore[reportArgumentType] - that is the test
    odd, none = bridge.as_jax_function(lambda x: (x, "text"))
    with pytest.raises(TypeError, match=r"returned `output\[1\]` as str"):
        odd(none, x)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fn(params, jnp.ones((4, 6)))
    called_back, params = bridge.as_jax_function(net(), lowering="callback")
    with pytest.raises(bridge.BridgeError, match=r"no forward-mode derivative.*jax.jacrev"):
        jax.jvp(lambda x: called_back(params, x), (x,), (x,))
    norm, params = bridge.as_jax_function(nn.BatchNorm1d(5))
    fraction = {**norm.buffers, "num_batches_tracked": jnp.float32(1.5)}
    with pytest.raises(TypeError, match=r"`buffers\['num_batches_tracked'\]` has dtype float32"):
        norm(params, x, buffers=fraction)


class Rescaled(nn.Module):
    def forward(self, x, rng=2.0):
        return x * rng


def test_parameters_of_the_bridges_names(x):
    fn, params = bridge.as_jax_function(Rescaled())
    close(fn(params, x, 3.0), 3 * x)
    with pytest.raises(TypeError, match="Rescaled has a parameter `rng` of its own"):
        fn(params, x, rng=3.0)


def test_the_modes_of_all_modules_count(x):
    module = nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5))
    fn, params = bridge.as_jax_function(module)
    module[1].eval()
    expected = fn(params, x)
    module[1].train()
    assert not np.array_equal(fn(params, x), expected)


def test_only_recent_shapes_are_kept(monkeypatch):
    monkeypatch.setattr(_static, "MAX_ENTRIES", 2)
    fn, params = bridge.as_jax_function(torch.sin)
    for size in (1, 2, 1, 3):
        fn(params, jnp.ones(size))
    kept = [key[2][0][0] for key in fn._built]
    assert kept == [(1,), (3,)]


def test_bridged_jax_inside_a_callback_is_refused(x):
    inner = bridge.as_torch_function(jnp.sin)
    fn, params = bridge.as_jax_function(lambda x: inner(x) + 1, lowering="callback")
    with pytest.raises(bridge.BridgeError, match="called by torch code that a JAX computation"):
        fn(params, x)


def test_parameters_of_another_shape_are_refused(x):
    fn, params = bridge.as_jax_function(net())
    with pytest.raises(ValueError, match=r"params\['2.bias'\]` has shape \(4,\)"):
        fn({**params, "2.bias": jnp.ones(4)}, x)
