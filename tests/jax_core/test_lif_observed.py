"""Gradients from observed spikes: the simulation's own where they agree, finite everywhere."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core.simulate._currents import currents_at
from evtorch.jax_core.simulate._events import Input

from .._thorough import usual

INF = math.inf
CASES = {
    "once": {"refractory": INF, "max_spikes": 1},
    "once, wide": {"refractory": INF, "max_spikes": 3},
    "once, general ratio": {"refractory": INF, "max_spikes": 1, "tau_mem": 1.3e-2},
    "once, equal": {"refractory": INF, "max_spikes": 1, "tau_mem": 1e-2},
    "several": {"max_spikes": 6},
    "several, refractory": {"max_spikes": 6, "refractory": 3e-3, "tau_mem": 1.7e-2},
    "tonic": {"max_spikes": 6, "v_leak": 1.2, "v_reset": -0.3, "refractory": 1e-3},
    "per neuron": {"max_spikes": 6, "per_neuron": True},
}


def problem(rng, dtype, batch=7, inputs=6, out=5, slots=2, per_neuron=False, **constants):
    """Random spikes, weights, cotangents and constants as arrays of ``dtype``."""
    spikes = np.sort(rng.uniform(0, 2e-2, (batch, inputs, slots)), axis=-1).astype(dtype)
    spikes[rng.uniform(size=(batch, inputs)) < 0.2] = INF
    weight = rng.normal(2.0, 2.0, (out, inputs)).astype(dtype)
    if per_neuron:
        constants |= {
            "tau_mem": rng.uniform(5e-3, 3e-2, out).astype(dtype),
            "tau_syn": rng.uniform(5e-3, 2e-2, out).astype(dtype),
            "v_threshold": rng.uniform(0.5, 1.5, out).astype(dtype),
            "v_leak": rng.uniform(-0.2, 0.2, out).astype(dtype),
            "v_reset": rng.uniform(-0.5, 0.0, out).astype(dtype),
            "refractory": rng.uniform(0, 3e-3, out).astype(dtype),
        }
    width = constants.pop("max_spikes", 1)
    cotangent = rng.normal(size=(batch, out, width)).astype(dtype)
    return spikes, weight, constants, width, cotangent


def gradients(function, spikes, weight, constants, cotangent, **settings):
    """The result, and its gradients in spikes, weights and all constants given as arrays."""
    arrays = {k: v for k, v in constants.items() if isinstance(v, np.ndarray)}
    numbers = {k: v for k, v in constants.items() if k not in arrays}

    def run(spikes, weight, arrays):
        return function(spikes, weight, **arrays, **numbers, **settings)

    out, pull_back = jax.vjp(run, jnp.asarray(spikes), jnp.asarray(weight), arrays)
    return out, pull_back(jnp.asarray(cotangent))


def both(problem, **settings):
    """Simulated and observed results on the simulated spikes."""
    spikes, weight, constants, width, cotangent = problem
    simulated = gradients(
        jax_core.lif,
        spikes,
        weight,
        constants,
        cotangent,
        max_spikes=width,
        on_overflow="truncate",
        **settings,
    )

    def observe(*arguments, **options):
        return jax_core.lif_observed(*arguments[:2], simulated[0], **options)

    return simulated, gradients(observe, spikes, weight, constants, cotangent, **settings)


def assert_bitwise(simulated, observed):
    left, right = jax.tree.leaves(simulated), jax.tree.leaves(observed)
    assert len(left) == len(right) >= 3
    for a, b in zip(left, right, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("case", "dtype"),
    usual(
        {("several, refractory", np.float64)},
        [(case, dtype) for dtype in (np.float32, np.float64) for case in CASES],
    ),
)
def test_simulated_spikes_give_the_simulations_gradients_to_the_last_bit(case, dtype, rng):
    with jax.enable_x64(dtype == np.float64):
        given = problem(rng, dtype, **CASES[case])
        simulated, observed = both(given)
        assert np.isfinite(simulated[0]).any()
        assert np.abs(simulated[1][1]).max() > 0
        assert_bitwise(simulated, observed)


def test_bitwise_for_events_and_with_large_layers(rng):
    spikes, weight, constants, width, cotangent = problem(
        rng, np.float32, batch=3, inputs=60, out=40, slots=1, refractory=INF
    )
    events = jax_core.events_from_spike_times(jnp.asarray(spikes))
    out = jax_core.lif(events, weight, **constants, max_spikes=width)

    def loss(weight, function, *more, **options):
        out = function(events, weight, *more, **constants, **options)
        return jnp.sum(jnp.where(jnp.isfinite(out), out * cotangent, 0))

    simulated = jax.grad(loss)(jnp.asarray(weight), jax_core.lif)
    observed = jax.grad(loss)(jnp.asarray(weight), jax_core.lif_observed, out)
    np.testing.assert_array_equal(np.asarray(simulated), np.asarray(observed))


@pytest.mark.parametrize("ratio", usual({1.0}, [1.0, 1.3, 2.0]))
def test_fast_and_deep_agrees_on_simulated_spikes(ratio, x64, rng):
    given = problem(rng, np.float64, refractory=INF, tau_mem=ratio * 1e-2)
    simulated, observed = both(given, gradient="fast_and_deep")
    for a, b in zip(jax.tree.leaves(simulated), jax.tree.leaves(observed), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-15)


def test_the_two_methods_agree_on_shifted_spikes(x64, rng):
    spikes, weight, constants, _, cotangent = problem(rng, np.float64, refractory=INF)
    out = np.asarray(jax_core.lif(spikes, weight, **constants))
    moved = out + rng.normal(0, 5e-4, out.shape).clip(-1e-3, 1e-3)

    def observe(spikes, weight, **options):
        return jax_core.lif_observed(spikes, weight, moved, **options)

    first, second = (
        gradients(observe, spikes, weight, constants, cotangent, gradient=method)
        for method in ("eventprop", "fast_and_deep")
    )
    np.testing.assert_array_equal(first[0], moved)
    assert np.abs(np.asarray(first[1][1])).max() > 0
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-13)


def test_gradient_is_that_of_a_model_whose_threshold_was_reached_there(x64):
    """A spike observed at T has the derivative of the crossing of the voltage at T.

    A neuron from rest whose threshold is moved to its own voltage at T spikes at T in simulation.
    EventProp then differs by the slope alone, which takes the threshold from the model.
    """
    spikes = jnp.array([[1e-3], [4e-3], [6e-3]])
    weight = jnp.array([[3.0, -0.5, 2.0]])
    observed = jnp.array([[5.2e-3]])
    voltage = jax_core.lif_trace(spikes, weight, observed[0], v_threshold=50.0, refractory=INF)

    def simulated(weight, spikes):
        return jax_core.lif(spikes, weight, v_threshold=voltage[0], refractory=INF).sum()

    def measured(weight, spikes):
        return jax_core.lif_observed(spikes, weight, observed, refractory=INF).sum()

    assert simulated(weight, spikes) == pytest.approx(5.2e-3)
    # tau_mem = 2 tau_syn by default: currents at T in closed form.
    current = 3.0 * math.exp(-4.2e-3 / 1e-2) - 0.5 * math.exp(-1.2e-3 / 1e-2)
    factor = (current - float(voltage[0, 0])) / (current - 1.0)
    step = 1e-7
    for argument in (0, 1):
        exact = np.asarray(jax.grad(measured, argument)(weight, spikes))
        for place in np.ndindex(exact.shape):
            values = []
            for sign in (1, -1):
                arguments = [weight, spikes]
                arguments[argument] = arguments[argument].at[place].add(sign * step)
                values.append(float(simulated(*arguments)))
            difference = (values[0] - values[1]) / (2 * step) * factor
            assert exact[place] == pytest.approx(difference, rel=1e-5, abs=1e-9)


def test_unpredicted_spikes_have_no_gradient_and_are_counted(rng):
    spikes = jnp.array([[[5e-3]], [[5e-3]], [[5e-3]]])
    weight = jnp.array([[6.0], [-1.0]])
    # Before any input, long after it, at a good place; the inhibited neuron never.
    observed = jnp.array([[[1e-3], [6e-3]], [[9e-2], [INF]], [[7e-3], [INF]]])

    def run(weight, spikes):
        return jax_core.lif_observed(spikes, weight, observed, refractory=INF, return_health=True)

    out, health = run(weight, spikes)
    np.testing.assert_array_equal(out, observed)
    assert health.unpredicted.tolist() == [2, 1]
    assert health.silent.tolist() == [0, 2]
    assert health.grazing.tolist() == [0, 0]
    assert health.missing is None
    _, pull_back, _ = jax.vjp(run, weight, spikes, has_aux=True)
    weight_bar, spikes_bar = pull_back(jnp.ones_like(out))
    assert (np.asarray(weight_bar) != 0).tolist() == [[True], [False]]
    assert (np.asarray(spikes_bar)[:, 0, 0] != 0).tolist() == [False, False, True]


def test_missing_spikes_are_counted_when_asked():
    spikes = jnp.zeros((2, 1, 1))
    weight = jnp.array([[10.0], [10.0]])
    observed = jnp.array([[[INF], [2e-3]], [[INF], [INF]]])
    _, health = jax_core.lif_observed(
        spikes, weight, observed, refractory=INF, count_missing=True, return_health=True
    )
    assert health.missing.tolist() == [2, 1]
    _, health = jax_core.lif_observed(
        spikes, weight, observed, refractory=INF, t_max=1e-6, count_missing=True, return_health=True
    )
    assert health.missing.tolist() == [0, 0]


@pytest.mark.parametrize(
    "case",
    usual(
        {"several, refractory", "per neuron"},
        ["several", "several, refractory", "tonic", "per neuron", "once"],
    ),
)
def test_gradients_of_any_observation_are_finite(case, rng):
    spikes, weight, constants, width, cotangent = problem(rng, np.float32, **CASES[case])
    width = max(width, 2)
    observed = np.sort(rng.uniform(0, 3e-2, (7, 5, width)), axis=-1).astype(np.float32)
    observed[rng.uniform(size=observed.shape) < 0.3] = INF
    observed = np.sort(observed, axis=-1)
    cotangent = rng.normal(size=observed.shape).astype(np.float32)

    def observe(spikes, weight, **options):
        return jax_core.lif_observed(spikes, weight, observed, **options)

    out, bars = gradients(observe, spikes, weight, constants, cotangent)
    np.testing.assert_array_equal(out, observed)
    assert all(np.isfinite(bar).all() for bar in jax.tree.leaves(bars))
    assert np.abs(np.asarray(bars[1])).max() > 0
    _, health = jax_core.lif_observed(spikes, weight, observed, **constants, return_health=True)
    assert (np.asarray(health.unpredicted) <= np.isfinite(observed).sum(axis=(0, 2))).all()
    assert health.unpredicted.sum() > 0


def test_spikes_within_the_refractory_period_are_unpredicted():
    spikes, weight = jnp.zeros((1, 1)), jnp.array([[20.0]])
    observed = jnp.array([[1e-3, 2e-3, 8e-3]])
    for refractory, expected in ((0.0, 0), (3e-3, 1), (INF, 2)):
        _, health = jax_core.lif_observed(
            spikes, weight, observed, refractory=refractory, return_health=True
        )
        assert health.unpredicted.tolist() == [expected]
        bar = jax.grad(
            lambda w, refractory=refractory: (
                jax_core.lif_observed(spikes, w, observed, refractory=refractory) * 1.0
            )[0, 1:2].sum()
        )(weight)
        assert (bar[0, 0] != 0) == (expected == 0)


def test_currents_do_not_depend_on_the_order_of_simultaneous_events_and_spikes(x64):
    events = Input(jnp.array([[1e-3, 2e-3, 2e-3]]), jnp.array([[0, 1, 0]], jnp.int32))
    weight = jnp.array([[1.0, 2.0]])
    time = jnp.array([[[2e-3, 2e-3, 4e-3]]])
    current = currents_at(events, weight, jnp.asarray(1e-2), time)[0, 0]
    at_two = math.exp(-0.1) + 3
    np.testing.assert_allclose(current, [at_two, at_two, at_two * math.exp(-0.2)], rtol=1e-14)


def test_no_room_for_spikes_is_no_error():
    out = jax_core.lif_observed(jnp.zeros((2, 1, 1)), jnp.ones((3, 1)), jnp.zeros((2, 3, 0)))
    assert out.shape == (2, 3, 0)


@pytest.mark.parametrize(
    ("observed", "message"),
    [
        (np.array([[[np.nan]]], np.float32), "observed"),
        (np.array([[[2e-3, 1e-3]]], np.float32), "observed"),
        (np.array([[[-1.0]]], np.float32), "observed"),
        (np.zeros((1, 2, 1), np.float32), "2 neurons"),
        (np.zeros((2, 1, 1), np.float32), "leading dimensions"),
    ],
)
def test_bad_observations_are_refused(observed, message):
    with pytest.raises(ValueError, match=message):
        jax_core.lif_observed(jnp.zeros((1, 1, 1)), jnp.ones((1, 1)), observed)


def test_wrong_dtype_and_method_are_refused(x64):
    spikes, weight = jnp.zeros((1, 1, 1)), jnp.ones((1, 1))
    with pytest.raises(TypeError, match="observed is float32"):
        jax_core.lif_observed(spikes, weight, np.zeros((1, 1, 1), np.float32))
    with pytest.raises(ValueError, match="first spikes only"):
        jax_core.lif_observed(spikes, weight, np.zeros((1, 1, 2)), gradient="fast_and_deep")
