"""`as_torch_function`: arguments, outputs, compilation, errors."""

import copy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from evtorch import bridge
from evtorch.bridge import _function, _static


class Point(NamedTuple):
    x: Any
    y: Any


@pytest.mark.parametrize("grad", [False, True], ids=["plain", "grad"])
def test_pytrees_go_in_and_come_out(grad):
    def fn(pair, extra=None, *, params, scale=1.0):
        assert extra is None
        out = pair.x @ params["w"] * scale
        return {"out": out, "aux": (Point(out.argmax(), None), [out.sum(), out > 0])}

    x = torch.randn(2, 3, requires_grad=grad)
    w = torch.randn(3, 4)
    result = bridge.as_torch_function(fn)(Point(x, None), params={"w": w}, scale=2.0)
    expected = 2 * x @ w
    torch.testing.assert_close(result["out"], expected)
    point, (total, positive) = result["aux"]
    assert isinstance(point, Point)
    assert point.y is None
    assert int(point.x) == int(expected.argmax())
    torch.testing.assert_close(total, expected.sum())
    assert torch.equal(positive, expected > 0)
    assert result["out"].requires_grad == grad
    assert not positive.requires_grad
    assert not point.x.requires_grad


def test_numbers_and_strings_are_static():
    def fn(x, mode, power, *, flip=False):
        assert isinstance(mode, str)
        assert type(power) is int or type(power) is float
        y = x**power if mode == "power" else x * power
        return -y if flip else y

    f = bridge.as_torch_function(fn)
    x = torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(f(x, "power", 2), x**2)
    assert torch.equal(f(x, "times", 2), x * 2)
    assert torch.equal(f(x, "times", 2, flip=True), -x * 2)


def test_equal_statics_of_other_types_are_not_confused():
    f = bridge.as_torch_function(lambda x, c: x + (10 if c is True else 20 if c == 1 else c))
    x = torch.zeros(())
    assert f(x, 1).item() == 20
    assert f(x, True).item() == 10
    g = bridge.as_torch_function(lambda x, c: jnp.copysign(x, c))
    one = torch.ones(())
    assert g(one, 0.0).item() == 1
    assert g(one, -0.0).item() == -1


def test_declared_statics_may_be_anything_hashable():
    f = bridge.as_torch_function(lambda fn, x, shape: fn(x).reshape(shape), static_argnames="fn")
    g = bridge.as_torch_function(
        lambda fn, x, shape: fn(x).reshape(shape), static_argnames=("fn", "shape")
    )
    x = torch.arange(4.0)
    assert torch.equal(f(jnp.negative, x, (2, 2)), (-x).reshape(2, 2))
    assert torch.equal(g(jnp.negative, x, (2, 2)), (-x).reshape(2, 2))
    torch.testing.assert_close(g(shape=(2, 2), x=x, fn=jnp.cos), torch.cos(x).reshape(2, 2))
    with pytest.raises(TypeError, match=r"`shape` of <lambda> is declared static.*hashable"):
        g(jnp.sin, x, [2, 2])
    with pytest.raises(ValueError, match="'other', but <lambda> has no such parameter"):
        bridge.as_torch_function(lambda x: x, static_argnames="other")


def test_nothing_is_traced_again_over_100_steps():
    traces = []

    def fn(params, x, scale):
        traces.append(1)
        return jnp.tanh(x @ params["w"]) * scale

    f = bridge.as_torch_function(fn)
    w = torch.randn(3, 4, requires_grad=True)

    def step():
        f({"w": w}, torch.randn(2, 3), 0.5).sum().backward()
        with torch.no_grad():
            f({"w": w}, torch.randn(2, 3), 0.5)
        return len(traces)

    warm = step()
    assert [step() for _ in range(100)] == [warm] * 100


