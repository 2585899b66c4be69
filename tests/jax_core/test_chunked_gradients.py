"""Gradients of the chunked solver against those in lockstep and against finite differences."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core.layer._options import DEFAULTS

from .._thorough import usual
from ..reference import random_networks
from ._layers import pull_back_all, relative_error
from .test_chunked import crowd, heterogeneous
from .test_lif_gradients import finite_differences, smooth

CONSTANTS = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")


@pytest.mark.usefixtures("x64")
def test_gradients_equal_finite_differences_of_the_reference():
    networks = smooth(random_networks(seed=41, networks=150, post=3, max_spikes=3, t_max=8.0))
    assert len(networks.weight) > 40
    cotangent = np.random.default_rng(42).normal(size=networks.spike_times.shape)
    spikes, weight, constants = finite_differences(networks, cotangent)
    found = pull_back_all(networks, cotangent, solver="chunked")
    assert relative_error(found[0], spikes).max() < 1e-6
    assert relative_error(found[1], weight).max() < 1e-6
    for name in ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset"):
        assert relative_error(found[2][name], constants[name]).max() < 1e-6, name


def gradients(layer, spikes, weight, given, solver, **options):
    """Gradients in spike times (or events' times), weights, and constants."""

    def loss(spikes, weight, constants):
        out = layer(spikes, weight, **constants, solver=solver, **options)
        upstream = np.random.default_rng(1).normal(size=out.shape).astype(out.dtype)
        return jnp.sum(jnp.where(jnp.isfinite(out), out, 0) * upstream)

    # What is a number has a gradient of its own as a scalar array.
    dtype = weight.dtype
    constants = {name: jnp.asarray(given.get(name, DEFAULTS[name]), dtype) for name in CONSTANTS}
    return jax.jit(jax.grad(loss, argnums=(0, 1, 2), allow_int=True))(spikes, weight, constants)


def assert_equal_gradients(one, other, tolerance):
    trees = jax.tree.leaves(one), jax.tree.leaves(other)
    for found, expected in zip(*trees, strict=True):
        if expected.dtype == jax.dtypes.float0:
            continue
        largest = np.abs(expected).max()
        assert np.abs(np.asarray(found) - np.asarray(expected)).max() <= tolerance * largest


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", usual({"heterogeneous"}, ["shared", "heterogeneous", "once"]))
def test_all_gradients_equal_those_in_lockstep(kind, rng):
    given = {
        "shared": {"tau_syn": 5e-3, "v_reset": -0.3},
        "heterogeneous": heterogeneous(rng, 50, np.float64),
        "once": {"tau_syn": 5e-3, "refractory": math.inf},
    }[kind]
    form = jax_core.Form(spikes_once=kind == "once", is_refractory=kind != "shared")
    spikes, weight = crowd(rng, np.float64)
    options = {"max_spikes": 6, "t_max": 0.18, "on_overflow": "truncate", "form": form}
    given = spikes, weight, given
    expected = gradients(jax_core.lif, *given, "lockstep", **options)
    found = gradients(jax_core.lif, *given, "chunked", **options)
    assert all(np.any(x) for x in expected[:2])
    assert_equal_gradients(found, expected, 1e-9)


@pytest.mark.usefixtures("x64")
def test_observed_spikes_within_refractory_periods_and_at_events(rng):
    """Spikes that no model would emit, some at the times of events or of releases."""
    spikes, weight = crowd(rng, np.float64, post=20)
    observed = rng.uniform(0, 0.2, (3, 20, 5))
    observed[:, :5, 1] = observed[:, :5, 0] + 6e-3
    observed[:, 5:10, :3] = spikes[:, :5, :3]
    observed[:, 10:12] = math.inf
    observed = np.sort(observed, axis=-1)

    def layer(spikes, weight, **options):
        seen, _ = jax_core.lif_observed(spikes, weight, observed, return_health=True, **options)
        return seen

    given = spikes, weight, {"refractory": 6e-3}
    expected = gradients(layer, *given, "lockstep")
    assert_equal_gradients(gradients(layer, *given, "chunked"), expected, 1e-9)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("refractory", "delay"), usual({(3e-3, 1e-3)}, [(0.0, None), (3e-3, 1e-3)])
)
def test_events_and_spikes_of_a_recurrent_layer(refractory, delay, rng):
    spikes, weight = crowd(rng, np.float64, post=10)
    events = jax_core.events_from_spike_times(spikes)
    recurrent = rng.normal(0, 1, (10, 10))

    def layer(events, weight, **options):
        return jax_core.recurrent_lif(events, weight, recurrent, recurrent_delay=delay, **options)

    # Two equal neurons spike in the same moments.
    weight[1], recurrent[1] = weight[0], recurrent[0]
    tau_mem = rng.uniform(0.01, 0.03, 10) if delay else 2e-2
    given = events, weight, {"tau_mem": tau_mem, "tau_syn": 5e-3, "refractory": refractory}
    form = jax_core.Form(is_refractory=refractory > 0)
    options = {"max_spikes": 30, "t_max": 0.1, "on_overflow": "truncate", "form": form}
    expected = gradients(layer, *given, "lockstep", **options)
    assert np.any(expected[0].time)
    assert_equal_gradients(gradients(layer, *given, "chunked", **options), expected, 1e-9)


def test_a_neuron_that_is_undefined_leaves_the_others_alone_in_float32(rng):
    spikes, weight = crowd(rng, np.float32)
    weight[7] = math.nan

    @partial(jax.jit, static_argnums=1)
    @jax.grad
    def gradient(weight, solver):
        options = {"max_spikes": 6, "t_max": 0.18, "on_overflow": "truncate", "validate": False}
        out = jax_core.lif(spikes, weight, tau_syn=5e-3, solver=solver, **options)
        return jnp.sum(jnp.where(jnp.isfinite(out), jnp.sin(300 * out), 0))

    expected, found = gradient(weight, "lockstep"), gradient(weight, "chunked")
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    others = np.arange(50) != 7
    assert_equal_gradients(found[others], expected[others], 1e-4)


@pytest.mark.usefixtures("x64")
def test_directions_agree(rng):
    """Forward mode, which all pairs go through at once, and backward mode."""
    spikes, weight = crowd(rng, np.float64, batch=2, post=10)
    spikes = np.where(np.isfinite(spikes), spikes, 0.19)

    def layer(spikes, weight):
        options = {"max_spikes": 6, "t_max": 0.18, "on_overflow": "truncate"}
        out = jax_core.lif(spikes, weight, solver="chunked", **options)
        return jnp.where(jnp.isfinite(out), out, 0)

    moves = rng.normal(size=spikes.shape), rng.normal(size=weight.shape)
    out, moved = jax.jvp(layer, (spikes, weight), moves)
    moved, upstream = np.asarray(moved), rng.normal(size=out.shape)
    _, pull_back = jax.vjp(layer, spikes, weight)
    found = sum(
        np.sum(x * y) for x, y in zip(map(np.asarray, pull_back(upstream)), moves, strict=True)
    )
    assert found == pytest.approx(np.sum(moved * upstream), rel=1e-9)
