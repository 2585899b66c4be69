"""Nothing is ever corrupted: aliasing, in-place changes, queued work, threads, configuration."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import pytest
import torch

from evtorch import bridge

POLICIES = ["residual", "recompute"]


@pytest.mark.parametrize("policy", POLICIES)
def test_inputs_changed_before_backward_raise(policy):
    x = torch.randn(3, requires_grad=True)
    other = torch.randn(3)
    y = bridge.as_torch_function(lambda x, o: jnp.sin(x) * o, residuals=policy)(x, other)
    other.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


CONSTANT = jnp.arange(16.0)


@pytest.mark.parametrize("grad", [False, True], ids=["plain", "grad"])
def test_outputs_share_memory_with_nothing(grad):
    def fn(x, y):
        return x, x, y + 1, jnp.reshape(x, (4, 4)), CONSTANT, CONSTANT

    x, y = torch.randn(16, requires_grad=grad), torch.randn(16)
    with torch.set_grad_enabled(grad):
        outputs = bridge.as_torch_function(fn)(x, y)
    pointers = [t.data_ptr() for t in (x, y, *outputs)] + [CONSTANT.unsafe_buffer_pointer()]
    assert len(set(pointers)) == len(pointers)
    assert torch.equal(outputs[0], x)


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_share_memory_with_nothing(policy):
    f = bridge.as_torch_function(lambda x, y: (x + y, x * 1), residuals=policy)
    x, y = (torch.randn(16, requires_grad=True) for _ in range(2))
    first, second = f(x, y)
    cotangent = torch.ones(16)
    gradients = torch.autograd.grad((first, second), (x, y), (cotangent, cotangent))
    pointers = [t.data_ptr() for t in (x, y, cotangent, *gradients)]
    assert len(set(pointers)) == len(pointers)


def slow(x):
    return jax.lax.fori_loop(0, 6, lambda i, x: jnp.tanh(x @ x.T @ x), x) * 1.0


@pytest.mark.parametrize("aligned", [True, False], ids=["aligned", "unaligned"])
@pytest.mark.parametrize("grad", [False, True], ids=["plain", "grad"])
def test_writing_to_an_input_right_after_the_call_is_harmless(aligned, grad):
    f = bridge.as_torch_function(lambda x, scale: slow(x) * scale)
    storage = torch.empty(200 * 200 + 16)
    x = storage[16 if aligned else 1 :][: 200 * 200].view(200, 200)
    assert (x.data_ptr() % 64 == 0) == aligned
    for trial in range(20):
        values = torch.randn(200, 200, generator=torch.Generator().manual_seed(trial)) / 200
        expected = bridge.to_torch(jax.jit(slow)(bridge.to_jax(values)))
        x.copy_(values)
        y = f(x, torch.ones((), requires_grad=grad))
        x.fill_(float("nan"))
        assert torch.equal(y, expected)


def test_optimiser_steps_right_after_backward_match_pure_jax():
    def loss(w, x):
        return jnp.mean(jnp.square(slow(x * w)))

    f = bridge.as_torch_function(loss)
    w = torch.full((128, 128), 0.01, requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=10.0)
    x = torch.randn(128, 128)
    reference, step = jnp.full((128, 128), 0.01), jax.jit(jax.grad(loss))
    for _ in range(20):
        optimiser.zero_grad()
        f(w, x).backward()
        optimiser.step()
        reference = reference - 10.0 * step(reference, bridge.to_jax(x, copy=True))
    torch.testing.assert_close(w.detach(), bridge.to_torch(reference))


def test_many_threads():
    f = bridge.as_torch_function(lambda x, w: jnp.tanh(x @ w))

    def work(seed):
        generator = torch.Generator().manual_seed(seed)
        dtype = torch.float64 if seed % 2 else torch.float32
        for _ in range(30):
            x = torch.randn(8, 5, generator=generator, dtype=dtype, requires_grad=True)
            w = torch.randn(5, 6, generator=generator, dtype=dtype, requires_grad=True)
            found = torch.autograd.grad(f(x, w).sum(), (x, w))
            expected = torch.autograd.grad(torch.tanh(x @ w).sum(), (x, w))
            torch.testing.assert_close(found, expected)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


@pytest.mark.parametrize("policy", POLICIES)
def test_backward_in_another_thread_and_configuration(policy):
    f = bridge.as_torch_function(lambda x: jnp.sin(x) * jnp.float64(1 / 3), residuals=policy)
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    y = f(x).sum()
    thread = threading.Thread(target=y.backward)
    thread.start()
    thread.join()
    torch.testing.assert_close(x.grad, torch.cos(x.detach()) / 3, rtol=1e-14, atol=0)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_forwards_configuration_holds_in_backward(policy):
    seen = []
    config: Any = jax.config

    @jax.custom_vjp
    def probe(x):
        return x * 1

    def bwd(_, g):
        seen.append((config.jax_default_matmul_precision, config.jax_enable_x64))
        return (g,)

    probe.defvjp(lambda x: (x * 1, None), bwd)
    f = bridge.as_torch_function(probe, residuals=policy)
    x = torch.ones(2, requires_grad=True)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        y = f(x).sum()
    seen.clear()
    y.backward()
    assert seen
    assert set(seen) == {("highest", True)}


def test_nothing_leaks():
    f = bridge.as_torch_function(lambda x: jnp.sin(x) * x, residuals="residual")
    x = torch.randn(100, 100, requires_grad=True)

    def calls(n):
        for _ in range(n):
            f(x).sum().backward()
        x.grad = None
        gc.collect()
        return len(jax.live_arrays()), sum(type(o) is torch.Tensor for o in gc.get_objects())

    before = calls(10)
    after = calls(200)
    assert after[0] <= before[0] + 2
    assert after[1] <= before[1] + 2


class Subclass(torch.Tensor):
    pass


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", [torch.Tensor, Subclass])
def test_functions_are_released(policy, kind):
    x = torch.ones(3, requires_grad=True)

    def use():
        def fn(x):
            return jnp.sin(x) * x

        bridge.as_torch_function(fn, residuals=policy)(x.as_subclass(kind)).sum().backward()
        return weakref.ref(fn)

    functions = [use() for _ in range(3)]
    gc.collect()
    assert [f() for f in functions] == [None] * 3


def test_residuals_are_released_after_backward():
    f = bridge.as_torch_function(lambda x: jnp.sin(jnp.cos(x) * x) * x, residuals="residual")
    x = torch.randn(10, requires_grad=True)
    y = f(x).sum()
    held = len(jax.live_arrays())
    y.backward()
    assert len(jax.live_arrays()) < held