def test_jax_and_numpy_arrays_are_constants():
    def fn(key, x, noise):
        return x + jax.random.normal(key, x.shape) + noise

    f = bridge.as_torch_function(fn)
    key = jax.random.key(3)
    x = torch.zeros(4, requires_grad=True)
    y = f(key, x, np.ones(4, np.float32))
    np.testing.assert_allclose(y.detach(), jax.random.normal(key, (4,)) + 1, rtol=1e-6)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.ones(4))
    half = np.arange(3, dtype=jnp.bfloat16)[::-1]
    half.flags.writeable = False
    doubled = bridge.as_torch_function(lambda x: x + x)(half)
    assert torch.equal(doubled, torch.tensor([4.0, 2.0, 0.0], dtype=torch.bfloat16))


def test_numpy_scalars_are_numbers():
    f = bridge.as_torch_function(lambda x, n: x.reshape(n, 1) * n)
    for number in (np.int64(2), np.uint8(2)):
        assert f(torch.ones(2), number).shape == (2, 1)
    half = bridge.as_torch_function(lambda x, s: x * s)(torch.ones(2), np.float64(0.5))
    assert half.dtype == torch.float32


class Twice:
    def __init__(self, fn):
        self.jax_fn, self.residuals, self._variants = fn, "nonsense", None

    def __call__(self, x):
        return 2 * self.jax_fn(x)


def test_callable_objects_keep_their_attributes_to_themselves():
    f = bridge.as_torch_function(Twice(jnp.negative), residuals="recompute")
    assert f.residuals == "recompute"
    assert torch.equal(f(torch.ones(2)), torch.full((2,), -2.0))


def test_the_combination_used_last_is_kept(monkeypatch):
    for module in (_static, _function):
        monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    traces = []
    f = bridge.as_torch_function(lambda x, n: (traces.append(n), x * n)[1])
    for number in range(1, 9):
        f(torch.ones(()), 0)
        f(torch.ones(()), number)
    assert traces == list(range(9))
    assert len(f._variants) == 3


def test_methods_are_refused():
    with pytest.raises(Exception, match=r"Error calling __set_name__|cannot wrap") as raised:

        class Model:
            @bridge.as_torch_function
            def forward(self, x):
                return x

    error = raised.value.__cause__ or raised.value
    assert "cannot wrap the method Model.forward" in str(error)


def test_functions_without_tensors_or_outputs():
    assert torch.equal(bridge.as_torch_function(lambda n: jnp.arange(n))(3), torch.arange(3).int())
    assert bridge.as_torch_function(lambda x: None)(torch.ones(2)) is None
    f = bridge.as_torch_function(lambda x: (x * 2, 3.0))
    assert f(torch.ones(2, requires_grad=True))[1].item() == 3


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3)], ids=str)
def test_scalars_and_empty_tensors(shape):
    x = torch.randn(shape, requires_grad=True)
    y = bridge.as_torch_function(lambda x: jnp.sin(x) * 2)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y, torch.sin(x) * 2)
    torch.testing.assert_close(gradient, torch.cos(x.detach()) * 2)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
def test_dtypes_are_kept(dtype):
    x = torch.tensor([0.5, 1.5], dtype=dtype, requires_grad=True)
    y = bridge.as_torch_function(lambda x: x * x)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert y.dtype == gradient.dtype == dtype
    assert torch.equal(gradient, 2 * x.detach())


def test_float64_is_computed_in_float64_and_leaves_the_switch_alone():
    f = bridge.as_torch_function(lambda x: x + 2.0**-40)
    assert f(torch.ones((), dtype=torch.float64)).item() == 1 + 2.0**-40
    assert jnp.ones(()).dtype == jnp.float32


def test_integers():
    f = bridge.as_torch_function(lambda i: i + 1)
    assert f(torch.tensor(2**33)).item() == 2**33 + 1
    take = bridge.as_torch_function(lambda x, i: (x[i], jax.nn.one_hot(i, 3)))
    taken, hot = take(torch.arange(3.0), torch.tensor([2, 0]))
    assert torch.equal(taken, torch.tensor([2.0, 0.0]))
    assert hot.dtype == torch.float32
    with pytest.raises(OverflowError, match=r"`i` is torch.int64 .*float64"):
        take(torch.arange(3.0), torch.tensor([2**33]))
    with jax.enable_x64(True):
        pick = bridge.as_torch_function(lambda x, i: i)
        assert pick(torch.arange(3.0), torch.tensor(2**33)).item() == 2**33


