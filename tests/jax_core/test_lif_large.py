"""Many events, many spikes, and batches too large to differentiate at once."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from ..reference import random_networks
from ._layers import pull_back_all, simulate_all


@pytest.fixture(scope="module")
def crowd():
    """One layer with 3200 input spikes and hundreds of output spikes."""
    return random_networks(
        seed=14,
        networks=1,
        pre=40,
        input_spikes=100,
        post=4,
        max_spikes=500,
        duration=400.0,
        fixed={"refractory": 0.1, "v_leak": 0.0, "v_reset": -0.2, "v_threshold": 1.0},
    )


@pytest.mark.usefixtures("x64")
def test_spikes_of_thousands_of_events_equal_the_reference(crowd):
    expected = crowd.spike_times
    assert (np.isfinite(expected).sum(axis=-1) > 100).sum() >= 2
    assert crowd.measure("margin").min() > 1e-9
    np.testing.assert_allclose(simulate_all(crowd), expected, rtol=1e-11)


@pytest.mark.usefixtures("x64")
def test_gradients_of_thousands_of_events_obey_the_scaling_laws(crowd):
    """Shifting or scaling time, or scaling voltage, predicts sums over all the gradients."""
    times = crowd.spike_times
    cotangent = np.zeros_like(times)
    latest = np.isfinite(times).sum(axis=-1) - 1
    firing = latest >= 0
    network, post = np.nonzero(firing)
    last = latest[network, post]
    cotangent[network, post, last] = rate = np.array([1.0, -0.5, 2.0, 0.3])[: len(post)]
    spikes, weight, constants = pull_back_all(crowd, cotangent)
    assert np.count_nonzero(spikes) > 1000
    # All inputs later by s: all spikes later by s.
    assert spikes.sum() == pytest.approx(rate.sum(), rel=1e-9)
    # All times and time constants s times as large: all spikes, too.
    present = np.where(np.isfinite(crowd.spikes), crowd.spikes, 0)
    scaled = np.sum(present * spikes) + sum(
        np.sum(crowd.constants[name] * constants[name])
        for name in ("tau_mem", "tau_syn", "refractory")
    )
    assert scaled == pytest.approx(np.dot(rate, times[network, post, last]), rel=1e-9)
    # All voltages s times as large: the same spikes; here for each neuron.
    voltages = np.sum(crowd.weight * weight, axis=-1) + sum(
        crowd.constants[name] * constants[name] for name in ("v_threshold", "v_leak", "v_reset")
    )
    largest = np.abs(crowd.weight * weight).max()
    assert np.abs(voltages).max() < 1e-9 * largest


def test_gradients_of_a_batch_too_large_to_differentiate_at_once(rng):
    """The sum over parts of the batch, whose size divides neither the batch nor each other."""
    batch, pre, post = 1500, 64, 64
    spikes = rng.uniform(0.1, 3, (batch, pre, 1)).astype(np.float32)
    weight = rng.uniform(0.0, 0.4, (post, pre)).astype(np.float32)
    options = {"tau_mem": 2.0, "tau_syn": 1.0, "refractory": math.inf}

    @jax.jit
    def gradient(weight, spikes, threshold):
        def loss(weight, spikes, threshold):
            times = jax_core.lif(spikes, weight, v_threshold=threshold, **options)
            return jnp.sum(jnp.where(jnp.isfinite(times), jnp.sin(times), 0))

        return jax.grad(loss, argnums=(0, 1, 2))(weight, spikes, threshold)

    threshold = np.ones(post, np.float32)
    together = gradient(weight, spikes, threshold)
    parts = [gradient(weight, part, threshold) for part in np.split(spikes, 3)]
    to_weight, to_spikes, to_threshold = zip(*parts, strict=True)
    assert np.abs(together[1]).max() > 0.1
    np.testing.assert_allclose(together[1], np.concatenate(to_spikes), rtol=1e-4, atol=1e-6)
    for whole, summed in ((together[0], sum(to_weight)), (together[2], sum(to_threshold))):
        np.testing.assert_allclose(whole, summed, rtol=0, atol=1e-5 * np.abs(whole).max())
