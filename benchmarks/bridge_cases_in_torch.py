"""Small programs that call a JAX function in torch; each raises `Wrong` if the result is."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch.utils.checkpoint import checkpoint

Bridge = Callable[[Callable[..., Any]], Callable[..., Any]]


class Wrong(Exception):
    """The program ran, and its result is wrong."""


def expect(condition: Any) -> None:
    if not bool(condition):
        raise Wrong


def pair(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 5, generator=generator).to(dtype).requires_grad_()
    return x, torch.randn(5, 3, generator=generator).to(dtype).requires_grad_()


def jax_fn(x: Any, w: Any) -> Any:
    return jnp.tanh(x @ w)


def torch_fn(x: Any, w: Any) -> Any:
    return torch.tanh(x @ w)


def close(found: Any, expected: Any, tolerance: float = 1e-4) -> None:
    expect(torch.allclose(found, expected, rtol=tolerance, atol=tolerance))


def forward(make: Bridge) -> None:
    x, w = pair()
    close(make(jax_fn)(x, w), torch_fn(x, w))


def backward(make: Bridge) -> None:
    x, w = pair()
    y = make(jax_fn)(x, w)
    (found,) = torch.autograd.grad(y, x, torch.ones(4, 3))
    close(found, torch.autograd.grad(torch_fn(x, w), x, torch.ones(4, 3))[0])


def summed_loss(make: Bridge) -> None:
    x, w = pair()
    (found,) = torch.autograd.grad(make(jax_fn)(x, w).sum(), x)
    close(found, torch.autograd.grad(torch_fn(x, w).sum(), x)[0])


def transposed_input(make: Bridge) -> None:
    x, w = pair()
    t = x.detach().T.contiguous().T
    close(make(jax_fn)(t, w), torch_fn(t, w))


def pytrees(make: Bridge) -> None:
    x, w = pair()
    out = make(lambda p, q: {"y": p["x"] @ q, "n": (p["x"].argmax(), None)})({"x": x}, w)
    close(out["y"], x @ w)
    expect(out["n"][0] == x.argmax())


def integer_input(make: Bridge) -> None:
    x, _ = pair()
    i = torch.tensor([2, 0], dtype=torch.int32)
    y = make(lambda x, i: x[i])(x, i)
    close(y, x[i.long()])
    close(torch.autograd.grad(y, x, torch.ones(2, 5))[0].sum(), torch.tensor(10.0))


def float64(make: Bridge) -> None:
    x, w = pair(torch.float64)
    close(make(jax_fn)(x, w), torch_fn(x, w), 1e-13)


def bfloat16(make: Bridge) -> None:
    x, w = pair(torch.bfloat16)
    y = make(lambda x, w: x[:, :3] * w[:4])(x, w)
    expect(torch.equal(y, x[:, :3] * w[:4]))


def complex_gradient(make: Bridge) -> None:
    x, w = pair(torch.complex64)
    (found,) = torch.autograd.grad(make(lambda x, w: x @ w)(x, w).abs().sum(), x)
    close(found, torch.autograd.grad((x @ w).abs().sum(), x)[0])


def large_integers(make: Bridge) -> None:
    x, i = torch.ones(1), torch.tensor(2**33 + 1)
    f = make(lambda i, x: i + 0)
    expect(f(torch.tensor(3, dtype=torch.int32), x) == 3)
    try:
        found = f(i, x)
    except Exception:
        return
    expect(found == i)


def in_place_change_is_noticed(make: Bridge) -> None:
    x, _ = pair()
    factor = torch.ones(4, 3)
    y = make(lambda x, f: x[:, :3] * f)(x, factor)
    factor.zero_()
    try:
        (found,) = torch.autograd.grad(y, x, torch.ones(4, 3))
    except RuntimeError:
        return
    close(found[:, :3], torch.ones(4, 3))


def outputs_do_not_alias_inputs(make: Bridge) -> None:
    x, w = torch.ones(16), torch.ones(16)
    y = make(lambda x, w: x)(x, w)
    y.add_(1)
    expect(x[0] == 1)


def double_backward(make: Bridge) -> None:
    x, w = pair(torch.float64)
    with jax.enable_x64(True):
        expect(torch.autograd.gradgradcheck(make(jax_fn), (x, w)))


def per_sample_gradients(make: Bridge) -> None:
    x, w = (t.detach() for t in pair())
    f = make(jax_fn)
    found = torch.vmap(torch.func.grad(lambda w, x: f(x[None], w).sum()), (None, 0))(w, x)
    expected = torch.func.grad(lambda w: torch_fn(x, w).sum())(w)
    close(found.sum(0), expected)


def vmap(make: Bridge) -> None:
    x, w = (t.detach() for t in pair())
    f = make(jax_fn)
    close(torch.vmap(lambda row: f(row[None], w)[0])(x), torch_fn(x, w))


def forward_mode(make: Bridge) -> None:
    x, w = (t.detach() for t in pair())
    f = make(jax_fn)
    found = torch.func.jvp(lambda x: f(x, w), (x,), (x,))[1]
    close(found, torch.func.jvp(lambda x: torch_fn(x, w), (x,), (x,))[1])


def hessian(make: Bridge) -> None:
    x, w = (t.detach() for t in pair())
    f = make(jax_fn)
    found = torch.func.hessian(lambda w: f(x, w).sum())(w)
    close(found, torch.func.hessian(lambda w: torch_fn(x, w).sum())(w))


def compiles(make: Bridge) -> None:
    torch._dynamo.reset()
    x, w = pair()
    f = make(jax_fn)
    compiled = torch.compile(lambda x, w: f(x * 2, w) + 1, backend="aot_eager", fullgraph=True)
    close(compiled(x, w), torch_fn(x * 2, w) + 1)


def checkpointing(make: Bridge) -> None:
    x, w = pair()
    f = make(jax_fn)
    y: Any = checkpoint(f, x, w, use_reentrant=False)
    (found,) = torch.autograd.grad(y, x, torch.ones(4, 3))
    close(found, torch.autograd.grad(torch_fn(x, w), x, torch.ones(4, 3))[0])


def no_retracing(make: Bridge) -> None:
    count = 0

    def fn(x: Any, w: Any) -> Any:
        nonlocal count
        count += 1
        return jnp.tanh(x @ w)

    f = make(fn)
    x, w = pair()
    f(x, w).backward(torch.ones(4, 3))
    warm = count
    for _ in range(5):
        f(x, w).backward(torch.ones(4, 3))
    expect(count == warm)


def pickles(make: Bridge) -> None:
    x, w = pair()
    close(pickle.loads(pickle.dumps(make(jax_fn)))(x, w), torch_fn(x, w))


CASES: dict[str, Callable[[Bridge], None]] = {
    "forward": forward,
    "backward": backward,
    "backward of `y.sum()` (expanded gradient)": summed_loss,
    "non-contiguous input": transposed_input,
    "pytrees, None and integer outputs": pytrees,
    "integer input": integer_input,
    "float64 without JAX's x64 switch": float64,
    "bfloat16": bfloat16,
    "complex gradient": complex_gradient,
    "int64 beyond 32 bits: right or refused": large_integers,
    "input changed in place before backward: right or refused": in_place_change_is_noticed,
    "output shares no memory with an input": outputs_do_not_alias_inputs,
    "double backward (gradgradcheck)": double_backward,
    "torch.func: per-sample gradients": per_sample_gradients,
    "torch.vmap": vmap,
    "forward mode (torch.func.jvp)": forward_mode,
    "torch.func.hessian": hessian,
    "torch.compile(fullgraph=True)": compiles,
    "activation checkpointing": checkpointing,
    "no retracing after the first step": no_retracing,
    "pickle": pickles,
}
