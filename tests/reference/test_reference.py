"""The reference itself, against fine-step integration and arbitrary-precision arithmetic."""

import math

import mpmath
import numpy as np
import pytest

from . import (
    Neuron,
    central_difference,
    leaky_integral,
    leaky_maximum,
    leaky_value,
    random_networks,
    simulate,
)
from ._neuron import propagate


def integrate(neuron, times, weights, max_spikes, t_end, step):
    """Spike times by Runge-Kutta steps that end at every event; the voltage is checked after
    each, so that crossings wider than a step are found."""

    def derivative(v, current):
        return (neuron.v_leak - v + current) / neuron.tau_mem, -current / neuron.tau_syn

    def advance(v, current, h):
        v1, i1 = derivative(v, current)
        v2, i2 = derivative(v + h / 2 * v1, current + h / 2 * i1)
        v3, i3 = derivative(v + h / 2 * v2, current + h / 2 * i2)
        v4, i4 = derivative(v + h * v3, current + h * i3)
        return (
            v + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4),
            current + h / 6 * (i1 + 2 * i2 + 2 * i3 + i4),
        )

    arrivals = sorted((t, w) for t, w in zip(times, weights, strict=True) if t < math.inf)
    v = neuron.v_reset if neuron.v_leak >= neuron.v_threshold else neuron.v_leak
    t, current, held_until, spikes = 0.0, 0.0, 0.0, []
    while t < t_end and len(spikes) < max_spikes:
        while arrivals and arrivals[0][0] <= t:
            current += arrivals.pop(0)[1]
        end = min([t + step, t_end] + [a for a, _ in arrivals[:1]])
        if t < held_until:
            end = min(end, held_until)
        next_v, next_current = advance(v, current, end - t)
        if t < held_until:
            next_v = neuron.v_reset
        elif next_v >= neuron.v_threshold:
            low, high = 0.0, end - t
            for _ in range(60):
                middle = (low + high) / 2
                if advance(v, current, middle)[0] >= neuron.v_threshold:
                    high = middle
                else:
                    low = middle
            end = t + high
            next_current = advance(v, current, high)[1]
            next_v, held_until = neuron.v_reset, end + neuron.refractory
            spikes.append(end)
        t, v, current = end, next_v, next_current
    return spikes


def test_spikes_equal_fine_step_integration():
    networks = random_networks(seed=3, networks=8, t_max=9.0)
    compared = 0
    for index, runs in enumerate(networks.runs):
        times = networks.spikes[index].ravel().tolist()
        for post, run in enumerate(runs):
            if run.margin < 1e-4:
                continue
            neuron = networks.neuron(index, post)
            weights = np.repeat(networks.weight[index, post], 2).tolist()
            step = 4e-3 * min(neuron.tau_mem, neuron.tau_syn)
            spikes = integrate(neuron, times, weights, networks.max_spikes, 9.0, step)
            np.testing.assert_allclose(run.spikes, spikes, rtol=0, atol=1e-8 * neuron.tau_mem)
            compared += len(spikes)
    assert compared > 40


@pytest.mark.parametrize(("tau_mem", "weight"), [(2.0, 4.5), (1.0, 3.0), (1 + 1e-9, 3.0)])
def test_first_spike_equals_the_closed_form(tau_mem, weight):
    """Closed forms of the three ratios in 40 digits: quadratic, Lambert W, series."""
    run = simulate(Neuron(tau_mem, 1.0), [0.5], [weight])
    with mpmath.workdps(40):
        if tau_mem == 2.0:
            expected = -2 * mpmath.log((1 + mpmath.sqrt(1 - mpmath.mpf(4) / weight)) / 2)
        elif tau_mem == 1.0:
            expected = -mpmath.lambertw(-1 / mpmath.mpf(weight), 0).real
        else:
            gap = mpmath.mpf(tau_mem) - 1
            expected = mpmath.findroot(
                lambda u: weight / gap * (mpmath.exp(-u / tau_mem) - mpmath.exp(-u)) - 1, 0.6
            )
        error = abs(run.spikes[0] - 0.5 - expected) / tau_mem
        assert error < np.finfo(float).eps * run.condition[0]


