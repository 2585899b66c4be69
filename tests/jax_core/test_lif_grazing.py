"""Voltages that barely reach the threshold, or barely do not."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core.neuron._crossing import Bracket, find_turn, solve_crossing

from .._thorough import usual
from ..reference import Neuron, leaky_maximum, propagate, random_networks, simulate
from ._layers import layer, pull_back_all, simulate_all

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("numbers", [True, False], ids=["numbers", "arrays"])
@pytest.mark.parametrize("ratio", [0.3, 1.0, 1 + 1e-9, 1 - 1e-6, 2.0, 2 + 1e-9, 5.0])
def test_a_crossing_is_never_missed_nor_invented(ratio, numbers):
    """Weights whose postsynaptic potential peaks 1e-9 above or below threshold."""
    if ratio == 1.0:
        at_peak = math.exp(-1)
    else:
        log_ratio = math.log1p(ratio - 1)
        at_peak = math.exp(-log_ratio / (ratio - 1)) * (1 / ratio)
    weight = np.array([[(1 + 1e-9) / at_peak], [(1 - 1e-9) / at_peak]])
    constants = {"tau_mem": ratio, "tau_syn": 1.0}
    run = simulate(Neuron(**constants), [0.5], [weight[0, 0]])
    assert len(run.spikes) == 1
    assert run.slopes[0] < 2e-4
    if not numbers:
        constants = {name: jnp.full(2, value) for name, value in constants.items()}
    times = jax_core.lif(np.array([[0.5]]), weight, **constants)
    assert np.isinf(times[1, 0])
    # Where the slope is that small the peak's own rounding moves the crossing.
    tolerance = 20 * np.finfo(float).eps * run.condition[0] * ratio
    np.testing.assert_allclose(times[0, 0], run.spikes[0], rtol=0, atol=tolerance)


@pytest.mark.parametrize("ratio", [2.0, 3.0])
def test_a_crossing_that_rounding_cannot_tell_from_the_peak_is_there(ratio, rng):
    """Where the slope is rounding, a step of Newton's method by it could lead half a tau away."""
    v, i, tau = (rng.uniform(*limits, 2000) for limits in ((0, 1), (1.5, 6), (0.5, 1.5)))
    v, i, tau_syn = (x.astype(np.float32) for x in (v, i, tau))
    taus = tau_syn * np.float32(ratio), tau_syn

    @jax.jit
    def solve(v, i, taus):
        turn = find_turn(v, i, *taus)
        yes = jnp.ones(v.shape, bool)
        found = Bracket(yes, jnp.zeros_like(v), turn.u, turn.u)
        return solve_crossing(v, i, found, turn.v, *taus, is_double=ratio == 2), turn.v

    u, threshold = solve(v, i, taus)
    neurons = (np.asarray(x, float) for x in (v, i, *taus, u, threshold))
    for v_0, i_0, tau_mem, tau, after, level in zip(*neurons, strict=True):
        reached, _ = propagate(Neuron(tau_mem=tau_mem, tau_syn=tau), v_0, i_0, after)
        assert abs(reached - level) <= 8 * np.finfo(np.float32).eps * (abs(v_0) + i_0)


@pytest.mark.parametrize("gradient", ["eventprop", "fast_and_deep"])
@pytest.mark.parametrize("numbers", usual({True}, [True, False]), ids=["numbers", "arrays"])
def test_gradient_of_a_grazing_spike_is_that_of_the_slope_floor(gradient, numbers):
    """A postsynaptic potential of weight 4 touches the threshold at its peak, after 2 ln 2."""
    drive = 1.0  # v_threshold - v_leak; the reset does not matter.
    constants = {"tau_mem": 2.0, "tau_syn": 1.0, "v_threshold": 1.1, "v_leak": 0.1, "v_reset": -0.5}
    if not numbers:
        constants = {name: jnp.full(1, value) for name, value in constants.items()}

    def first(weight, spikes):
        options = {"gradient": gradient, "min_slope": 0.05, **constants}
        return jax_core.lif(spikes, weight, **options)[0, 0]

    given = jnp.array([[4 * (1 + 1e-10)]]), jnp.array([[0.5]])
    spike = first(*given)
    assert spike - 0.5 == pytest.approx(2 * math.log(2), abs=1e-4)
    to_weight, to_spikes = jax.grad(first, argnums=(0, 1))(*given)
    u = float(spike) - 0.5
    kappa = math.exp(-u / 2) - math.exp(-u)
    assert float(to_weight[0, 0]) == pytest.approx(-kappa * 2 / (0.05 * drive), rel=1e-9)
    assert np.isfinite(to_spikes).all()


