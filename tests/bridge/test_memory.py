"""What needs more memory than there is says so before it runs."""

import jax
import jax.numpy as jnp
import pytest
import torch

from evtorch import _memory, bridge, jax_core
from evtorch import torch_api as snn


def products(x):
    return jnp.sum(jnp.sort(x[:, None] * x, axis=0))


def test_a_program_that_does_not_fit_is_an_error_in_either_direction(monkeypatch):
    function = bridge.as_torch_function(products, residuals="recompute")
    x = torch.rand(1000, requires_grad=True)
    monkeypatch.setattr(_memory, "machine_memory", lambda: 2_000_000)
    with pytest.raises(MemoryError, match=r"products needs \S+ GB .* than the 0.002 GB"):
        function(x)
    monkeypatch.setattr(_memory, "machine_memory", lambda: 100_000_000)
    out = function(x)
    monkeypatch.setattr(_memory, "machine_memory", lambda: 2_000_000)
    with pytest.raises(MemoryError, match="the gradient of products"):
        out.backward()
    # What has run once is not looked at again.
    torch.testing.assert_close(function(x), out)


def test_layers_say_what_needs_less(monkeypatch):
    monkeypatch.setattr(_memory, "machine_memory", lambda: 10_000_000)
    room = 1_000_000
    with pytest.raises(MemoryError, match="max_spikes"):
        snn.LIF(1, 3, max_spikes=room, t_max=0.1)(torch.zeros(1, 1, 1))
    with pytest.raises(MemoryError, match="max_spikes"):
        jax_core.lif(jnp.zeros((1, 1, 1)), jnp.ones((3, 1)), max_spikes=room, t_max=0.1)


def test_the_estimate_is_that_of_the_compiler():
    found = jax.jit(lambda x: 2 * x).lower(jnp.ones(1000)).compile()
    assert _memory.program_memory(found) == 8000
    assert _memory.machine_memory() > 100_000_000


def test_nothing_is_compiled_twice(compiled):
    bridge.as_torch_function(lambda x: jnp.tanh(x) @ x)(torch.rand(3, 3))
    assert len(compiled) == 1, compiled
