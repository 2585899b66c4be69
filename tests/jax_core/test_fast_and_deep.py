"""Two independent gradient methods for first spikes: Fast & Deep and EventProp."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual
from ..reference import CONSTANTS, random_networks
from ._layers import arguments, layer, pull_back_all, relative_error, simulate_all


@pytest.mark.usefixtures("x64")
def test_fast_and_deep_equals_eventprop_for_first_spikes():
    networks = random_networks(seed=31, networks=500, max_spikes=1, t_max=7.0)
    networks = networks.select((networks.measure("slope") > 0.05).all(axis=1))
    assert len(networks.weight) > 400
    cotangent = np.random.default_rng(32).normal(size=networks.spike_times.shape)
    np.testing.assert_allclose(
        simulate_all(networks, gradient="fast_and_deep"), networks.spike_times, rtol=1e-12
    )
    spikes, weight, constants = pull_back_all(networks, cotangent, gradient="fast_and_deep")
    expected = pull_back_all(networks, cotangent, gradient="eventprop")
    assert relative_error(spikes, expected[0]).max() < 1e-9
    assert relative_error(weight, expected[1]).max() < 1e-9
    for name in CONSTANTS:
        assert relative_error(constants[name], expected[2][name]).max() < 1e-9, name
        assert (np.count_nonzero(expected[2][name]) > 100) == (name != "refractory")


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("ratio", usual({1.0, 0.5}, [1.0, 2.0, 0.5]))
def test_published_closed_forms_equal_eventprop(rng, ratio):
    """As numbers, tau_mem = tau_syn and tau_mem = 2 tau_syn select the published formulas."""
    spikes = jnp.asarray(rng.uniform(0.1, 2, (6, 1)))
    weight = jnp.asarray(rng.uniform(0.5, 2, (4, 6)))
    constants = {"tau_mem": ratio, "tau_syn": 1.0, "v_leak": 0.1, "refractory": math.inf}

    def gradients(gradient, constants):
        def loss(spikes, weight):
            times = jax_core.lif(spikes, weight, gradient=gradient, **constants)
            return jnp.dot(jnp.array([1.0, -0.5, 0.3, 2.0]), times[:, 0])

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(spikes, weight)

    published = gradients("fast_and_deep", constants)
    arrays = {name: jnp.full(4, value) for name, value in constants.items()}
    adjoint = gradients("eventprop", arrays)
    assert min(np.abs(gradient).max() for gradient in adjoint) > 0.01
    for actual, expected in zip(published, adjoint, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module", params=[1.0, 2.0])
def published(request):
    """Random networks, with inhibition and leaks over threshold, whose time constants are numbers
    that select a closed form."""
    fixed = {"tau_mem": request.param, "tau_syn": 1.0}
    networks = random_networks(seed=36, networks=500, max_spikes=1, t_max=7.0, fixed=fixed)
    networks = networks.select((networks.measure("slope") > 0.05).all(axis=1))
    run = layer(networks, gradient="fast_and_deep")

    def with_numbers(spikes, weight, constants):
        return run(spikes, weight, {**constants, **fixed})

    return networks, with_numbers


@pytest.mark.usefixtures("x64")
def test_closed_forms_equal_eventprop_on_random_networks(published):
    networks, run = published
    assert len(networks.weight) > 300
    assert (networks.weight < 0).mean() > 0.1
    assert (networks.constants["v_leak"] > networks.constants["v_threshold"]).mean() > 0.05
    cotangent = np.random.default_rng(37).normal(size=networks.spike_times.shape)

    def pull_back(arguments, cotangent):
        return jax.vjp(run, *arguments)[1](cotangent)

    actual = jax.jit(jax.vmap(pull_back))(arguments(networks), cotangent)
    expected = pull_back_all(networks, cotangent, gradient="eventprop")
    assert relative_error(actual[0], expected[0]).max() < 1e-9
    assert relative_error(actual[1], expected[1]).max() < 1e-9
    for name in ("v_threshold", "v_leak", "v_reset"):
        assert relative_error(actual[2][name], expected[2][name]).max() < 1e-9, name


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("numbers", usual({False}, [True, False]), ids=["numbers", "arrays"])
def test_second_derivatives_agree_with_finite_differences(published, numbers):
    networks, run = published
    if not numbers:
        run = layer(networks, gradient="fast_and_deep")
    networks = networks.select((networks.measure("slope") > 0.3).all(axis=1))
    spikes, weight, constants = arguments(networks)
    generator = np.random.default_rng(38)
    along = generator.normal(size=spikes.shape), generator.normal(size=weight.shape)
    along = np.where(np.isfinite(spikes), along[0], 0), along[1]

    def first(spikes, weight, constants):
        times = run(spikes, weight, constants)
        return jnp.sum(jnp.where(jnp.isfinite(times), times, 0))

    gradients = jax.jit(jax.vmap(jax.grad(first, argnums=(0, 1))))
    _, actual = jax.jvp(lambda *moved: gradients(*moved, constants), (spikes, weight), along)
    step = 1e-6
    ahead, back = (
        gradients(spikes + sign * step * along[0], weight + sign * step * along[1], constants)
        for sign in (1, -1)
    )
    for derivative, one, other in zip(actual, ahead, back, strict=True):
        expected = (np.asarray(one) - np.asarray(other)) / (2 * step)
        assert np.abs(expected).max() > 1
        assert relative_error(np.asarray(derivative), expected).max() < 1e-5


@pytest.mark.usefixtures("x64")
def test_formulas_of_the_paper():
    """dT/dw_i = -kappa(T - t_i) / V' and dT/dt_i = w_i kappa'(T - t_i) / V', one by one."""
    spikes, weight = np.array([[0.2], [0.5], [9.0]]), np.array([[3.0, 2.5, 3.0]])
    tau_mem, tau_syn = 3.0, 1.0

    def first(spikes, weight):
        options = {"tau_mem": tau_mem, "tau_syn": tau_syn, "gradient": "fast_and_deep"}
        options["refractory"] = math.inf
        return jax_core.lif(spikes, weight, **options)[0, 0]

    spike = float(first(spikes, weight))
    assert 0.5 < spike < 9.0
    k = tau_syn / (tau_mem - tau_syn)
    u = spike - spikes[:2, 0]
    kappa = k * (np.exp(-u / tau_mem) - np.exp(-u / tau_syn))
    kappa_slope = k * (np.exp(-u / tau_syn) / tau_syn - np.exp(-u / tau_mem) / tau_mem)
    slope = weight[0, :2] @ kappa_slope
    to_spikes, to_weight = jax.grad(first, argnums=(0, 1))(jnp.asarray(spikes), weight)
    np.testing.assert_allclose(to_weight[0], [*(-kappa / slope), 0], rtol=1e-12, atol=1e-15)
    expected = [*(weight[0, :2] * kappa_slope / slope), 0]
    np.testing.assert_allclose(to_spikes[:, 0], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.usefixtures("x64")
def test_several_spikes_with_infinite_refractoriness_is_the_first_spike():
    fixed = {"refractory": math.inf}
    networks = random_networks(seed=33, networks=1, max_spikes=3, fixed=fixed)
    spikes, weight, constants = jax.tree.map(lambda x: jnp.asarray(x[0]), arguments(networks))
    constants["refractory"] = math.inf
    times = layer(networks, gradient="fast_and_deep")(spikes, weight, constants)
    np.testing.assert_allclose(times, networks.spike_times[0], rtol=1e-12)


@pytest.mark.parametrize("gradient", ["eventprop", "fast_and_deep"])
def test_float32_gradients_are_those_of_float64_to_float32_precision(gradient):
    networks = random_networks(seed=34, networks=100, max_spikes=1, dtype=np.float32)
    networks = networks.select((networks.measure("condition") < 30).all(axis=1))
    assert len(networks.weight) > 30
    cotangent = np.random.default_rng(35).normal(size=networks.spike_times.shape)
    single = pull_back_all(networks, cotangent.astype(np.float32), gradient=gradient)
    with jax.enable_x64(True):
        double = pull_back_all(networks.astype(np.float64), cotangent)
    for actual, expected in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert actual.dtype == np.float32
        assert relative_error(actual, expected).max() < 1e-3
