"""Gradients of convolutions, sparse layers and delays of single connections."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from .._thorough import usual
from ..reference import CONSTANTS
from ._connected import arguments, draw, of, pull_back_all, simulate_all
from ._layers import relative_error

KINDS = ["conv1d", "conv2d", "sparse", "sparse with delays", "synaptic delays"]
STEP = 2e-4


def smooth(kind, **options):
    """Ten networks whose gradients finite differences can tell to 1e-6, and cotangents."""
    networks, connections = draw(kind, networks=250, **options)
    # A refractory period of zero could not be moved to the left.
    refractory = networks.constants["refractory"]
    refractory[refractory == 0] = 0.05
    # A step neither adds nor removes a spike, nor moves one across an input, and the fourth-order
    # remainder of the difference stays below its tolerance.
    keep = networks.all_runs(
        lambda run: run.margin > 0.03 and run.gap > 5e-3 and max(run.condition, default=0) < 60
    )
    assert keep.sum() > 10
    keep &= np.cumsum(keep) <= 10
    kept = networks.select(keep)
    case = kept, jax.tree.map(lambda leaf: leaf[keep], connections)
    return case, np.random.default_rng(1).normal(size=kept.spike_times.shape)


def differences(case, cotangent):
    """What `pull_back_all` gives, by finite differences of the spike times."""
    given = jax.tree.map(np.asarray, arguments(case))

    def loss(changed):
        spikes = simulate_all(case, changed)
        fired = np.isfinite(spikes)
        assert (fired == np.isfinite(case[0].spike_times)).all()
        return np.sum(np.where(fired, spikes, 0) * cotangent, axis=(1, 2))

    leaves, tree = jax.tree.flatten(given)

    def of_leaf(place):
        found = np.zeros_like(leaves[place]).reshape(len(cotangent), -1)
        for element in range(found.shape[1]):

            def moved(steps, element=element):
                changed = list(leaves)
                leaf = leaves[place].copy()
                leaf.reshape(len(leaf), -1)[:, element] += steps * STEP
                changed[place] = leaf
                return loss(jax.tree.unflatten(tree, changed))

            near, far = moved(1) - moved(-1), moved(2) - moved(-2)
            found[:, element] = (8 * near - far) / (12 * STEP)
        return found.reshape(leaves[place].shape)

    return jax.tree.unflatten(tree, [of_leaf(place) for place in range(len(leaves))])


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", usual({"conv2d", "sparse with delays"}, KINDS))
def test_gradients_equal_finite_differences(kind):
    case, cotangent = smooth(kind, seed=41)
    spikes, weight, constants, delay = pull_back_all(case, cotangent)
    expected = differences(case, cotangent)
    assert relative_error(spikes, expected[0]).max() < 1e-6
    assert relative_error(weight, expected[1]).max() < 1e-6
    for name in CONSTANTS:
        assert relative_error(constants[name], expected[2][name]).max() < 1e-6, name
        assert np.count_nonzero(expected[2][name]) > 5
    if delay is not None:
        assert relative_error(delay, expected[3]).max() < 1e-6
        assert np.count_nonzero(delay) > delay.size / 3


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "kind", usual({"sparse with delays"}, ["conv2d", "sparse with delays", "synaptic delays"])
)
def test_both_methods_give_the_same_gradients(kind):
    case, cotangent = smooth(kind, seed=42, max_spikes=1, t_max=math.inf)
    found = [
        jax.tree.leaves(pull_back_all(case, cotangent, gradient=method))
        for method in ("eventprop", "fast_and_deep")
    ]
    for one, other in zip(*found, strict=True):
        assert relative_error(one, other).max() < 1e-9
    assert np.abs(found[0][0]).max() > 0.1


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", usual({"sparse with delays"}, ["conv1d", "sparse with delays"]))
def test_forward_mode_and_jit_and_eager_agree_with_reverse_mode(kind):
    (networks, connections), cotangent = smooth(kind, seed=43)
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), connections)
    given = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), arguments((networks, connections)))
    rng = np.random.default_rng(2)
    moves = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), given)

    def run(*given):
        return of((networks, connections))(one, *given)

    out, moved = jax.jvp(run, given, moves)
    eager, pull_back = jax.vjp(run, *given)
    seed = jnp.asarray(cotangent[0].reshape(out.shape))
    np.testing.assert_array_equal(out, eager)
    compiled, gradients = jax.jit(lambda *x: (run(*x), jax.vjp(run, *x)[1](seed)))(*given)
    np.testing.assert_allclose(compiled, out, rtol=1e-13)
    pulled = pull_back(seed)
    for a, b in zip(jax.tree.leaves(pulled), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), pulled, moves)
    total = sum(jax.tree.leaves(products))
    assert float(total) == pytest.approx(float(jnp.sum(seed * moved)), rel=1e-10)
    assert abs(float(total)) > 0.1


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["conv2d", "sparse with delays"])
def test_absent_spikes_have_exactly_zero_gradients(kind):
    case = draw(kind, seed=44, networks=10)
    networks = case[0]
    spikes, *others = pull_back_all(case, np.ones(networks.spike_times.shape))
    assert np.isinf(networks.spikes).any()
    assert np.all(spikes[np.isinf(networks.spikes)] == 0)
    absent = np.isinf(networks.spike_times).astype(float)
    for gradient in jax.tree.leaves(pull_back_all(case, absent)):
        assert np.all(gradient == 0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(others))
