"""EventProp gradients of recurrent layers against two independent methods."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from ..reference import CONSTANTS
from ._layers import relative_error
from ._recurrent_differences import compare, smooth_gradients
from ._recurrent_layers import (
    INPUTS,
    NETWORKS,
    NEURONS,
    SPIKES,
    pull_back_all,
    random_recurrent,
    simulate_all,
)


@pytest.fixture(scope="module")
def checked():
    """Layers, cotangents, and gradients by finite differences."""
    layers = random_recurrent(seed=31)
    cotangent = np.random.default_rng(32).normal(size=(NETWORKS, NEURONS, SPIKES))
    return layers, cotangent, smooth_gradients(layers, cotangent, 25)


@pytest.mark.usefixtures("x64")
def test_gradients_equal_finite_differences_of_the_reference(checked):
    layers, cotangent, expected = checked
    assert len(expected) == 25
    compare(layers, cotangent, expected, least=10)


@pytest.mark.usefixtures("x64")
def test_spikes_and_gradients_with_delays_equal_the_reference():
    layers = random_recurrent(seed=36, fixed={"refractory": 0.2}, delayed=True)
    times = np.array([layers.run(network).times(SPIKES) for network in range(NETWORKS)])
    np.testing.assert_allclose(simulate_all(layers), times, rtol=1e-11)
    assert np.isfinite(times).mean() > 0.3
    cotangent = np.random.default_rng(37).normal(size=times.shape)
    expected = smooth_gradients(layers, cotangent, 12)
    assert len(expected) == 12
    compare(layers, cotangent, expected, least=5)
    # No time at all is no delay, for spikes and gradients alike.
    at_once = {**layers.arguments, "recurrent_delay": np.zeros((NETWORKS, NEURONS))}
    without = {k: v for k, v in layers.arguments.items() if k != "recurrent_delay"}
    np.testing.assert_allclose(simulate_all(at_once), simulate_all(without), rtol=1e-12)
    gradients = pull_back_all(at_once, cotangent)
    for name, gradient in pull_back_all(without, cotangent).items():
        assert relative_error(gradients[name], gradient).max() < 1e-9, name


@pytest.mark.usefixtures("x64")
def test_absent_spikes_have_exactly_zero_gradients(checked):
    layers, cotangent, _ = checked
    times = simulate_all(layers)
    gradients = pull_back_all(layers, np.where(np.isinf(times), cotangent, 0))
    assert all(np.all(gradient == 0) for gradient in gradients.values())
    gradients = pull_back_all(layers, cotangent)
    assert np.all(gradients["spikes"][np.isinf(layers.arguments["spikes"])] == 0)
    silent = np.isinf(times).all(axis=2)
    assert silent.any()
    for name in ("weight", "recurrent_weight", *CONSTANTS):
        assert np.all(gradients[name][silent] == 0)
    # A neuron that does not spike tells the others nothing.
    assert np.all(gradients["recurrent_weight"].swapaxes(1, 2)[silent] == 0)


STATIC = {
    "tau_mem = 2 tau_syn": {"tau_mem": 2.0, "tau_syn": 1.0, "refractory": 0.0},
    "tau_mem = tau_syn, one spike": {"tau_mem": 1.0, "tau_syn": 1.0, "refractory": math.inf},
    "tau_mem = 2 tau_syn, refractory": {"tau_mem": 1.5, "tau_syn": 0.75, "refractory": 0.3},
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("numbers", STATIC.values(), ids=STATIC)
def test_constants_given_as_numbers_give_the_spikes_and_gradients_of_arrays(numbers):
    layers = random_recurrent(seed=33, fixed=numbers)
    cotangent = np.random.default_rng(34).normal(size=(NETWORKS, NEURONS, SPIKES))
    arrays = {k: v for k, v in layers.arguments.items() if k not in numbers}
    expected = simulate_all(layers)
    assert np.isfinite(expected).mean() > 0.1
    actual = simulate_all(arrays, **numbers)
    np.testing.assert_allclose(actual, expected, rtol=1e-9)
    gradients = pull_back_all(layers, cotangent)
    for name, gradient in pull_back_all(arrays, cotangent, **numbers).items():
        assert np.abs(gradient).max() > 0.1
        assert relative_error(gradient, gradients[name]).max() < 1e-7, name


@pytest.mark.usefixtures("x64")
def test_gradients_solve_the_linear_system_of_a_feed_forward_layer():
    """The layer is the fixed point of a feed-forward one that hears its own spikes.

    With the Jacobian ``J`` of that layer's spikes in the times at which it hears them, gradients
    ``g`` with respect to all spikes become ``(1 - J^T)^-1 g``, and the feed-forward layer carries
    those on.
    """
    options = {"tau_mem": 1.7, "tau_syn": 1.0, "refractory": 0.2, "v_leak": 0.1}
    rng = np.random.default_rng(35)
    spikes = np.sort(rng.uniform(0, 3, (INPUTS, 2)), axis=-1)
    weight = rng.normal(1.5, 1.5, (NEURONS, INPUTS))
    # A neuron would hear its own spike at that very time, as input that comes before it.
    recurrent = rng.normal(0, 1.5, (NEURONS, NEURONS)) * (1 - np.eye(NEURONS))
    common = {"max_spikes": SPIKES, "t_max": 4.0, **options}

    def layer(spikes, weight, recurrent):
        return jax_core.recurrent_lif(spikes, weight, recurrent, **common)

    own, pull_back = jax.vjp(layer, *map(jnp.asarray, (spikes, weight, recurrent)))
    fired = np.isfinite(own)
    assert fired.sum() > 6
    wide = jnp.pad(jnp.asarray(spikes), ((0, 0), (0, SPIKES - 2)), constant_values=jnp.inf)

    def feed_forward(heard, spikes, weight, recurrent):
        everything = jnp.concatenate([spikes, heard])
        return jax_core.lif(everything, jnp.concatenate([weight, recurrent], 1), **common)

    again, pull_back_once = jax.vjp(feed_forward, own, wide, weight, recurrent)
    np.testing.assert_allclose(again, own, rtol=1e-9)
    size = NEURONS * SPIKES
    unit = jnp.eye(size).reshape(size, NEURONS, SPIKES)
    jacobian = jax.vmap(lambda one: pull_back_once(one)[0])(unit).reshape(size, size)
    cotangent = np.where(fired, rng.normal(size=(NEURONS, SPIKES)), 0)
    total = np.linalg.solve(np.eye(size) - np.asarray(jacobian).T, cotangent.ravel())
    _, of_spikes, *others = pull_back_once(jnp.asarray(total.reshape(cotangent.shape)))
    expected = [of_spikes[:, :2], *others]
    for actual, other in zip(pull_back(jnp.asarray(cotangent)), expected, strict=True):
        np.testing.assert_allclose(actual, other, rtol=1e-7, atol=1e-9 * np.abs(other).max())


@pytest.mark.usefixtures("x64")
def test_a_neuron_that_excites_itself_fires_at_the_solved_times():
    """By hand: one input, then only itself. The second spike's derivative has a closed form."""
    tau, w, r = 1.0, 4.0, 3.0
    spikes, weight, recurrent = np.array([[0.5]]), np.array([[w]]), np.array([[r]])

    def second(recurrent):
        options = {"tau_mem": tau, "tau_syn": tau, "max_spikes": 2, "on_overflow": "truncate"}
        return jax_core.recurrent_lif(spikes, weight, recurrent, **options)[0]

    first, after = np.asarray(second(jnp.asarray(recurrent)))
    gradient = float(jax.grad(lambda x: second(x)[1])(jnp.asarray(recurrent))[0, 0])
    u = after - first
    current = w * math.exp(-(first - 0.5)) + r
    assert current * u * math.exp(-u) == pytest.approx(1, rel=1e-12)
    slope = current * (1 - u) * math.exp(-u)
    assert gradient == pytest.approx(-u * math.exp(-u) / slope, rel=1e-12)