@pytest.mark.parametrize("tau_mem", [0.2, 1.0, 1 + 1e-12, 1 - 1e-9, 1 + 1e-4, 2.0, 8.0])
@pytest.mark.parametrize("u", [1e-9, 0.3, 5.0, 60.0])
def test_propagation_equals_forty_digits(tau_mem, u):
    v, current = propagate(Neuron(tau_mem, 1.0), -0.7, 1.3, u)
    with mpmath.workdps(40):
        fast, slow = mpmath.exp(-mpmath.mpf(u) / tau_mem), mpmath.exp(-mpmath.mpf(u))
        gap = mpmath.mpf(tau_mem) - 1
        psp = u * slow if gap == 0 else (fast - slow) / gap
        expected = -mpmath.mpf(0.7) * fast + mpmath.mpf(1.3) * psp
        assert abs(v - expected) < 1e-15 * (0.7 * fast + 1.3 * psp) * (1 + u)
        assert abs(current - 1.3 * slow) < 1e-15 * (1 + u) * slow


def test_leak_over_threshold_fires_at_the_textbook_period():
    run = simulate(Neuron(2.0, 1.0, v_leak=1.5, v_reset=-0.5, refractory=0.25), [], [], 5)
    period = 2 * math.log(4) + 0.25
    np.testing.assert_allclose(run.spikes, 2 * math.log(4) + period * np.arange(5), rtol=1e-15)
    assert run.overflow


def test_spikes_at_t_max_count_and_later_ones_do_not():
    neuron = Neuron(2.0, 1.0)
    first = simulate(neuron, [0.5], [6.0]).spikes[0]
    assert simulate(neuron, [0.5], [6.0], t_max=first).spikes == [first]
    assert simulate(neuron, [0.5], [6.0], t_max=math.nextafter(first, 0)).spikes == []


def test_voltage_is_held_during_refractoriness_while_the_current_goes_on():
    neuron = Neuron(2.0, 1.0, v_reset=-0.2, refractory=1.0)
    run = simulate(neuron, [0.5, 1.5], [6.0, 0.7], max_spikes=3)
    first = run.spikes[0]
    assert run.voltage(first + 0.9) == -0.2
    current = 6 * math.exp(-(first + 1 - 0.5)) + 0.7 * math.exp(-(first + 1 - 1.5))
    later = run.voltage(first + 1 + 1e-6)
    assert (later + 0.2) / 1e-6 == pytest.approx((current + 0.2) / 2, rel=1e-5)


def test_margin_and_slope_tell_a_graze():
    neuron = Neuron(2.0, 1.0)
    # The peak of one postsynaptic potential of weight 4 touches the threshold.
    assert simulate(neuron, [0.0], [4 * (1 - 1e-9)]).margin == pytest.approx(1e-9, rel=1e-5)
    run = simulate(neuron, [0.0], [4 * (1 + 1e-9)])
    assert run.margin == pytest.approx(1e-9, rel=1e-5)
    assert 0 < run.slopes[0] < 1e-4
    assert run.condition[0] > 1e4


def test_condition_predicts_the_shift_of_each_spike():
    """A constant voltage added to rest is such a perturbation: shift the leak and the reset."""
    neuron = Neuron(2.0, 1.0, refractory=0.3)
    times, weights, epsilon = [0.5, 1.0, 4.0], [3.0, 3.0, 5.0], 1e-6
    run = simulate(neuron, times, weights, 4)
    moved = Neuron(2.0, 1.0, v_threshold=1 + epsilon, refractory=0.3)
    shift = (np.array(simulate(moved, times, weights, 4).spikes) - run.spikes) / epsilon
    assert len(run.spikes) > 1
    assert np.all(np.abs(shift) / 2.0 < np.array(run.condition))


def test_leaky_value_integral_and_maximum_agree_with_a_fine_grid():
    neuron = Neuron(1.4, 1.0, v_leak=-0.3)
    times, weights = [0.5, 1.0, 1.0, 3.2, math.inf], [1.0, -2.5, 0.5, 4.0, 9.0]
    grid = np.linspace(0, 6, 12001)
    values = np.array([leaky_value(neuron, times, weights, at) for at in grid])
    assert leaky_maximum(neuron, times, weights, 6.0) == pytest.approx(values.max(), abs=1e-7)
    assert leaky_maximum(neuron, [1.0], [-1.0]) == -0.3
    weighted = values * np.exp(-grid / 2)
    integral = leaky_integral(neuron, times, weights, 6.0, tau_weight=2.0)
    assert integral == pytest.approx(np.trapezoid(weighted, grid), abs=1e-6)


def test_central_difference_is_of_fourth_order():
    point = np.array([[0.3, -1.2]])
    gradient = central_difference(lambda x: float(np.sum(np.sin(3 * x))), point, 1e-3)
    np.testing.assert_allclose(gradient, 3 * np.cos(3 * point), rtol=1e-10)
