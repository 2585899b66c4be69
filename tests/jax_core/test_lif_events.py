"""A layer takes a spike-time tensor or the same spikes as events."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual
from ..reference import random_networks
from ._layers import arguments, layer, pull_back_all, relative_error

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def networks():
    drawn = random_networks(seed=41, networks=30, max_spikes=3)
    return drawn.select((drawn.measure("slope") > 0.05).all(axis=1))


def test_events_give_the_spikes_of_the_tensor(networks):
    run = layer(networks)
    from_events = jax.jit(jax.vmap(lambda s, w, c: run(jax_core.events_from_spike_times(s), w, c)))(
        networks.spikes, networks.weight, networks.constants
    )
    np.testing.assert_allclose(from_events, networks.spike_times, rtol=1e-12)


@pytest.mark.parametrize("gradient", usual({"eventprop"}, ["eventprop", "fast_and_deep"]))
def test_events_give_the_gradients_of_the_tensor(networks, gradient):
    first = dataclasses.replace(networks, max_spikes=1)
    cotangent = np.random.default_rng(42).normal(size=first.spike_times.shape)
    run = layer(first, gradient=gradient)

    def pull_back(arguments, cotangent):
        def of_events(spikes, weight, constants):
            return run(jax_core.events_from_spike_times(spikes), weight, constants)

        return jax.vjp(of_events, *arguments)[1](cotangent)

    actual = jax.jit(jax.vmap(pull_back))(arguments(first), cotangent)
    expected = pull_back_all(first, cotangent)
    assert np.abs(expected[0]).max() > 0.1
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert relative_error(np.asarray(one), other).max() < 1e-9


def test_events_of_a_batch_with_padding():
    time = jnp.array([[0.1, 0.2, 0.2, 0.7], [0.3, jnp.inf, jnp.inf, jnp.inf]])
    index = jnp.array([[1, 0, 2, 1], [2, -1, -1, -1]], jnp.int32)
    weight = jnp.array([[2.0, 1.5, 3.0], [1.0, 4.0, -1.0]])
    options = {"tau_mem": 2.0, "tau_syn": 1.0, "max_spikes": 2, "on_overflow": "truncate"}
    tensor = np.full((2, 3, 2), np.inf)
    tensor[0, 0, 0], tensor[0, 1], tensor[0, 2, 0], tensor[1, 2, 0] = 0.2, [0.1, 0.7], 0.2, 0.3
    expected = jax_core.lif(tensor, weight, **options)
    actual = jax_core.lif(jax_core.Events(time, index), weight, **options)
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(actual, expected, rtol=1e-14)

    def loss(time):
        times = jax_core.lif(jax_core.Events(time, index), weight, **options)
        return jnp.sum(jnp.where(jnp.isfinite(times), times, 0))

    gradient = jax.grad(loss)(time)
    assert np.all(gradient[1, 1:] == 0)
    assert np.all(np.isfinite(gradient))
    assert gradient[0, 0] != 0


def test_trace_takes_events_too():
    spikes = jnp.array([[0.2], [0.5]])
    weight, times = jnp.array([[1.0, 0.5]]), jnp.linspace(0.0, 3.0, 7)
    options = {"tau_mem": 2.0, "tau_syn": 1.0, "max_spikes": 1}
    events = jax_core.events_from_spike_times(spikes)
    np.testing.assert_allclose(
        jax_core.lif_trace(events, weight, times, **options),
        jax_core.lif_trace(spikes, weight, times, **options),
        rtol=1e-14,
    )