def test_a_function_whose_parameters_python_does_not_tell():
    f = bridge.as_torch_function(dict)
    assert copy.copy(f) is f
    assert f(a=torch.ones(2))["a"].tolist() == [1, 1]


@pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")
def test_bad_arguments_are_named():
    f = bridge.as_torch_function(lambda params, x: x)
    with pytest.raises(TypeError, match=r"`params\['w'\]` of <lambda> is a object"):
        f({"w": object()}, torch.ones(2))
    with pytest.raises(TypeError, match=r"`x` has dtype torch.complex32"):
        f({}, torch.ones(2, dtype=torch.complex32))
    with pytest.raises(TypeError, match=r"`x` has layout torch.sparse_coo.*to_dense"):
        f({}, torch.eye(2).to_sparse())
    ragged = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    with pytest.raises(TypeError, match=r"`x` has layout torch.jagged"):
        f({}, ragged)
    with pytest.raises(TypeError, match=r"`x` has dtype <U1"):
        f({}, np.array("a"))
    with pytest.raises(ValueError, match=r"`x` is on device 'meta' but `params\['w'\]` is"):
        f({"w": torch.ones(2)}, torch.ones(2, device="meta"))
    with pytest.raises(ValueError, match="`x` is on device 'meta', where tensors have no values"):
        f({}, torch.ones(2, device="meta"))
    with pytest.raises(TypeError, match="`x` of <lambda> is traced by a JAX transformation"):
        jax.jit(lambda x: f({}, x))(jnp.ones(2))
    with pytest.raises(TypeError, match="`jax_fn` must be callable"):
        bridge.as_torch_function(3)  # pyright: ignore[reportArgumentType] - that is the test
    with pytest.raises(ValueError, match="`residuals` must be one of"):
        bridge.as_torch_function(jnp.sin, residuals="some")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("grad", [False, True], ids=["plain", "grad"])
def test_bad_functions_are_explained(grad):
    x = torch.ones(2, requires_grad=grad)
    with pytest.raises(TypeError, match=r"returned 'text' as `output\[1\]`"):
        bridge.as_torch_function(lambda x: (x, "text"))(x)
    with pytest.raises(TypeError, match=r"returned `output` with dtype key<fry>.*key_data"):
        bridge.as_torch_function(lambda x: jax.random.key(0))(x)
    with pytest.raises(TypeError, match=r"<lambda> needs the concrete value .*`x` float32\[2\]"):
        bridge.as_torch_function(lambda x: x if x[0] > 0 else -x)(x)

    with pytest.raises(TypeError, match=r"needs the concrete value .*`n` int64\[\]"):
        bridge.as_torch_function(lambda n, x: jnp.zeros(n))(torch.tensor(3), x)
    f = bridge.as_torch_function(jnp.sin)
    with pytest.raises(bridge.BridgeError, match="sin was called with torch tensors inside a JAX"):
        jax.jit(lambda a: a + bridge.to_jax(f(x)))(jnp.ones(2))

    def broken(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as raised:
        bridge.as_torch_function(broken)(x)
    assert "while running broken with `x` float32[2]" in raised.value.__notes__[-1]
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_outputs_that_depend_on_the_call_are_refused(create_graph):
    calls = []

    def fn(x):
        calls.append(1)
        return {"a": x**2, "b": x} if len(calls) < 3 else {"b": x, "c": x}

    x = torch.ones(2, requires_grad=True)
    y = bridge.as_torch_function(fn, residuals="recompute")(x)
    calls += [1, 1]
    with pytest.raises(TypeError, match=r"returned the structure .* before"):
        torch.autograd.grad(y["a"].sum(), x, create_graph=create_graph)
