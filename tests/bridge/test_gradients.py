"""Derivatives of bridged functions, against torch and finite differences."""

import jax
import jax.numpy as jnp
import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from evtorch import bridge

# torch compiles its forward-mode formulas with an API that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is:DeprecationWarning")

F64 = torch.float64
POLICIES = ["residual", "recompute", "auto"]


def jax_fn(x, w):
    return jnp.tanh(x @ w) * jnp.cos(x).sum()


def torch_fn(x, w):
    return torch.tanh(x @ w) * torch.cos(x).sum()


def inputs(grad=True):
    x = torch.randn(4, 5, dtype=F64, requires_grad=grad)
    return x, torch.randn(5, 3, dtype=F64, requires_grad=grad)


@pytest.mark.parametrize("policy", POLICIES)
def test_first_and_second_order(policy):
    f = bridge.as_torch_function(jax_fn, residuals=policy)
    assert gradcheck(f, inputs(), check_forward_ad=True)
    assert gradgradcheck(f, inputs())


@pytest.mark.parametrize("policy", POLICIES)
def test_only_some_inputs_and_outputs(policy):
    f = bridge.as_torch_function(
        lambda a, b, c: {"p": a * b, "q": jnp.sin(c), "n": jnp.argmax(a)}, residuals=policy
    )
    a, b, c = (torch.randn(3, requires_grad=r) for r in (True, False, True))
    out = f(a, b, c)
    (ga,) = torch.autograd.grad(out["p"].sum(), a, retain_graph=True)
    assert torch.equal(ga, b)
    ga, gc = torch.autograd.grad(out["q"].sum(), (a, c))
    assert torch.equal(ga, torch.zeros(3))
    torch.testing.assert_close(gc, torch.cos(c))


@pytest.mark.parametrize("policy", POLICIES)
def test_complex_gradients_have_torchs_convention(policy):
    def jax_side(z, w, r):
        return jnp.exp(z * w) + jnp.conj(z) * r.astype(z.dtype), jnp.abs(w) ** 2

    def torch_side(z, w, r):
        return torch.exp(z * w) + torch.conj(z) * r, torch.abs(w) ** 2

    z, w = (torch.randn(3, dtype=torch.complex128, requires_grad=True) for _ in range(2))
    r = torch.randn(3, dtype=F64, requires_grad=True)
    f = bridge.as_torch_function(jax_side, residuals=policy)

    def loss(outputs):
        return (outputs[0] * (0.3 + 0.7j)).abs().sum() + outputs[1].sum()

    found = torch.autograd.grad(loss(f(z, w, r)), (z, w, r))
    expected = torch.autograd.grad(loss(torch_side(z, w, r)), (z, w, r))
    torch.testing.assert_close(found, expected)
    assert gradcheck(f, (z, w, r), check_forward_ad=True)
    assert gradgradcheck(f, (z, w, r))
    assert torch.equal(f(z.conj(), w, r)[0], f(z.conj().resolve_conj(), w, r)[0])


TRANSFORMS = {
    "grad": lambda f, x, w: torch.func.grad(lambda *a: f(*a).sum(), (0, 1))(x, w),
    "vmap": lambda f, x, w: torch.vmap(lambda a, b: f(a[None], b), (0, None))(x, w),
    "vmap of vmap": lambda f, x, w: torch.vmap(
        torch.vmap(lambda a, b: f(a[None], b[:, None]), (None, 1)), (0, None)
    )(x, w),
    "per-sample gradients": lambda f, x, w: torch.vmap(
        torch.func.grad(lambda b, a: f(a[None], b).sum()), (None, 0)
    )(w, x),
    "jvp": lambda f, x, w: torch.func.jvp(f, (x, w), (w.sum() * x, w)),
    "vjp": lambda f, x, w: torch.func.vjp(f, x, w)[1](torch.ones(4, 3, dtype=F64)),
    "jacrev": lambda f, x, w: torch.func.jacrev(f, (0, 1))(x, w),
    "jacfwd": lambda f, x, w: torch.func.jacfwd(f, (0, 1))(x, w),
    "hessian": lambda f, x, w: torch.func.hessian(lambda b: f(x, b).sum())(w),
    "grad of grad": lambda f, x, w: torch.func.grad(
        lambda a: torch.func.grad(lambda b: f(a, b).sum())(w).square().sum()
    )(x),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_torch_func(name):
    x, w = inputs(grad=False)
    found = TRANSFORMS[name](bridge.as_torch_function(jax_fn), x, w)
    torch.testing.assert_close(found, TRANSFORMS[name](torch_fn, x, w))


def test_forward_mode():
    x, w = inputs(grad=False)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        found = forward_ad.unpack_dual(bridge.as_torch_function(jax_fn)(dual, w)).tangent
        expected = forward_ad.unpack_dual(torch_fn(dual, w)).tangent
    torch.testing.assert_close(found, expected)


def test_vmap_of_a_function_with_static_integer_and_key_arguments():
    def fn(key, x, i, scale):
        return x[i] * scale + jax.random.normal(key, (), x.dtype), i + 1

    f = bridge.as_torch_function(fn)
    key, x, i = jax.random.key(0), torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    y, j = torch.vmap(lambda x, i: f(key, x, i, 2.0))(x, i)
    offset = bridge.to_torch(jax.random.normal(key, ()))
    torch.testing.assert_close(y, x[torch.arange(4), i] * 2 + offset)
    assert torch.equal(j.long(), i + 1)


@jax.custom_vjp
def only_first_order(x):
    return jnp.sin(x)


def _only_first_order_bwd(x, g):
    return (jax.pure_callback(lambda x, g: g * jnp.cos(x), g, x, g),)


only_first_order.defvjp(lambda x: (jnp.sin(x), x), _only_first_order_bwd)


def test_missing_second_derivative_is_an_error_only_where_it_is_needed():
    x = torch.randn(3, requires_grad=True)
    y = bridge.as_torch_function(only_first_order)(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    torch.testing.assert_close(g, torch.cos(x))
    with pytest.raises(bridge.BridgeError, match="the gradient of only_first_order cannot be diff"):
        g.sum().backward()


def test_missing_first_derivative_is_explained():
    f = bridge.as_torch_function(lambda x: jax.lax.while_loop(lambda c: c < 3, lambda c: c * 2, x))
    with torch.no_grad():
        assert f(torch.ones(())).item() == 4
    with pytest.raises(bridge.BridgeError, match=r"<lambda> cannot be differentiated .*while_loop"):
        f(torch.ones((), requires_grad=True)).backward()


@pytest.mark.parametrize("policy", POLICIES)
def test_cotangents_of_any_layout(policy):
    f = bridge.as_torch_function(lambda x: x * jnp.sin(x), residuals=policy)
    for change in (lambda y: y, lambda y: y.T, lambda y: y[1:, ::2], lambda y: y.flip(1)):
        x = torch.randn(4, 4, requires_grad=True)
        (found,) = torch.autograd.grad(change(f(x)).sum(), x)
        (expected,) = torch.autograd.grad(change(x * torch.sin(x)).sum(), x)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("policy", POLICIES)
def test_retain_graph(policy):
    x, w = inputs()
    y = bridge.as_torch_function(jax_fn, residuals=policy)(x, w).sum()
    first = torch.autograd.grad(y, (x, w), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(y, (x, w)), first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y, (x, w))
