"""Silent, simultaneous, inhibitory and absent inputs; neurons that fire by themselves."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual
from ..reference import Neuron, simulate

pytestmark = pytest.mark.usefixtures("x64")
METHODS = ["eventprop", "fast_and_deep"]
TAUS = {"tau_mem": 2.0, "tau_syn": 1.0}


def value_and_gradients(spikes, weight, constants, **options):
    """Spike times, and what flows back from a cotangent of ones into every output slot."""

    def run(spikes, weight, constants):
        return jax_core.lif(spikes, weight, **constants, **{"on_overflow": "truncate", **options})

    times, pull_back = jax.vjp(run, jnp.asarray(spikes), jnp.asarray(weight), constants)
    return times, pull_back(jnp.ones_like(times))


def constants_of(post, **values):
    defaults = {"v_threshold": 1.0, "v_leak": 0.0, "v_reset": 0.0, "refractory": 0.0, **TAUS}
    return {name: jnp.full(post, value) for name, value in {**defaults, **values}.items()}


@pytest.mark.parametrize("gradient", METHODS)
@pytest.mark.parametrize(
    ("spikes", "weight"),
    [
        ([[0.1], [0.4]], [[0.3, 0.2], [1e-3, 0.0], [0.0, 0.0]]),
        ([[0.1], [0.4]], [[-3.0, -0.2], [-1e-3, 0.0], [-50.0, -50.0]]),
        ([[math.inf], [math.inf]], [[3.0, 2.0], [50.0, 50.0], [9.0, 9.0]]),
        ([[0.0], [0.0]], [[3.0, -3.0], [50.0, -50.0], [1.0, -2.0]]),
    ],
    ids=["too weak", "inhibitory only", "no input spikes", "cancelled at time zero"],
)
def test_silent_neurons_give_inf_and_zero_gradients(spikes, weight, gradient):
    times, gradients = value_and_gradients(
        np.array(spikes), np.array(weight), constants_of(3), gradient=gradient
    )
    assert np.shape(times) == (3, 1)
    assert np.all(np.isinf(times))
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(
    ("spikes", "post", "gradient"),
    usual(
        {((3, 0, 2), 3, "eventprop"), ((3, 4, 2), 0, "eventprop"), ((0, 4, 2), 3, "fast_and_deep")},
        [
            ((0, 4, 2), 3, "eventprop"),
            ((0, 4, 2), 3, "fast_and_deep"),
            ((2, 0, 5, 2), 3, "eventprop"),
            ((3, 0, 2), 3, "eventprop"),
            ((3, 0, 2), 3, "fast_and_deep"),
            ((3, 4, 0), 3, "eventprop"),
            ((3, 4, 2), 0, "eventprop"),
        ],
    ),
)
def test_empty_inputs_give_empty_or_silent_results(spikes, post, gradient):
    times, gradients = value_and_gradients(
        np.full(spikes, 0.1),
        np.ones((post, spikes[-2])),
        constants_of(post),
        gradient=gradient,
    )
    assert np.shape(times) == (*spikes[:-2], post, 1)
    assert np.all(np.isinf(times))
    assert gradients[0].shape == spikes
    assert gradients[1].shape == (post, spikes[-2])
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("spikes", usual([[3, 0, 2]], [[0, 4, 2], [3, 0, 2], [3, 4, 0]]))
def test_empty_inputs_have_a_health_report_and_a_trace(spikes):
    weight = np.ones((2, spikes[1]))
    _, health = jax_core.lif(np.full(spikes, 0.1), weight, return_health=True, **TAUS)
    assert np.all(np.asarray(health.silent) == spikes[0])
    assert np.all(np.asarray(health.grazing) == 0)
    assert np.all(np.asarray(health.overflow) == 0)
    trace = jax_core.lif_trace(np.full(spikes, 0.1), weight, np.linspace(0, 1, 5), **TAUS)
    assert trace.shape == (spikes[0], 2, 5)
    assert np.all(np.asarray(trace) == 0)


@pytest.mark.parametrize("gradient", METHODS)
def test_neurons_without_input_that_leak_over_threshold(gradient):
    """T = tau_mem ln((v_leak - v_reset) / (v_leak - v_threshold)), with all its derivatives."""
    constants = constants_of(1, v_leak=1.5, v_reset=-0.5)
    times, (_, _, gradients) = value_and_gradients(
        np.zeros((0, 1)), np.zeros((1, 0)), constants, gradient=gradient
    )
    np.testing.assert_allclose(times, [[2 * math.log(4)]], rtol=1e-14)
    expected = {
        "tau_mem": math.log(4),
        "tau_syn": 0.0,
        "v_threshold": 2 / 0.5,
        "v_leak": 2 / 2.0 - 2 / 0.5,
        "v_reset": -2 / 2.0,
        "refractory": 0.0,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(gradients[name], [value], rtol=1e-12, err_msg=name)


def test_tonic_firing_has_the_textbook_period_and_gradients():
    constants = constants_of(1, v_leak=1.5, v_reset=-0.5, refractory=0.25)
    times, (_, _, gradients) = value_and_gradients(
        np.full((1, 1), np.inf), np.ones((1, 1)), constants, max_spikes=4, t_max=14.0
    )
    period = 2 * math.log(4) + 0.25
    np.testing.assert_allclose(times[0], 2 * math.log(4) + period * np.arange(4), rtol=1e-14)
    # The cotangent is one for each of the four spikes.
    np.testing.assert_allclose(gradients["tau_mem"], [10 * math.log(4)], rtol=1e-12)
    np.testing.assert_allclose(gradients["refractory"], [6.0], rtol=1e-12)
    np.testing.assert_allclose(gradients["v_threshold"], [10 * 2 / 0.5], rtol=1e-12)


@pytest.mark.parametrize("gradient", METHODS)
def test_simultaneous_inputs_share_the_gradient_of_their_sum(gradient):
    together = value_and_gradients(
        np.array([[0.3]]), np.array([[5.0]]), constants_of(1), gradient=gradient
    )
    split = value_and_gradients(
        np.array([[0.3], [0.3]]), np.array([[2.0, 3.0]]), constants_of(1), gradient=gradient
    )
    np.testing.assert_allclose(split[0], together[0], rtol=1e-14)
    (to_time, to_weight, _), (to_times, to_weights, _) = together[1], split[1]
    np.testing.assert_allclose(to_weights, np.repeat(to_weight, 2, axis=1), rtol=1e-12)
    np.testing.assert_allclose(
        to_times[:, 0], [0.4 * to_time[0, 0], 0.6 * to_time[0, 0]], rtol=1e-12
    )
    np.testing.assert_allclose(to_time, [[1.0]], rtol=1e-12)


@pytest.mark.parametrize("gradient", METHODS)
def test_input_at_time_zero(gradient):
    times, (to_spikes, to_weight, _) = value_and_gradients(
        np.array([[0.0]]), np.array([[5.0]]), constants_of(1), gradient=gradient
    )
    expected = simulate(Neuron(**TAUS), [0.0], [5.0])
    np.testing.assert_allclose(times, [expected.spikes], rtol=1e-14)
    np.testing.assert_allclose(to_spikes, [[1.0]], rtol=1e-12)
    assert to_weight[0, 0] < 0


def test_huge_and_tiny_weights_and_times_stay_finite():
    spikes = np.array([[1e-12], [1e6]])
    weight = np.array([[1e12, -1e12], [-1e12, 1e12], [1e-300, 1e-300], [0.0, 2e3]])
    times, gradients = value_and_gradients(spikes, weight, constants_of(4), max_spikes=2)
    for row, actual in zip(weight, np.asarray(times), strict=True):
        run = simulate(Neuron(**TAUS), spikes.ravel().tolist(), row.tolist(), max_spikes=2)
        expected = run.spikes + [math.inf] * (2 - len(run.spikes))
        np.testing.assert_allclose(actual, expected, rtol=1e-12)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))
