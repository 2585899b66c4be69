"""Spike times and voltages of feed-forward layers against the reference simulator."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual
from ..reference import random_networks
from ._layers import arguments, layer, simulate_all

T_MAX = {"endless": math.inf, "until 5": 5.0}

# Constants that all neurons share can be Python floats, which selects closed forms at compile time.
STATIC = {
    "tau_mem = tau_syn": {"tau_mem": 1.0, "tau_syn": 1.0},
    "tau_mem = 2 tau_syn": {"tau_mem": 2.0, "tau_syn": 1.0},
    "tau_mem = 2 tau_syn, biased": {
        "tau_mem": 1.5,
        "tau_syn": 0.75,
        "v_leak": 0.2,
        "v_reset": -0.4,
        "v_threshold": 0.8,
        "refractory": 0.3,
    },
    "tau_mem = 2 tau_syn, leak over threshold": {
        "tau_mem": 2.0,
        "tau_syn": 1.0,
        "v_leak": 1.3,
        "v_reset": -0.1,
        "v_threshold": 1.0,
        "refractory": 0.0,
    },
    "tau_mem = tau_syn, leak over threshold": {
        "tau_mem": 1.0,
        "tau_syn": 1.0,
        "v_leak": 1.1,
        "v_reset": 0.0,
        "v_threshold": 1.0,
        "refractory": 0.5,
    },
    "tau_mem < tau_syn": {"tau_mem": 0.4, "tau_syn": 1.0, "v_leak": 0.1, "refractory": 0.0},
    "tau_mem = 2 tau_syn, one spike": {"tau_mem": 2.0, "tau_syn": 1.0, "refractory": math.inf},
    "leak over threshold, one spike": {
        "tau_mem": 0.5,
        "tau_syn": 0.25,
        "v_leak": 1.2,
        "v_reset": 0.3,
        "v_threshold": 1.0,
        "refractory": math.inf,
    },
    "tau_mem = 5 tau_syn": {"tau_mem": 5.0, "tau_syn": 1.0, "refractory": math.inf},
}
USUAL = [
    STATIC[kind]
    for kind in (
        "tau_mem = tau_syn",
        "tau_mem = 2 tau_syn, leak over threshold",
        "tau_mem < tau_syn",
        "tau_mem = 2 tau_syn, one spike",
    )
]


def assert_close(spikes, networks, tolerance, keep):
    """Equal patterns, and times within ``tolerance`` membrane time constants, where ``keep``."""
    expected = networks.spike_times
    np.testing.assert_array_equal(np.isfinite(spikes)[keep], np.isfinite(expected)[keep])
    fired = np.isfinite(expected) & keep[..., None]
    scale = np.minimum(networks.constants["tau_mem"], networks.constants["tau_syn"])[..., None]
    error = np.abs(np.where(fired, spikes, 0) - np.where(fired, expected, 0)) / scale
    assert error.max() < tolerance


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("t_max", T_MAX.values(), ids=T_MAX)
def test_spikes_equal_the_reference_in_float64(t_max):
    networks = random_networks(seed=11, networks=400, t_max=t_max)
    everything = networks.measure("margin") > 1e-10
    assert everything.all()
    assert_close(simulate_all(networks), networks, 1e-11, everything)


@pytest.mark.parametrize("t_max", T_MAX.values(), ids=T_MAX)
def test_spikes_equal_the_reference_in_float32(t_max):
    networks = random_networks(seed=12, networks=800, t_max=t_max, dtype=np.float32)
    # Rounding moves voltages by about 1e-6 of the threshold and so, with an error of at most
    # 1e-4 to find, a spike by `condition` times as much. What it may legitimately remove, add or
    # move further says nothing about the solver.
    keep = (networks.measure("margin") > 1e-4) & (networks.measure("condition") < 100)
    assert keep.all(axis=1).sum() >= 500
    spikes = simulate_all(networks)
    assert spikes.dtype == np.float32
    assert_close(spikes, networks, 1e-4, keep)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("constants", usual(USUAL, STATIC.values()), ids=STATIC)
def test_constants_given_as_numbers_choose_an_equally_exact_solver(constants):
    networks = random_networks(seed=13, networks=100, post=3, max_spikes=3, fixed=constants)
    others = {k: v for k, v in networks.constants.items() if k not in constants}
    run = layer(networks)
    spikes = jax.jit(jax.vmap(lambda s, w, c: run(s, w, {**c, **constants})))(
        networks.spikes, networks.weight, others
    )
    everything = networks.measure("margin") > 1e-10
    assert everything.all()
    assert_close(np.asarray(spikes), networks, 1e-9, everything)


@pytest.mark.usefixtures("x64")
def test_spikes_at_t_max_count_and_later_ones_do_not():
    spikes, weight = np.array([[0.5]]), np.array([[6.0]])
    options = {"tau_mem": 2.0, "tau_syn": 1.0}
    first = float(jax_core.lif(spikes, weight, **options)[0, 0])
    for t_max, expected in [(first * (1 + 1e-12), first), (first * (1 - 1e-12), math.inf)]:
        assert float(jax_core.lif(spikes, weight, t_max=t_max, **options)[0, 0]) == expected


@pytest.mark.usefixtures("x64")
def test_leading_batch_dimensions_of_any_number():
    networks = random_networks(seed=15, networks=6, post=3, max_spikes=2)
    weight = networks.weight[0]
    constants = {name: value[0] for name, value in networks.constants.items()}
    options = {"max_spikes": 2, "on_overflow": "truncate", **constants}
    single = np.stack([jax_core.lif(s, weight, **options) for s in networks.spikes])
    assert np.isfinite(single).any()
    for batch in [(6,), (2, 3), (1, 6, 1)]:
        spikes = networks.spikes.reshape(*batch, 6, 2)
        result = jax_core.lif(spikes, weight, **options)
        np.testing.assert_allclose(result, single.reshape(*batch, 3, 2), rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_eager_equals_jit():
    networks = random_networks(seed=16, networks=1)
    spikes, weight, constants = jax.tree.map(lambda x: jnp.asarray(x[0]), arguments(networks))
    run = layer(networks)
    eager = run(spikes, weight, constants)
    compiled = jax.jit(run)(spikes, weight, constants)
    np.testing.assert_allclose(eager, compiled, rtol=1e-14)


@pytest.mark.usefixtures("x64")
def test_trace_equals_the_reference_voltage(rng):
    drawn = random_networks(seed=17, networks=60, max_spikes=20, t_max=8.0)
    networks = drawn.select(~np.array([any(run.overflow for run in runs) for runs in drawn.runs]))
    assert len(networks.weight) > 20
    times = np.sort(rng.uniform(0, 8, 60))

    def trace(spikes, weight, constants):
        options = {"max_spikes": 20, "t_max": 8.0, **constants}
        return jax_core.lif_trace(spikes, weight, times, **options)

    voltage = np.asarray(jax.jit(jax.vmap(trace))(*arguments(networks)))
    expected = [[[run.voltage(t) for t in times] for run in runs] for runs in networks.runs]
    assert voltage.shape == (len(networks.weight), 4, 60)
    np.testing.assert_allclose(voltage, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("unit", [1e-6, 1e-3, 2.0**-20])
def test_unit_of_time_changes_nothing_in_float32(unit):
    networks = random_networks(seed=18, networks=300, dtype=np.float32)
    small = networks.scaled(unit)
    spikes, scaled = simulate_all(networks), simulate_all(small)
    if unit == 2.0**-20:
        # Nothing is rounded, so that all digits agree.
        np.testing.assert_array_equal(scaled, spikes * np.float32(unit))
        return
    keep = (networks.measure("margin") > 1e-4) & (networks.measure("condition") < 100)
    assert keep.mean() > 0.9
    assert_close(scaled, small, 1e-4, keep)
    np.testing.assert_allclose(scaled[keep] / unit, spikes[keep], rtol=0, atol=1e-4)
