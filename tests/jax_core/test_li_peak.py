"""The time of a leaky integrator's largest voltage, and its derivatives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from ..reference import Neuron, leaky_maximum, leaky_value
from ._readouts import READOUTS, T_MAX, Problem, finite_differences, pull_back, random_problems

TAUS = {"tau_mem": 0.8, "tau_syn": 0.3}
COUNT, STEP = 60, 2e-5


@pytest.fixture
def problems(x64, rng):
    """Random problems whose voltages have a clear peak, far from any other change."""
    found = random_problems(rng, 3 * COUNT)
    value, _ = peaks(found)
    return Problem(*(x[clear(found, value)][:COUNT] for x in found))


def peaks(problems):
    def one(spikes, weight, tau_mem, tau_syn, v_leak, times):
        constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
        return jax_core.li_peak(spikes, weight, **constants, t_max=T_MAX)

    return jax.jit(jax.vmap(one))(*problems)


def clear(problems, value):
    """Where all peaks are well above the leak, and no two events are close."""
    times = np.concatenate([problems.spikes.reshape(len(value), -1), problems.times], axis=1)
    gaps = np.diff(np.sort(np.where(np.isfinite(times), times, 10 * np.arange(1, 18))))
    return (np.min(gaps, axis=1) > 20 * STEP) & np.all(value - problems.v_leak > 0.02, axis=1)


def test_the_time_is_that_of_the_largest_voltage(problems):
    value, time = peaks(problems)
    assert len(value) == COUNT
    for k, problem in enumerate(zip(*problems, strict=True)):
        spikes, weight, tau_mem, tau_syn, v_leak, _ = problem
        for n, row in enumerate(weight):
            neuron = Neuron(*map(float, (tau_mem[n], tau_syn[n])), v_leak=float(v_leak[n]))
            events = sorted(
                (float(t), float(row[i]))
                for i, own in enumerate(spikes)
                for t in own
                if math.isfinite(t)
            )
            arrivals = [t for t, _ in events], [w for _, w in events]
            np.testing.assert_allclose(value[k, n], leaky_maximum(neuron, *arrivals, T_MAX))
            at = leaky_value(neuron, *arrivals, float(time[k, n]))
            np.testing.assert_allclose(at, value[k, n], rtol=1e-12)


def time_of_peak(spikes, weight, tau_mem, tau_syn, v_leak, times):
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    return jax_core.li_peak(spikes, weight, **constants, t_max=T_MAX)[1]


@pytest.fixture
def readout(monkeypatch):
    """The time among the read-outs that `finite_differences` and `pull_back` know."""
    name = "time of peak"
    monkeypatch.setitem(READOUTS, name, (time_of_peak, None))
    return name


def test_gradients_agree_with_finite_differences(problems, readout, rng):
    cotangents = rng.normal(size=problems.weight.shape[:2])
    gradients = pull_back(readout)(problems, cotangents)
    compared = 0
    for k in range(COUNT):
        problem = Problem(*(x[k] for x in problems))
        expected = finite_differences(readout, problem, cotangents[k], STEP)
        if max(np.max(np.abs(slope)) for slope in expected) > 1 / STEP / 100:
            continue  # Two peaks of one height: the time jumps from one to the other.
        compared += 1
        for field, gradient, slope in zip(Problem._fields, gradients, expected, strict=True):
            np.testing.assert_allclose(
                gradient[k], slope, rtol=1e-6, atol=1e-6, err_msg=f"{field} of problem {k}"
            )
    assert compared > 0.9 * COUNT
    assert np.count_nonzero(gradients.spikes) > COUNT


def test_second_derivatives_agree_with_finite_differences(problems, readout, rng):
    cotangents = rng.normal(size=problems.weight.shape[:2])
    directions = Problem(*(rng.normal(size=x.shape) for x in problems))
    directions = directions._replace(
        spikes=np.where(np.isfinite(problems.spikes), directions.spikes, 0)
    )

    def gradients(*problem):
        return pull_back(readout)(Problem(*problem), cotangents)

    _, actual = jax.jvp(gradients, problems, directions)
    step = 1e-6
    ahead, back = (
        gradients(*(x + sign * step * d for x, d in zip(problems, directions, strict=True)))
        for sign in (1, -1)
    )
    for field, derivative, one, other in zip(Problem._fields, actual, ahead, back, strict=True):
        expected = (np.asarray(one) - np.asarray(other)) / (2 * step)
        size = 1 + np.max(np.abs(expected))
        np.testing.assert_allclose(derivative / size, expected / size, atol=1e-6, err_msg=field)
    assert np.abs(actual.spikes).max() > 1


def test_a_peak_at_an_arrival_moves_with_it_and_one_at_the_end_stays(x64):
    def time(spikes, weight, t_max=math.inf):
        return jax_core.li_peak(spikes, weight, **TAUS, t_max=t_max)[1][0]

    spikes, weight = np.array([[0.1], [0.25]]), np.array([[1.0, -5.0]])
    assert time(spikes, weight) == 0.25
    np.testing.assert_array_equal(jax.grad(time)(spikes, weight), [[0], [1]])
    assert time(spikes, weight, 0.2) == 0.2
    np.testing.assert_array_equal(jax.grad(time)(spikes, weight, 0.2), [[0], [0]])
    assert time(spikes, -weight, 0.2) == 0
    np.testing.assert_array_equal(jax.grad(time)(spikes, -weight, 0.2), [[0], [0]])


def test_a_peak_of_one_spike_moves_with_it(x64):
    def time(spikes):
        return jax_core.li_peak(spikes, np.ones((1, 1)), **TAUS)[1][0]

    spikes = jnp.array([[0.1]])
    later = math.log(0.8 / 0.3) / (1 / 0.3 - 1 / 0.8)
    np.testing.assert_allclose(time(spikes), 0.1 + later, rtol=1e-14)
    np.testing.assert_allclose(jax.grad(time)(spikes), [[1]], rtol=1e-12)
    np.testing.assert_allclose(jax.hessian(time)(spikes).ravel(), [0], atol=1e-9)


def test_undefined_voltages_have_undefined_peaks():
    spikes = jnp.array([[0.1], [math.nan]])
    value, time = jax_core.li_peak(spikes, jnp.ones((2, 2)), **TAUS, validate=False)
    assert np.all(np.isnan(value))
    assert np.all(np.isnan(time))
