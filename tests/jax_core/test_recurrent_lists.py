"""Recurrent layers that are simulated by lists of connections."""

import functools
import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from evtorch import jax_core

from ._layers import relative_error
from ._recurrent_layers import (
    INPUTS,
    NETWORKS,
    NEURONS,
    OPTIONS,
    SPIKES,
    Recurrent,
    pull_back_all,
    random_recurrent,
    simulate_all,
)

HEARS = np.array([[0, 1, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0]], bool)
# One neuron hears no other, one is heard by none, and one hears itself.
AMONG = np.array([[0, 1, 1], [0, 1, 0], [0, 0, 0]], bool)
KINDS = pytest.mark.parametrize("delayed", [False, True], ids=["at once", "delayed"])


def drawn(seed: int, delayed: bool = False, **fixed: float) -> Recurrent:
    """Random layers without most of their connections."""
    layers = random_recurrent(seed, delayed=delayed, fixed=fixed)
    networks = replace(layers.networks, weight=layers.networks.weight * HEARS)
    return replace(layers, networks=networks, recurrent_weight=layers.recurrent_weight * AMONG)


def by_lists(arguments, **options):
    """The layer with the weights of matrices that are 0 where there is no connection."""
    lists = {
        "connections": jax_core.Sparse.of(np.argwhere(HEARS), INPUTS, NEURONS, hearers=True),
        "recurrent_connections": jax_core.Sparse.of(
            np.argwhere(AMONG)[::-1], NEURONS, NEURONS, hearers=True
        ),
    }
    weights = {
        "weight": arguments["weight"][HEARS],
        "recurrent_weight": arguments["recurrent_weight"][AMONG][::-1],
    }
    given = {**arguments, **weights, **lists, **OPTIONS, "solver": "lists", **options}
    return jax_core.recurrent_lif(**given)


# Cached so that JAX, which knows functions by their identity, compiles each of them once.
@functools.cache
def run():
    def one(arguments, cotangent):
        times, pull_back = jax.vjp(by_lists, arguments)
        return times, pull_back(cotangent)[0]

    return jax.jit(jax.vmap(one))


@pytest.mark.usefixtures("x64")
@KINDS
def test_random_networks_equal_the_reference_and_matrices(delayed):
    overflows = 0
    for seed in (90, 91):
        layers = drawn(seed, delayed)
        cotangent = np.random.default_rng(seed).normal(size=(NETWORKS, NEURONS, SPIKES))
        times, found = run()(layers.arguments, cotangent)
        for network in range(NETWORKS):
            reference = layers.run(network)
            np.testing.assert_allclose(times[network], reference.times(SPIKES), rtol=1e-9)
            overflows += bool(reference.overflow)
        np.testing.assert_allclose(times, simulate_all(layers), rtol=1e-9)
        masks = {"weight": HEARS, "recurrent_weight": AMONG}
        for name, gradient in pull_back_all(layers, cotangent).items():
            gradient = gradient * masks.get(name, True)
            assert np.count_nonzero(gradient) > NETWORKS / 4, name
            assert relative_error(found[name], gradient).max() < 1e-8, name
    assert overflows > 10


@pytest.mark.usefixtures("x64")
def test_equal_neurons_spike_before_any_of_these_spikes_arrives():
    layers = drawn(92)
    given = layers.arguments
    equal = {name: np.repeat(value[:, :1], NEURONS, axis=1) for name, value in given.items()}
    equal["spikes"] = given["spikes"]
    # All hear the second input only, and inhibit others.
    strong = np.abs(given["weight"][:, :1, 1:2]) + 5
    equal["weight"] = np.where(np.arange(INPUTS) == 1, strong, 0) * np.ones((NEURONS, 1))
    equal["recurrent_weight"] = np.where(AMONG, given["recurrent_weight"] - 3, 0)
    found = np.asarray(jax.jit(jax.vmap(by_lists))(equal))
    expected = simulate_all(equal)
    together = (found[..., 0] == found[:, :1, 0]) & np.isfinite(found[..., 0])
    assert together.all(axis=1).sum() > NETWORKS / 2
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_forward_mode_is_the_transpose():
    layers, rng = drawn(93, delayed=True), np.random.default_rng(94)
    given = layers.arguments
    moves = {name: rng.normal(size=value.shape) for name, value in given.items()}
    for name in ("spikes", "refractory"):
        moves[name][np.isinf(given[name])] = 0
    push = jax.vmap(lambda *x: jax.jvp(by_lists, *((each,) for each in x))[1])
    moved = jax.jit(push)(given, moves)
    cotangent = rng.normal(size=moved.shape)
    _, gradients = run()(given, cotangent)
    expected = sum(
        np.sum(gradients[name] * moves[name], axis=tuple(range(1, moves[name].ndim)))
        for name in given
    )
    np.testing.assert_allclose(np.sum(moved * cotangent, axis=(1, 2)), expected, rtol=1e-9)