@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_both_methods_agree_where_the_peak_is_the_threshold(ratio):
    """There the closed forms of Fast & Deep have lost the slope that could be bounded."""
    weight = np.array([[4.0 if ratio == 2 else math.e]])

    def first(weight, gradient):
        constants = {"tau_mem": ratio, "tau_syn": 1.0, "gradient": gradient, "min_slope": 0.05}
        return jax_core.lif(np.array([[0.5]]), weight, **constants)[0, 0]

    for tiny in (0.0, 1e-15, 1e-13):
        given = weight * (1 + tiny)
        if np.isfinite(first(given, "eventprop")):
            adjoint, explicit = (jax.grad(first)(given, g) for g in ("eventprop", "fast_and_deep"))
            assert float(adjoint[0, 0]) < -1
            np.testing.assert_allclose(explicit, adjoint, rtol=1e-6)
    assert np.isfinite(first(given, "eventprop"))


@pytest.fixture(scope="module", params=[0.3, 1.0, 2.0, 1 + 1e-7, 4.0])
def grazing(request):
    """Neurons whose highest voltage is 1e-9 above threshold in even and below in odd networks."""
    fixed = {"tau_mem": request.param, "tau_syn": 1.0, "refractory": math.inf}
    networks = random_networks(
        seed=61, networks=300, max_spikes=1, fixed={"v_leak": 0.0, "v_reset": 0.0, **fixed}
    )
    threshold = np.empty(networks.weight.shape[:2])
    for b, post in np.ndindex(threshold.shape):
        times, weights = networks.spikes[b].ravel(), np.repeat(networks.weight[b, post], 2)
        highest = leaky_maximum(networks.neuron(b, post), times.tolist(), weights.tolist())
        threshold[b, post] = max(highest, 1e-3) * (1 + (-1e-9 if b % 2 == 0 else 1e-9))
    networks.constants["v_threshold"][:] = threshold
    return fixed, networks


@pytest.mark.parametrize("numbers", [True, False], ids=["numbers", "arrays"])
def test_highest_voltages_decide_between_spike_and_silence(grazing, numbers):
    """Peaks between inputs and kinks at inhibitory inputs, in all solvers."""
    fixed, networks = grazing
    fired = np.isfinite(networks.spike_times)
    assert fired[::2].mean() > 0.8
    assert not fired[1::2].any()
    if numbers:
        run = layer(networks)
        others = {k: v for k, v in networks.constants.items() if k not in fixed}
        with_numbers = jax.vmap(lambda s, w, c: run(s, w, {**c, **fixed}))
        times = np.asarray(jax.jit(with_numbers)(networks.spikes, networks.weight, others))
    else:
        times = simulate_all(networks)
    np.testing.assert_array_equal(np.isfinite(times), fired)
    tau = fixed["tau_mem"]
    tolerance = 10 * np.finfo(float).eps * networks.measure("condition")[..., None] * tau
    error = np.abs(np.where(fired, times, 0) - np.where(fired, networks.spike_times, 0))
    assert np.all(error <= tolerance)


def test_gradients_of_grazing_spikes_are_bounded_by_the_slope_floor(grazing):
    _, networks = grazing
    cotangent = np.ones_like(networks.spike_times)
    largest = {}
    for min_slope in (1e-2, 1e-1):
        gradients = pull_back_all(networks, cotangent, min_slope=min_slope)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))
        # |dT/dw| <= sum of kappa * tau_mem / (min_slope v_threshold): two inputs, kappa < 1.
        bound = 2 * networks.constants["tau_mem"] / (min_slope * networks.constants["v_threshold"])
        assert np.all(np.abs(gradients[1]) <= bound[..., None])
        largest[min_slope] = np.abs(gradients[1]).max()
    assert largest[1e-2] > 5 * largest[1e-1]
