"""Recurrent layers with a delay on each connection, within the layer and of the input."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual
from ..reference import Neuron, simulate_recurrent
from ._layers import relative_error
from ._recurrent_differences import compare, smooth_gradients
from ._recurrent_layers import (
    INPUTS,
    NETWORKS,
    NEURONS,
    OPTIONS,
    SPIKES,
    Recurrent,
    layer,
    pull_back_all,
    random_recurrent,
    simulate_all,
    with_delays_of_connections,
)

OF = pytest.mark.parametrize("of_input", usual({True}, [False, True]), ids=["within", "input too"])


def cotangents(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(NETWORKS, NEURONS, SPIKES))


def runs_of(layers: Recurrent) -> list:
    return [layers.run(network) for network in range(NETWORKS)]


@pytest.mark.usefixtures("x64")
@OF
def test_spikes_of_random_networks_equal_the_reference(of_input):
    compared = spikes = overflows = 0
    for seed in range(60, 64):
        drawn = random_recurrent(seed)
        layers = with_delays_of_connections(drawn, seed, of_input=of_input)
        times = simulate_all(layers)
        for found, run in zip(times, runs_of(layers), strict=True):
            np.testing.assert_allclose(found, run.times(SPIKES), rtol=1e-9)
            compared += 1
            spikes += np.isfinite(found).sum()
            overflows += bool(run.overflow)
    assert compared == 4 * NETWORKS
    assert spikes > 4 * compared
    assert overflows > 0.1 * compared


@pytest.mark.usefixtures("x64")
@OF
def test_gradients_equal_finite_differences_of_the_reference(of_input):
    drawn = random_recurrent(71, fixed={"refractory": 0.2})
    layers = with_delays_of_connections(drawn, 72, least=0.05, of_input=of_input)
    cotangent = cotangents(73)
    expected = smooth_gradients(layers, cotangent, 13)
    assert len(expected) == 13
    compare(layers, cotangent, expected, least=4)


@pytest.mark.thorough
@pytest.mark.usefixtures("x64")
def test_rows_of_one_delay_are_the_delays_of_neurons():
    layers = random_recurrent(74, delayed=True)
    arguments, cotangent = layers.arguments, cotangents(75)
    delay = np.repeat(arguments["recurrent_delay"][:, None], NEURONS, axis=1)
    each = {**arguments, "recurrent_delay": delay}
    of_input = {**each, "input_delay": np.zeros((NETWORKS, NEURONS, INPUTS))}
    expected, gradients = simulate_all(layers), pull_back_all(layers, cotangent)
    for given in (each, of_input):
        np.testing.assert_allclose(simulate_all(given), expected, rtol=1e-12)
        found = pull_back_all(given, cotangent)
        found["recurrent_delay"] = found["recurrent_delay"].sum(axis=1)
        for name, gradient in gradients.items():
            assert relative_error(found[name], gradient).max() < 1e-11, name


@pytest.mark.thorough
@pytest.mark.usefixtures("x64")
def test_delays_of_zero_are_none_for_equal_neurons_too():
    """Neurons that spike at once do so before any of these spikes arrives."""
    layers, cotangent = random_recurrent(76), cotangents(77)
    arguments = layers.arguments
    equal = {k: np.repeat(v[:, :1], NEURONS, axis=1) for k, v in arguments.items()}
    equal["spikes"] = arguments["spikes"]
    one = equal["recurrent_weight"][:, :1, :1]
    equal["recurrent_weight"] = np.broadcast_to(one, layers.recurrent_weight.shape)
    for given in (arguments, equal):
        none = np.zeros((NETWORKS, NEURONS, NEURONS)), np.zeros((NETWORKS, NEURONS, INPUTS))
        at_once = {**given, "recurrent_delay": none[0], "input_delay": none[1]}
        np.testing.assert_allclose(simulate_all(at_once), simulate_all(given), rtol=1e-11)
        found = pull_back_all(at_once, cotangent)
        for name, gradient in pull_back_all(given, cotangent).items():
            assert relative_error(found[name], gradient).max() < 1e-9, name


@pytest.mark.usefixtures("x64")
def test_any_number_of_spikes_is_on_its_way():
    """One neuron that fires by itself is heard by others much later, by each at another time."""
    neurons = [Neuron(1.0, 1.0, v_leak=leak) for leak in (1.5, 0.0, 0.0)]
    weight, times = np.zeros((3, 1)), np.full((1, 1), math.inf)
    recurrent = np.zeros((3, 3))
    recurrent[1:, 0] = 2.0, 3.0
    delay = np.array([[0.0, 0.0, 0.0], [5.05, 0.0, 0.0], [11.3, 0.0, 0.0]])
    options = {"max_spikes": 40, "t_max": 18.0}
    expected = simulate_recurrent(neurons, times, weight, recurrent, **options, delays=delay)
    leak = np.array([1.5, 0.0, 0.0])
    found = jax_core.recurrent_lif(
        times, weight, recurrent, recurrent_delay=delay, tau_mem=1.0, tau_syn=1.0, v_leak=leak,
        **options,
    )  # fmt: skip
    period = np.diff(expected.spikes[0])[0]
    assert delay[2, 0] > 10 * period
    assert len(expected.spikes[1]) > 5 < len(expected.spikes[2])
    np.testing.assert_allclose(found, expected.times(40), rtol=1e-10)


@pytest.mark.usefixtures("x64")
def test_a_sample_ends_with_an_overflow_and_where_nothing_is_defined():
    layers = with_delays_of_connections(random_recurrent(78), 79)
    given = {name: value[0] for name, value in layers.arguments.items()}
    given["spikes"] = np.array([[0.1, 0.5]] * INPUTS)
    given |= {"v_leak": np.array([3.0, 0.0, 0.0]), "v_threshold": np.ones(3)}
    given |= {"v_reset": np.zeros(3), "refractory": np.zeros(3)}
    recurrent = layers.with_arguments({k: v[None] for k, v in given.items()})
    _, health = layer(given, return_health=True)  # pyright: ignore[reportGeneralTypeIssues]
    overflow = np.zeros(3, int)
    overflow[list(recurrent.run(0).overflow)] = 1
    assert overflow.sum() == 1
    np.testing.assert_array_equal(health.overflow, overflow)
    given["v_leak"] = np.array([0.0, 0.0, 0.5])
    for name in ("weight", "recurrent_delay", "input_delay", "v_leak"):
        unknown = {**given, name: given[name].copy()}
        unknown[name].flat[0] = math.nan
        assert np.isnan(layer(unknown, validate=False)).all(), name


@pytest.mark.usefixtures("x64")
def test_forward_mode_is_the_transpose():
    layers = with_delays_of_connections(random_recurrent(80), 81)
    given, rng = layers.arguments, np.random.default_rng(82)
    moves = {name: rng.normal(size=value.shape) for name, value in given.items()}
    for name in ("spikes", "refractory"):
        moves[name][np.isinf(given[name])] = 0
    _, moved = jax.jit(jax.vmap(lambda *x: jax.jvp(layer, *((each,) for each in x))))(given, moves)
    cotangent = cotangents(83)
    gradients = pull_back_all(layers, cotangent)
    expected = sum(
        np.sum(gradients[name] * moves[name], axis=tuple(range(1, moves[name].ndim)))
        for name in given
    )
    np.testing.assert_allclose(np.sum(moved * cotangent, axis=(1, 2)), expected, rtol=1e-9)


class _Own(jax_core.SynapticDelays):
    """Connections of a user, with a list of inputs for each neuron."""


@pytest.mark.usefixtures("x64")
def test_lists_of_connections_are_matrices_with_zeros(rng):
    mask = rng.random((NEURONS, INPUTS)) < 0.6
    mask[:, 0] = True
    pairs = rng.permutation(np.argwhere(mask))
    spikes = np.sort(rng.uniform(0, 3, (2, 3, INPUTS, 2)))
    values, recurrent = rng.normal(1, 2, len(pairs)), rng.normal(0, 2, (NEURONS, NEURONS))
    matrix, delays = np.zeros((2, NEURONS, INPUTS))
    matrix[*pairs.T], delays[*pairs.T] = values, rng.uniform(0, 1, len(pairs))
    options = {**OPTIONS, "recurrent_delay": rng.uniform(0, 1, NEURONS), "v_leak": 0.1}

    def found(weight, delay, connections):
        def run(weight, delay):
            of_input = connections(delay)
            return jax_core.recurrent_lif(
                spikes, weight, recurrent, connections=of_input, **options
            )

        out, pull_back = jax.vjp(run, weight, delay)
        assert out.shape == (2, 3, NEURONS, SPIKES)
        return out, *pull_back(jnp.where(jnp.isfinite(out), jnp.cos(out), 0))

    def sparse(delay):
        return jax_core.Sparse.of(pairs, INPUTS, NEURONS)

    def sparse_delays(delay):
        return jax_core.Sparse.of(pairs, INPUTS, NEURONS, delay)

    out, of_weight, _ = found(values, delays[*pairs.T], sparse)
    expected, of_matrix, _ = found(matrix, delays, lambda delay: None)
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    np.testing.assert_allclose(of_weight, of_matrix[*pairs.T], rtol=1e-9)
    out, of_weight, of_delay = found(values, delays[*pairs.T], sparse_delays)
    expected, of_matrix, of_delays = found(matrix, delays, _Own)
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    np.testing.assert_allclose(of_weight, of_matrix[*pairs.T], rtol=1e-9)
    np.testing.assert_allclose(of_delay, of_delays[*pairs.T], rtol=1e-9)
    assert np.isfinite(out).mean() > 0.2


def test_nothing_in_nothing_out():
    options = {
        "recurrent_delay": np.zeros((3, 3), np.float32),
        "connections": jax_core.SynapticDelays(jnp.zeros((3, 2))),
    }
    weights = np.ones((3, 2), np.float32), np.ones((3, 3), np.float32)
    for shape in [(0, 2, 1), (4, 2, 0)]:
        spikes = jnp.zeros(shape)
        out, pull_back = jax.vjp(lambda s: jax_core.recurrent_lif(s, *weights, **options), spikes)
        assert out.shape == (shape[0], 3, 1)
        assert np.isinf(out).all()
        assert pull_back(jnp.ones_like(out))[0].shape == shape
    none = np.ones((0, 2), np.float32), np.ones((0, 0), np.float32)
    silence = jnp.zeros((4, 0, 1)), jnp.zeros((3, 0)), jnp.ones((3, 3))
    nowhere = jax_core.SynapticDelays(jnp.zeros((3, 0)))
    assert jax_core.recurrent_lif(*silence, connections=nowhere).shape == (4, 3, 1)
    nobody = {"connections": jax_core.SynapticDelays(jnp.zeros((0, 2)))}
    for given in (nobody, {"recurrent_delay": np.zeros((0, 0), np.float32)}):
        assert jax_core.recurrent_lif(jnp.zeros((4, 2, 1)), *none, **given).shape == (4, 0, 1)


BAD = {
    "negative": ({"recurrent_delay": np.float32([[0, 0], [-1, 0]])}, r"recurrent_delay\[1, 0\]"),
    "infinite": ({"recurrent_delay": np.full((2, 2), np.inf, np.float32)}, "must be finite"),
    "shape": (
        {"recurrent_delay": np.zeros((2, 3), np.float32)},
        r"recurrent_delay must be a number.*shape \(2,\), or per connection, shape \(2, 2\)",
    ),
    "dtype": ({"recurrent_delay": np.zeros((2, 2), int)}, "recurrent_delay must be float"),
    "input": (
        {"connections": jax_core.SynapticDelays(-np.ones((2, 1), np.float32))},  # pyright: ignore[reportArgumentType]
        "delay must be finite and >= 0",
    ),
    "input's shape": (
        {"connections": jax_core.SynapticDelays(np.ones((1, 2), np.float32))},  # pyright: ignore[reportArgumentType]
        "delay must have one value per connection",
    ),
    "a convolution": (
        {"connections": jax_core.Conv((1,)), "weight": np.ones((2, 3, 1), np.float32)},
        "connections must give each neuron .* as Sparse and SynapticDelays do, got Conv; put",
    ),
    "recurrent weights": (
        {"connections": jax_core.Sparse.of(np.array([[1, 0]]), 1, 2), "weight": np.float32([1])},
        r"recurrent_weight must have shape \(2, 2\), as weight of shape \(1,\) is for 2 neurons",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_named(arguments, message):
    recurrent = np.zeros((3, 3) if "Sparse" in repr(arguments) else (2, 2), np.float32)
    given = {"weight": np.ones((2, 1), np.float32), "recurrent_weight": recurrent, **arguments}
    spikes = np.full((3, 1, 1), np.inf, np.float32)
    if "Conv" in repr(arguments):
        spikes = np.full((2, 3, 4, 1), np.inf, np.float32)
    with pytest.raises((ValueError, TypeError), match=message):
        jax_core.recurrent_lif(spikes, **given)