def sparse_network(dtype, neurons=600):
    """Arguments of a large layer, by lists and by matrices."""
    rng = np.random.default_rng(95)
    weights, lists = {}, {}
    for name, mean in (("weight", 2.5), ("recurrent_weight", -0.2)):
        mask = rng.random((neurons, neurons)) < 0.01
        pairs = np.argwhere(mask)
        values = (mean + 0.3 * rng.normal(size=len(pairs))).astype(dtype)
        matrix = np.zeros(mask.shape, dtype)
        matrix[mask] = values
        weights[name] = matrix
        of = {"weight": "connections", "recurrent_weight": "recurrent_connections"}[name]
        lists |= {name: values, of: jax_core.Sparse.of(pairs, neurons, neurons, hearers=True)}
    spikes = np.sort(rng.uniform(0, 0.1, (2, neurons, 2)), axis=-1).astype(dtype)
    constants = {"tau_syn": 5e-3, "refractory": 2e-3, "t_max": 0.1, "max_spikes": 32}
    return {"spikes": spikes, **lists}, {"spikes": spikes, **weights}, constants


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "changed",
    [
        {},
        pytest.param({"tau_syn": 1e-2}, marks=pytest.mark.thorough),
        {"refractory": math.inf},
        pytest.param({"refractory": 0.0, "tau_syn": 2e-2}, marks=pytest.mark.thorough),
    ],
    ids=repr,
)
def test_large_layers_choose_lists_and_find_the_same(changed):
    lists, matrices, constants = sparse_network(np.float64)
    constants |= changed
    found = np.asarray(jax_core.recurrent_lif(**lists, **constants))
    expected = np.asarray(jax_core.recurrent_lif(**matrices, **constants))
    assert np.isfinite(expected).sum() > 500
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    same = jax_core.recurrent_lif(**lists, **constants, solver="lockstep")
    np.testing.assert_allclose(same, expected, rtol=1e-12)


def test_single_precision_and_what_is_undefined():
    lists, matrices, constants = sparse_network(np.float32)
    found = np.asarray(jax_core.recurrent_lif(**lists, **constants))
    expected = np.asarray(jax_core.recurrent_lif(**matrices, **constants))
    assert (np.isfinite(found) == np.isfinite(expected)).mean() > 0.999
    for name in ("weight", "recurrent_weight"):
        unknown = {**lists, name: np.full_like(lists[name], np.nan)}
        out = jax_core.recurrent_lif(**unknown, **constants, validate=False)
        assert np.isnan(out).all(), name
    late = {**lists, "recurrent_delay": np.full(600, np.nan, np.float32)}
    assert np.isnan(jax_core.recurrent_lif(**late, **constants, validate=False)).all()


def test_an_overflow_ends_the_sample():
    lists, _, constants = sparse_network(np.float32)
    constants |= {"max_spikes": 2, "on_overflow": "truncate"}
    out, health = jax_core.recurrent_lif(**lists, **constants, return_health=True)
    # Two samples end, each with the first neuron for which there is no room.
    assert health.overflow.sum() == 2
    assert np.isfinite(out).sum(axis=-1).max() == 2
    with pytest.raises(ValueError, match="more than max_spikes = 2"):
        jax_core.recurrent_lif(**lists, **{**constants, "on_overflow": "error"})


def test_nothing_in_nothing_out():
    nobody, none = (
        jax_core.Sparse.of(np.zeros((0, 2), int), 0, 0, hearers=True),
        np.zeros(0, np.float32),
    )
    lists = {"connections": nobody, "recurrent_connections": nobody, "solver": "lists"}
    out = jax_core.recurrent_lif(np.zeros((3, 0, 1), np.float32), none, none, **lists)
    assert out.shape == (3, 0, 1)
    one_hears = jax_core.Sparse.of(np.array([[0, 0]]), 1, 2, hearers=True)
    apart = jax_core.Sparse.of(np.zeros((0, 2), int), 2, 2, hearers=True)
    lists = {"connections": one_hears, "recurrent_connections": apart, "solver": "lists"}
    one = np.full(1, 5, np.float32)
    for shape in [(0, 1, 1), (3, 1, 0)]:
        out = jax_core.recurrent_lif(np.zeros(shape, np.float32), one, none, **lists)
        assert out.shape == (shape[0], 2, 1)
        assert np.isinf(out).all()
    out = jax_core.recurrent_lif(np.zeros((3, 1, 1), np.float32), one, none, **lists)
    assert np.isfinite(out[:, 0]).all()
    assert np.isinf(out[:, 1]).all()


OWN = jax_core.Sparse.of(np.array([[0, 1], [1, 1]]), 2, 2)
BAD = {
    "a matrix of weights": ({"recurrent_weight": np.ones((2, 2), np.float32)}, r"shape \(2,\)"),
    "others": ({"recurrent_connections": jax_core.Conv((1,))}, "must be Sparse, got Conv"),
    "of other neurons": (
        {"recurrent_connections": jax_core.Sparse.of(np.array([[0, 0]]), 3, 2)},
        "from the layer's 2 neurons to themselves, got some from 3 to 2",
    ),
    "delays": (
        {"recurrent_connections": jax_core.Sparse.of(np.array([[0, 1]]), 2, 2, np.ones(1))},
        "must have no delay of their own; give recurrent_delay",
    ),
    "dtype": ({"recurrent_weight": np.ones(2, int)}, "recurrent_weight must be float"),
    "nan": ({"recurrent_weight": np.full(2, np.nan, np.float32)}, "recurrent_weight.*finite"),
    "lists": (
        {"solver": "lists", "connections": jax_core.Sparse.of(np.argwhere(np.eye(2)), 2, 2)},
        'solver="lists" is for layers .*hearers=True',
    ),
    "solver": ({"solver": "list"}, 'solver must be .*"chunked" or "lists", got \'list\''),
    "lif": ({"function": jax_core.lif, "solver": "lists"}, "or \"chunked\", got 'lists'"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_named(arguments, message):
    given = {"recurrent_weight": np.ones(2, np.float32), "recurrent_connections": OWN, **arguments}
    function = given.pop("function", jax_core.recurrent_lif)
    if function is jax_core.lif:
        given = {"solver": given["solver"]}
    spikes, weight = np.zeros((3, 1, 1), np.float32), np.ones((2, 1), np.float32)
    with pytest.raises((ValueError, TypeError), match=message):
        function(spikes, weight, **given)
