"""Bridged functions where torch traces instead of running."""

import shutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from evtorch import bridge
from evtorch.bridge._custom_op import call, operation
from evtorch.bridge._flat import FlatFunction

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Point(NamedTuple):
    x: Any
    y: Any


@bridge.as_torch_function
def bridged(point, w, scale=1.0, *, mode="plain"):
    y = jnp.tanh(point.x["a"] @ w) * scale
    return {"y": y if mode == "plain" else -y, "aux": Point(point.x["a"].argmax(), None)}


def step(x, w):
    out = bridged(Point({"a": x * 2}, None), w, scale=2.0, mode="minus")
    assert out["aux"].y is None
    return out["y"].sin().sum() + out["aux"].x


COMPILER = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
INDUCTOR = pytest.param(
    "inductor",
    marks=pytest.mark.skipif(not COMPILER, reason="inductor needs a C++ compiler"),
)


@pytest.mark.parametrize("backend", ["eager", "aot_eager", INDUCTOR])
def test_compiles_without_graph_breaks(backend):
    torch._dynamo.reset()
    compiled = torch.compile(step, backend=backend, fullgraph=True)
    w = torch.randn(5, 3, requires_grad=True)
    for rows in (4, 7, 9):
        x = torch.randn(rows, 5, requires_grad=True)
        torch.testing.assert_close(compiled(x, w), step(x, w))
        found = torch.autograd.grad(compiled(x, w), (x, w))
        torch.testing.assert_close(found, torch.autograd.grad(step(x, w), (x, w)))


@pytest.mark.parametrize("backend", ["aot_eager", INDUCTOR])
def test_compiled_code_keeps_the_configuration_of_its_tracing(backend):
    torch._dynamo.reset()
    sort = bridge.as_torch_function(lambda x: (jnp.argsort(x), jnp.sin(x) * jnp.arange(4.0)))

    def order(x):
        indices, y = sort(x)
        return indices * 3 + 1, y * 2

    compiled = torch.compile(order, backend=backend, fullgraph=True)
    x = torch.tensor([3.0, 1.0, 2.0, 5.0], requires_grad=True)
    expected = compiled(x)
    assert torch.equal(expected[0], order(x)[0])
    with jax.enable_x64(True):
        found = compiled(x)
    assert torch.equal(found[0], expected[0])
    (gradient,) = torch.autograd.grad(found[1].sum(), x)
    torch.testing.assert_close(gradient, 2 * torch.cos(x.detach()) * torch.arange(4.0))
    with jax.enable_x64(True):
        (gradient,) = torch.autograd.grad(expected[1].sum(), x)
    torch.testing.assert_close(gradient, 2 * torch.cos(x.detach()) * torch.arange(4.0))


def test_numbers_that_change_stay_static():
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x, n: bridged(Point({"a": x}, None), x, scale=n)["y"] * x.shape[0],
        backend="eager",
        fullgraph=True,
    )
    x = torch.randn(3, 3)
    for number in (1, 2, 3, 1.5, 2.5):
        expected = bridged(Point({"a": x}, None), x, scale=number)["y"] * 3
        assert torch.equal(compiled(x, number), expected)


def test_module_compiles():
    torch._dynamo.reset()
    module = bridge.JaxModule(lambda p, x: jnp.sin(x @ p["w"]), {"w": jnp.ones((3, 2))})
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), module, torch.nn.Linear(2, 1))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = torch.randn(6, 4)
    torch.testing.assert_close(compiled(x), model(x))
    compiled(x).sum().backward()
    found = [p.grad for p in model.parameters()]
    expected = torch.autograd.grad(model(x).sum(), list(model.parameters()))
    torch.testing.assert_close(found, list(expected))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64], ids=str)
def test_operator_passes_opcheck(dtype):
    function = FlatFunction(lambda _, x, w: (jnp.tanh(x @ w), x.sum()), "f", ["`x`", "`w`"], "auto")
    x = torch.randn(4, 5, dtype=dtype, requires_grad=True)
    w = torch.randn(5, 3, dtype=dtype, requires_grad=True)
    number = operation(function, function.configure((x, w), ())).number
    torch.library.opcheck(call, ([x, w], number))
    torch.library.opcheck(call, ([x.detach(), w], number))


def test_fake_tensors_have_the_right_shapes():
    with FakeTensorMode():
        out = bridged(Point({"a": torch.empty(4, 5)}, None), torch.empty(5, 3))
    assert out["y"].shape == (4, 3)
    assert out["aux"].x.dtype == torch.int32


def test_failures_are_explained_beside_the_compilers_words(caplog):
    torch._dynamo.reset()
    f = bridge.as_torch_function(lambda x: x if x[0] > 0 else -x)
    with pytest.raises(Exception, match=r"nonstrict_trace|fake tensor"):
        torch.compile(f.__call__, backend="eager", fullgraph=True)(torch.ones(2))
    assert "TypeError: <lambda> needs the concrete value of a traced array" in caplog.text


def linearized(f, x):
    return torch.func.linearize(f, x)[1]


def recorded(f, x):
    return make_fx(lambda x: f(x) + 1)(x)


def recorded_gradient(f, x):
    return make_fx(torch.func.grad(lambda x: f(x).sum()), tracing_mode="fake")(x)


def script_traced(f, x):
    return torch.jit.trace(lambda x: f(x) + 1, (x,))


# torch's own: the first also for torch.sin in linearize, the second for any look at a shape.
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")
@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python integer")
@pytest.mark.parametrize("record", [linearized, recorded, recorded_gradient, script_traced])
def test_what_torch_records_is_no_constant(record):
    x, other = torch.randn(3), torch.randn(3)
    found = record(bridge.as_torch_function(lambda x: jnp.sin(x) * x), x)
    torch.testing.assert_close(found(other), record(lambda x: torch.sin(x) * x, x)(other))


def test_a_jax_array_is_not_frozen_into_compiled_code():
    torch._dynamo.reset()
    key = jax.random.key(0)
    f = bridge.as_torch_function(lambda key, x: x + jax.random.normal(key, x.shape))
    compiled = torch.compile(lambda x: f(key, x), backend="aot_eager", fullgraph=True)
    with pytest.raises(Exception, match="PRNGKeyArray"):
        compiled(torch.ones(3))
    with pytest.raises(TypeError, match="got a JAX array while torch traces"):
        make_fx(lambda x: f(key, x))(torch.ones(3))
