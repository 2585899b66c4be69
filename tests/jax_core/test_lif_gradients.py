"""EventProp gradients of feed-forward layers against finite differences of the reference."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual
from ..reference import CONSTANTS, Neuron, central_difference, random_networks, simulate
from ._layers import arguments, layer, pull_back_all, relative_error

STEP = 2e-4
# A perturbation of a few steps neither adds nor removes a spike, nor moves one across an input,
# where gradients jump; the fourth-order remainder of the difference stays below its tolerance.
SMOOTH = {"margin": 0.03, "gap": 5e-3}
LARGEST_CONDITION = 60


def smooth(networks):
    """The networks whose gradients finite differences can tell to 1e-6."""
    keep = (networks.measure("condition") < LARGEST_CONDITION).all(axis=1)
    for name, bound in SMOOTH.items():
        keep &= (networks.measure(name) > bound).all(axis=1)
    return networks.select(keep)


def finite_differences(networks, cotangent):
    """Gradients of ``sum(cotangent * spike times)`` of the reference, in all arguments."""
    slots = networks.spikes.shape[2]
    spikes = np.zeros(networks.spikes.shape)
    weight = np.zeros(networks.weight.shape)
    constants = {name: np.zeros(value.shape) for name, value in networks.constants.items()}
    for b, post in np.ndindex(weight.shape[:2]):
        neuron, fired = networks.neuron(b, post), len(networks.runs[b][post].spikes)
        seeds = cotangent[b, post, :fired]

        def loss(times, weights, neuron=neuron, seeds=seeds):
            run = simulate(
                neuron,
                times.ravel().tolist(),
                np.repeat(weights, slots).tolist(),
                networks.max_spikes,
                networks.t_max,
            )
            assert len(run.spikes) == len(seeds)
            return float(np.dot(seeds, run.spikes))

        times, weights = networks.spikes[b], networks.weight[b, post]
        present = np.isfinite(times)

        def at_times(some, times=times, present=present, weights=weights, loss=loss):
            moved = times.copy()
            moved[present] = some
            return loss(moved, weights)

        if fired:
            spikes[b][present] += central_difference(at_times, times[present], STEP)
            weight[b, post] = central_difference(lambda w, x=times, f=loss: f(x, w), weights, STEP)
        for name in CONSTANTS:
            value = getattr(neuron, name)
            # `refractory = 0` is a boundary, and `inf` cannot be perturbed.
            if fired and not (name == "refractory" and value in (0.0, math.inf)):
                constants[name][b, post] = central_difference(
                    lambda c, n=neuron, k=name, f=loss, x=times, w=weights: f(
                        x, w, dataclasses.replace(n, **{k: float(c)})
                    ),
                    np.array(value),
                    STEP,
                )
    return spikes, weight, constants


@pytest.fixture(scope="module")
def checked():
    """Networks, cotangents, and gradients by finite differences."""
    drawn = random_networks(seed=21, networks=250, post=3, max_spikes=3, t_max=8.0)
    networks = smooth(drawn)
    assert len(networks.weight) > 80
    cotangent = np.random.default_rng(22).normal(size=networks.spike_times.shape)
    return networks, cotangent, finite_differences(networks, cotangent)


@pytest.mark.usefixtures("x64")
def test_gradients_equal_finite_differences_of_the_reference(checked):
    networks, cotangent, (spikes, weight, constants) = checked
    actual_spikes, actual_weight, actual = pull_back_all(networks, cotangent)
    assert relative_error(actual_spikes, spikes).max() < 1e-6
    assert relative_error(actual_weight, weight).max() < 1e-6
    for name in ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset"):
        assert relative_error(actual[name], constants[name]).max() < 1e-6, name
    refractory = networks.constants["refractory"]
    interior = (refractory > 0) & np.isfinite(refractory)
    compared = np.where(interior, actual["refractory"], 0)
    assert relative_error(compared, constants["refractory"]).max() < 1e-6
    assert np.all(actual["refractory"][np.isinf(refractory)] == 0)
    # The comparison has to be about something: several spikes, resets, and every constant.
    assert np.isfinite(networks.spike_times[..., -1]).mean() > 0.2
    assert all(np.count_nonzero(constants[name]) > 20 for name in CONSTANTS)


@pytest.mark.usefixtures("x64")
def test_refractory_gradient_at_zero_is_the_derivative_to_the_right():
    networks = smooth(
        random_networks(seed=23, networks=80, post=3, max_spikes=3, fixed={"refractory": 0.0})
    )
    cotangent = np.random.default_rng(24).normal(size=networks.spike_times.shape)
    actual = pull_back_all(networks, cotangent)[2]["refractory"]
    expected = np.zeros_like(actual)
    for b, post in np.ndindex(expected.shape):
        fired = len(networks.runs[b][post].spikes)

        def loss(refractory, b=b, post=post, fired=fired):
            constants = dict(networks.constants)
            constants["refractory"] = np.full_like(constants["refractory"], refractory)
            run = dataclasses.replace(networks, constants=constants).run(b, post)
            assert len(run.spikes) == fired
            return float(np.dot(cotangent[b, post, :fired], run.spikes))

        ahead = [loss(steps * STEP) for steps in range(5)]
        # The five-point one-sided difference, also of fourth order.
        expected[b, post] = np.dot([-25, 48, -36, 16, -3], ahead) / (12 * STEP)
    assert np.count_nonzero(expected) > 50
    assert relative_error(actual, expected).max() < 1e-6


@pytest.mark.usefixtures("x64")
def test_absent_spikes_have_exactly_zero_gradients(checked):
    networks, cotangent, _ = checked
    spikes, weight, constants = pull_back_all(networks, cotangent)
    assert np.isinf(networks.spikes).any()
    assert np.all(spikes[np.isinf(networks.spikes)] == 0)
    silent = np.isinf(networks.spike_times).all(axis=-1)
    assert silent.any()
    assert np.all(weight[silent] == 0)
    assert all(np.all(gradient[silent] == 0) for gradient in constants.values())
    # Whatever flows back into an absent output spike goes nowhere.
    nowhere = np.where(np.isinf(networks.spike_times), cotangent, 0)
    for gradient in jax.tree.leaves(pull_back_all(networks, nowhere)):
        assert np.all(gradient == 0)


def loss(run, weight, spikes, constants):
    times = run(spikes, weight, constants)
    return jnp.sum(jnp.where(jnp.isfinite(times), times**2, 0))


@pytest.mark.usefixtures("x64")
def test_gradients_are_the_same_eagerly_and_under_jit_and_vmap():
    networks = random_networks(seed=26, networks=8, post=3, max_spikes=2)
    spikes, weight, constants = jax.tree.map(jnp.asarray, arguments(networks))
    gradient = jax.grad(functools.partial(loss, layer(networks)))
    eager = gradient(weight[0], spikes[0], {name: value[0] for name, value in constants.items()})
    outside = jax.vmap(jax.jit(gradient))(weight, spikes, constants)
    inside = jax.jit(jax.vmap(gradient))(weight, spikes, constants)
    assert np.abs(eager).max() > 0.1
    np.testing.assert_allclose(eager, outside[0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(inside, outside, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("tau_mem", usual({1.0, 2.0}, [1.0, 2.0, 3.0]))
def test_constants_given_as_numbers_have_the_gradients_of_arrays(tau_mem):
    numbers = {"tau_mem": tau_mem, "tau_syn": 1.0, "v_leak": 0.1, "v_reset": -0.2}
    numbers |= {"v_threshold": 0.9, "refractory": 0.0}
    networks = random_networks(seed=27, networks=20, post=3, max_spikes=2, fixed=numbers)
    cotangent = np.random.default_rng(27).normal(size=networks.spike_times.shape)
    run = layer(networks)

    def pull_back(spikes, weight, cotangent):
        return jax.vjp(lambda s, w: run(s, w, numbers), spikes, weight)[1](cotangent)

    given = networks.spikes, networks.weight, cotangent
    expected = pull_back_all(networks, cotangent)[:2]
    assert min(np.abs(gradient).max() for gradient in expected) > 0.1
    for one, other in zip(jax.jit(jax.vmap(pull_back))(*given), expected, strict=True):
        assert relative_error(np.asarray(one), other).max() < 1e-8


@pytest.mark.usefixtures("x64")
def test_constants_shared_by_all_neurons_get_the_sum_of_their_gradients():
    networks = random_networks(seed=28, networks=1, post=3, max_spikes=2, t_max=6.0)
    gradient = jax.grad(functools.partial(loss, layer(networks)), argnums=2)
    values = {
        "tau_mem": 1.6,
        "tau_syn": 0.9,
        "v_threshold": 1.1,
        "v_leak": 0.1,
        "v_reset": 0.05,
        "refractory": 0.2,
    }
    given = networks.weight[0], networks.spikes[0]
    one = gradient(*given, {name: jnp.asarray(value) for name, value in values.items()})
    each = gradient(*given, {name: jnp.full(3, value) for name, value in values.items()})
    for name in CONSTANTS:
        assert one[name].shape == ()
        assert one[name] != 0
        np.testing.assert_allclose(one[name], jnp.sum(each[name]), rtol=1e-10, err_msg=name)


@pytest.mark.thorough
@pytest.mark.usefixtures("x64")
def test_batch_gradient_is_the_sum_over_samples():
    networks = smooth(random_networks(seed=25, networks=10, post=3, max_spikes=2))
    weight, constants = networks.weight[0], {k: v[0] for k, v in networks.constants.items()}
    gradient = jax.jit(jax.grad(functools.partial(loss, layer(networks)), argnums=(0, 2)))
    together = gradient(jnp.asarray(weight), networks.spikes, constants)
    single = [gradient(jnp.asarray(weight), spikes, constants) for spikes in networks.spikes]
    summed = jax.tree.map(lambda *parts: sum(parts), *single)
    for actual, expected in zip(jax.tree.leaves(together), jax.tree.leaves(summed), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("gradient", ["eventprop", "fast_and_deep"])
def test_two_layers_chain(rng, gradient):
    """Gradients through two layers against finite differences of two reference layers."""
    spikes = rng.uniform(0.1, 1.5, (5, 1))
    first, second = rng.uniform(0.6, 2.0, (4, 5)), rng.uniform(0.6, 2.0, (3, 4))
    constants = {"tau_mem": 1.7, "tau_syn": 1.0, "refractory": math.inf}
    neuron = Neuron(**constants)

    def reference_layer(times, weight):
        spike_lists = [simulate(neuron, times, row.tolist()).spikes for row in weight]
        return [fired[0] if fired else math.inf for fired in spike_lists]

    def reference_loss(spikes, first, second):
        hidden = reference_layer(spikes.ravel().tolist(), first)
        return float(np.dot([1.0, -2.0, 0.7], reference_layer(hidden, second)))

    def loss(spikes, first, second):
        hidden = jax_core.lif(spikes, first, gradient=gradient, **constants)
        output = jax_core.lif(hidden, second, gradient=gradient, **constants)
        return jnp.dot(jnp.array([1.0, -2.0, 0.7]), output[:, 0])

    given = (spikes, first, second)
    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(*given)
    assert float(value) == pytest.approx(reference_loss(*given), rel=1e-12)
    for at, actual in enumerate(gradients):
        expected = central_difference(
            lambda x, at=at: reference_loss(*given[:at], x, *given[at + 1 :]), given[at], STEP
        )
        assert np.abs(actual - expected).max() < 1e-6 * np.abs(expected).max()
        assert np.any(expected != 0)
