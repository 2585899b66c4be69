"""Compiled programs are kept up to a limit, the most recent ones, and released beyond it."""

import gc
import logging
import time
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax._src.interpreters import partial_eval
from torch._subclasses import FakeTensorMode

from evtorch import _programs, bridge


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """Room for eight, not counting those of other tests, which would compile anew."""
    monkeypatch.setattr(_programs, "_all", weakref.WeakSet())
    monkeypatch.setattr(_programs, "MAX_PROGRAMS", 8)


def bridged(**options):
    """``tanh(x @ w)`` on torch tensors, and the shapes for which it has been traced."""
    traced = []

    def function(x, w):
        traced.append(x.shape)
        return jnp.tanh(x @ w)

    return bridge.as_torch_function(function, **options), traced


def memory_maps():
    with open("/proc/self/maps") as file:
        return sum(1 for _ in file)


def test_memory_maps_stay_bounded_over_many_shapes():
    function, _ = bridged()
    w = torch.randn(5, 4, requires_grad=True)
    counts = []
    gc.disable()  # Nothing may wait for Python to look for cycles.
    try:
        for size in range(1, 49):
            function(torch.randn(size, 5), w).sum().backward()
            counts.append(memory_maps())
    finally:
        gc.enable()
    # 8 maps for each shape otherwise.
    assert counts[-1] - counts[15] < 40
    assert len(_programs._all) <= 8


def test_a_shape_in_use_is_never_compiled_again_while_others_come_and_go():
    function, traced = bridged(residuals="residual")
    x, w = torch.randn(64, 5), torch.randn(5, 4, requires_grad=True)
    for size in range(1, 21):
        function(x, w).sum().backward()
        function(torch.randn(size, 5), w).sum().backward()
    assert traced.count((64, 5)) == traced.count((1, 5))
    before = len(traced)
    function(torch.randn(1, 5), w)
    assert len(traced) > before  # Released long ago.


@pytest.mark.parametrize("residuals", ["residual", "recompute"])
def test_a_graph_outlives_the_release_of_its_programs(residuals):
    function, _ = bridged(residuals=residuals)
    x, w = torch.randn(7, 5), torch.randn(5, 4, requires_grad=True)
    out = function(x, w)
    for size in range(10, 20):
        function(torch.randn(size, 5), w).sum().backward()
    w.grad = None
    out.sum().backward()
    expected = x.T @ (1 - torch.tanh(x @ w.detach()) ** 2)
    torch.testing.assert_close(w.grad, expected)


def test_values_that_are_compiled_in_share_the_limit():
    def power(x, exponent):
        return x**exponent

    function = bridge.as_torch_function(power)
    x = torch.rand(3)
    for exponent in range(20):
        torch.testing.assert_close(function(x, exponent), x**exponent)
    assert len(_programs._all) <= 8


def test_a_limit_on_memory_maps_releases_earlier(monkeypatch):
    monkeypatch.setattr(_programs, "MAX_MAPS", 12)
    function, _ = bridged()
    for size in range(1, 9):
        function(torch.randn(size, 5), torch.randn(5, 4))
    kept = list(_programs._all)
    assert len(kept) < 8
    assert sum(program.maps for program in kept) <= 12


def test_shapes_only_looked_at_count_too():
    function, _ = bridged()
    with FakeTensorMode():
        for size in range(1, 13):
            assert function(torch.empty(size, 5), torch.empty(5, 4)).shape == (size, 4)
    function(torch.ones(2, 5), torch.ones(5, 4))
    assert len(_programs._all) <= 8


def test_a_dropped_function_takes_its_programs_along():
    function, _ = bridged()
    w = torch.randn(5, 4, requires_grad=True)
    function(torch.randn(3, 5), w).sum().backward()
    assert len(_programs._all) == 2
    del function
    gc.collect()
    assert len(_programs._all) == 0


def test_a_long_compilation_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(_programs, "_PATIENCE", 0.02)
    monkeypatch.setattr(_programs, "_said", False)

    def slow_to_trace(x):
        time.sleep(0.2)
        return 2 * x

    function = bridge.as_torch_function(slow_to_trace)
    with caplog.at_level(logging.INFO, logger="evtorch"):
        for size in (3, 3, 4):
            function(torch.ones(size))
    found = [record for record in caplog.records if "evtorch: compiling" in record.message]
    assert [record.levelno for record in found] == [logging.WARNING, logging.INFO]
    assert "slow_to_trace" in found[0].message


def test_torch_in_jax_releases_its_programs():
    function, params = bridge.as_jax_function(torch.nn.Linear(5, 4), lowering="callback")
    jax.grad(lambda p: function(p, np.ones((3, 5), np.float32)).sum())(params)
    (built,) = function._built.values()
    host: Any = built.function
    jitted = weakref.ref(host._with_rule.fun)
    gradient = weakref.ref(next(iter(host._gradients.values())))
    del built, host
    function._built.clear()
    gc.collect()
    assert jitted() is None
    assert gradient() is None


def test_native_torch_in_jax_releases_its_programs():
    function, params = bridge.as_jax_function(torch.nn.Linear(5, 4), lowering="native")
    jax.grad(lambda p: function(p, np.ones((3, 5), np.float32)).sum())(params)
    (built,) = function._built.values()
    native: Any = built.function
    found = weakref.ref(native), weakref.ref(native._jitted)
    del built, native
    function._built.clear()
    gc.collect()
    assert [each() for each in found] == [None, None]


def test_torch_in_jax_compiles_nothing_for_the_shape_of_a_numpy_argument(caplog):
    function, params = bridge.as_jax_function(torch.nn.Linear(5, 4))
    function(params, np.ones((3, 5), np.float32))
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        function(params, np.ones((6, 5), np.float32))
    compiled = [r.message for r in caplog.records if r.message.startswith("Compiling ")]
    assert len(compiled) == 1, compiled


def test_what_jax_traced_is_forgotten_while_users_programs_stay(monkeypatch):
    monkeypatch.setattr(_programs, "MAX_TRACED", 4)
    remembered = partial_eval.trace_to_jaxpr.cache_info  # The one cache of JAX without a limit.
    traced, counts = [], []

    @jax.jit
    def of_the_user(x):
        traced.append(x.shape)
        return jnp.where(x > 0, x, 0.0)

    of_the_user(jnp.ones(3))
    function, _ = bridged()
    for size in range(1, 25):
        function(torch.randn(size, 5), torch.randn(5, 4))
        counts.append(remembered().currsize)
    assert max(counts[4:]) < 40  # 6 more for each shape otherwise.
    of_the_user(jnp.ones(3))
    assert traced == [(3,)]
