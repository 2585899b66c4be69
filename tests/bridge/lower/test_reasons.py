"""Torch code that does not become JAX, or fails: what is said of it, and that it runs in torch."""

import jax
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evtorch import bridge

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def native(module):
    return bridge.as_jax_function(module, lowering="native")


def branching(x):
    return x if x.sum() > 0 else -x


def selected(x):
    return x[x > 0].sum()


def unknown(x):
    return torch.special.bessel_y0(x.exp())


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (branching, r"looks at values.*test_reasons.py, line \d+, in branching: return x if"),
        (selected, r"looks at values.*in selected: return x\[x > 0\]"),
        (unknown, r"operator aten.special_bessel_y0.default is not known.*in unknown: return tor"),
        (lambda x: x * float(x.sum()), "looks at values"),
        (lambda x: torch.from_numpy(np.exp(x.numpy())), "looks at values"),
        (lambda x: x + torch.tensor(2**40), "64-bit integers"),
        (lambda x: x.double().sum().float(), r"computes in torch.float64 inside.*enable_x64"),
        (lambda x: torch.scatter_reduce(x, 0, (x > 9).long(), x, "prod"), "scattered"),
    ],
)
def test_what_cannot_be_lowered_is_named_and_called_back(function, reason):
    fn, params = native(function)
    with pytest.raises(bridge.BridgeError, match=rf"cannot be lowered to JAX: .*{reason}"):
        fn(params, X)
    fn, params = bridge.as_jax_function(function)
    found = jax.jit(fn)(params, X)
    np.testing.assert_allclose(found, function(torch.tensor(X)).numpy(), rtol=1e-5)
    assert fn.lowering == "callback"
    assert fn.lowering_reason


class _InPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.add_(1)


class _WithNumber(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x + 1, 2


class _Noisy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x + torch.rand_like(x)


class _Batched(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return 2 * x

    @staticmethod
    def setup_context(ctx, inputs, output): ...


def put_many(x):
    out = x.clone()
    out[x > -9] = torch.arange(6.0)
    return out


ROWS = torch.tensor([0, 1])


@pytest.mark.filterwarnings("ignore:ComplexHalf support:UserWarning")
@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: _InPlace.apply(x.clone()), "changes its inputs in place"),
        (lambda x: _WithNumber.apply(x)[0], "_WithNumber returns what is no tensor"),
        (_Noisy.apply, "an autograd.Function draws random numbers"),
        (lambda x: torch.vmap(_Batched.apply)(x), "inside of another transformation"),
        (lambda x: x + torch.rand(3, generator=torch.Generator()), "a torch.Generator of its own"),
        (lambda x: x.t().as_strided((3,), (1,)), "of a tensor that is not contiguous"),
        (lambda x: x.to(torch.complex32).real.float(), "torch.complex32, which JAX lacks"),
        (put_many, "several values written at a mask"),
        (lambda x: functional.embedding(ROWS, x, scale_grad_by_freq=True), "scale_grad_by_freq"),
        (lambda x: torch.linalg.svd(x)[1], "full singular vectors"),
    ],
)
def test_what_is_not_lowered_says_why(function, reason):
    fn, params = native(function)
    with pytest.raises(bridge.BridgeError, match=f"cannot be lowered to JAX: .*{reason}"):
        fn(params, X)


def test_errors_of_the_torch_code_are_its_own():
    fn, params = native(lambda x: functional.gaussian_nll_loss(x, x, x, reduction="some"))
    with pytest.raises(ValueError, match="some"):
        fn(params, X)
    fn, params = native(lambda x: torch.autograd.grad(x * 2, x)[0])
    with pytest.raises(RuntimeError, match="implicitly created only for scalar outputs"):
        fn(params, X)
    fn, params = native(nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied|reduction dim"):
        fn(params, np.ones((2, 4), np.float32))
    fn, params = native(lambda x: (x, "text"))
    with pytest.raises(TypeError, match=r"returned `output\[1\]` as str"):
        fn(params, X)
    fn, params = native(lambda x: x.double())
    with pytest.raises(TypeError, match=r"returns `output` as torch.float64"):
        fn(params, X)


def test_backward_hooks_run_in_torch():
    module = nn.Sequential(nn.Linear(3, 2))
    module[0].register_full_backward_hook(lambda *_: None)
    fn, params = bridge.as_jax_function(module)
    fn(params, X)
    assert fn.lowering_reason == "0 has a backward hook, which runs in torch"
