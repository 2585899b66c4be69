"""Gradients of read-outs of leaky integrators against finite differences and known cases."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual
from ._readouts import (
    READOUTS,
    Problem,
    as_arrays,
    evaluate,
    finite_differences,
    pull_back,
    random_problems,
    readout,
)

TAUS = {"tau_mem": 0.8, "tau_syn": 0.3}


@pytest.mark.parametrize(
    ("name", "shared"),
    usual(
        {
            ("value", False),
            ("integral", True),
            ("weighted integral", False),
            ("maximum", False),
            ("endless maximum", False),
        },
        [
            *((name, False) for name in READOUTS),
            ("value", True),
            ("integral", True),
            ("maximum", True),
        ],
    ),
)
def test_gradients_agree_with_finite_differences(x64, rng, name, shared):
    count, step = 20, 1e-4
    problems = random_problems(rng, count, shared)
    cotangents = rng.normal(size=evaluate(name)(*problems).shape)
    forms = (False, True) if name in ("value", "maximum") and not shared else (False,)
    gradients = [pull_back(name, as_events)(problems, cotangents) for as_events in forms]
    for i in range(count):
        problem = Problem(*(x[i] for x in problems))
        if _has_close_events(problem, 5 * step):
            continue
        expected = finite_differences(name, problem, cotangents[i], step)
        for actual in gradients:
            for field, gradient, slope in zip(Problem._fields, actual, expected, strict=True):
                np.testing.assert_allclose(
                    gradient[i], slope, rtol=1e-6, atol=2e-8, err_msg=f"{field} of problem {i}"
                )


@pytest.mark.parametrize(
    "name",
    usual(
        {"maximum", "weighted integral"},
        ["value", "weighted integral", "maximum", "endless maximum"],
    ),
)
def test_second_derivatives_agree_with_finite_differences(x64, rng, name):
    problems = random_problems(rng, 30)
    cotangents = rng.normal(size=evaluate(name)(*problems).shape)
    directions = Problem(*(rng.normal(size=x.shape) for x in problems))
    directions = directions._replace(
        spikes=np.where(np.isfinite(problems.spikes), directions.spikes, 0)
    )

    def gradients(*problem):
        return pull_back(name)(Problem(*problem), cotangents)

    _, actual = jax.jvp(gradients, problems, directions)
    step = 1e-6
    ahead, back = (
        gradients(*(x + sign * step * d for x, d in zip(problems, directions, strict=True)))
        for sign in (1, -1)
    )
    for field, derivative, one, other in zip(Problem._fields, actual, ahead, back, strict=True):
        expected = (np.asarray(one) - np.asarray(other)) / (2 * step)
        np.testing.assert_allclose(derivative, expected, rtol=1e-5, atol=1e-6, err_msg=field)
    assert np.abs(actual.spikes).max() > 1


def _has_close_events(problem, distance):
    """Whether a finite difference would swap two events, which have a kink where they meet."""
    times = np.concatenate([np.ravel(problem.spikes), problem.times, [1.3]])
    return np.min(np.diff(np.sort(times[np.isfinite(times)]))) < distance


@pytest.mark.parametrize("name", ["value", "integral", "weighted integral", "endless maximum"])
def test_float32_gradients_are_those_of_float64(rng, name):
    problems = random_problems(rng, 30)
    with jax.enable_x64(True):
        shape = evaluate(name)(*problems).shape
        cotangents = rng.normal(size=shape)
        expected = pull_back(name)(problems, cotangents)
    actual = pull_back(name)(as_arrays(problems, jnp.float32), cotangents.astype(np.float32))
    for gradient, exact in zip(actual, expected, strict=True):
        assert gradient.dtype == jnp.float32
        gradient, reference = np.asarray(gradient, float), np.asarray(exact)
        scale = 1 + np.max(np.abs(reference))
        np.testing.assert_allclose(gradient / scale, reference / scale, rtol=0, atol=2e-5)


def peak(spikes, weight, t_max=math.inf, **constants):
    return jax_core.li_max(spikes, weight, **{**TAUS, **constants}, t_max=t_max)[0]


def differentiate_peak(spikes, weight, t_max=math.inf):
    """Gradients and central differences of the maximum in times and weights."""
    gradients = jax.grad(peak, argnums=(0, 1))(spikes, weight, t_max)

    def slope(function, x):
        steps = 1e-6 * np.eye(x.size).reshape(x.size, *x.shape)
        differences = [function(x + step) - function(x - step) for step in steps]
        return np.reshape(np.array(differences) / 2e-6, x.shape)

    numeric = (
        slope(lambda x: peak(x, weight, t_max), spikes),
        slope(lambda x: peak(spikes, x, t_max), weight),
    )
    return gradients, numeric


def test_a_peak_cut_off_by_an_inhibitory_spike_moves_with_it(x64):
    spikes, weight = np.array([[0.1], [0.25]]), np.array([[1.0, -5.0]])
    gradients, numeric = differentiate_peak(spikes, weight)
    for gradient, slope in zip(gradients, numeric, strict=True):
        np.testing.assert_allclose(gradient, slope, rtol=1e-8, atol=1e-9)
    u, tau_mem, tau_syn = 0.15, TAUS["tau_mem"], TAUS["tau_syn"]
    scale = tau_syn / (tau_mem - tau_syn)
    rise = scale * (math.exp(-u / tau_syn) / tau_syn - math.exp(-u / tau_mem) / tau_mem)
    np.testing.assert_allclose(gradients[0], [[-rise], [rise]], rtol=1e-12)


def test_a_spike_after_the_peak_has_no_gradient(x64):
    spikes, weight = np.array([[0.1], [3.0]]), np.array([[1.0, -5.0]])
    gradients, numeric = differentiate_peak(spikes, weight)
    np.testing.assert_allclose(gradients[1], numeric[1], rtol=1e-8)
    # A peak of one spike moves with it, at the same height.
    np.testing.assert_allclose(gradients[0], [[0.0], [0.0]], atol=1e-15)
    assert gradients[1][0, 1] == 0


def test_a_peak_at_the_end_of_the_window_stays_there(x64):
    spikes, weight = np.array([[0.1]]), np.array([[1.0]])
    gradients, numeric = differentiate_peak(spikes, weight, t_max=0.2)
    assert gradients[0][0, 0] < -0.5
    for gradient, slope in zip(gradients, numeric, strict=True):
        np.testing.assert_allclose(gradient, slope, rtol=1e-8)


def test_the_start_is_the_peak_of_an_inhibited_neuron(x64):
    spikes, weight = np.array([[0.1]]), np.array([[-1.0]])
    assert peak(spikes, weight, v_leak=0.3) == 0.3
    gradients = jax.grad(lambda s, w, v: peak(s, w, v_leak=v), argnums=(0, 1, 2))(
        spikes, weight, 0.3
    )
    assert [np.sum(np.abs(g)) for g in gradients] == [0, 0, 1]


@pytest.mark.parametrize("weight", [[1.0, -3.0, -4.0], [1.0, -0.1, -4.0], [1.0, -0.1, 0.2]])
def test_coincident_events_have_a_one_sided_derivative(x64, weight):
    """In the order of the input, the derivative towards keeping that order is the gradient."""
    spikes, weight = np.array([[0.1], [0.25], [0.25]]), np.array([weight])
    gradient = jax.grad(peak)(spikes, weight)
    for neuron, direction in ((1, -1e-7), (2, 1e-7)):
        moved = spikes + direction * np.eye(3)[:, neuron : neuron + 1]
        slope = (peak(moved, weight) - peak(spikes, weight)) / direction
        np.testing.assert_allclose(gradient[neuron, 0], slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", usual({"maximum"}, ["value", "weighted integral", "maximum"]))
def test_splitting_a_spike_in_two_changes_nothing(x64, rng, name):
    spikes = np.sort(rng.uniform(0, 1, (4, 3)), axis=-1)
    weight, taus = rng.normal(size=(2, 4)), (0.5, 0.2, 0.1)
    times = np.linspace(0, 2, 5)
    run = readout(name, False)
    whole, back = jax.vjp(lambda s, w: run(s, w, *taus, times), spikes, weight)
    upstream = rng.normal(size=whole.shape)
    twice = (np.concatenate([spikes, spikes]), np.concatenate([weight, weight], axis=1) / 2)
    halves, back_halves = jax.vjp(lambda s, w: run(s, w, *taus, times), *twice)
    np.testing.assert_allclose(halves, whole, rtol=0, atol=1e-14)
    by_time, by_weight = back(upstream)
    halves_by_time, halves_by_weight = back_halves(upstream)
    np.testing.assert_allclose(halves_by_time[:4] + halves_by_time[4:], by_time, atol=1e-13)
    np.testing.assert_allclose(halves_by_weight[:, :4], by_weight, atol=1e-13)
    np.testing.assert_allclose(halves_by_weight[:, 4:], by_weight, atol=1e-13)


@pytest.mark.parametrize("name", ["value", "integral", "weighted integral", "maximum"])
@pytest.mark.parametrize("as_events", [False, True], ids=["times", "events"])
def test_missing_and_coincident_spikes_have_finite_gradients(x64, name, as_events):
    problem = Problem(
        spikes=np.array([[0.0, 0.0, 0.5], [0.5, 0.5, math.inf], [math.inf] * 3, [1.3, 1.4, 1.5]]),
        weight=np.array([[1.0, -1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]),
        tau_mem=np.array([0.5, 0.5]),
        tau_syn=np.array([0.5, 1.0]),
        v_leak=np.array([0.0, 0.0]),
        times=np.array([0.0, 0.5, 0.5, 1.3, 2.0]),
    )
    result, back = jax.vjp(readout(name, as_events), *problem)
    for field, gradient in zip(Problem._fields, back(jnp.ones_like(result)), strict=True):
        assert np.all(np.isfinite(gradient)), field
        if field == "spikes":
            assert np.all(np.asarray(gradient)[~np.isfinite(problem.spikes)] == 0)


def test_forward_mode_agrees_with_reverse_mode(x64, rng):
    problem = Problem(*(x[0] for x in random_problems(rng, 1)))
    for name in ("value", "maximum"):
        run = readout(name, False)
        direction = Problem(*(rng.normal(size=x.shape) for x in problem))
        direction = direction._replace(
            spikes=np.where(np.isfinite(problem.spikes), direction.spikes, 0)
        )
        result, forward = jax.jvp(run, problem, direction)
        reverse = jax.vjp(run, *problem)[1](jnp.ones_like(result))
        total = sum(np.sum(g * d) for g, d in zip(reverse, direction, strict=True))
        np.testing.assert_allclose(jnp.sum(forward), total, rtol=1e-11)
