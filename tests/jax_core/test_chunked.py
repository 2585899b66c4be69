"""The chunked solver finds what the reference and the solver in lockstep find."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core.connect._conv import Conv
from evtorch.jax_core.simulate._solver import goes_in_chunks, simulates_in_chunks

from .._thorough import usual
from ..reference import random_networks
from ._layers import simulate_all

TRUNCATED = {"on_overflow": "truncate", "return_health": True}


def together(networks):
    """All networks as one layer of neurons that hear their own network's input only."""
    count, post, pre = networks.weight.shape
    weight = np.zeros((count, post, count, pre), networks.weight.dtype)
    weight[np.arange(count), :, np.arange(count)] = networks.weight
    return networks.spikes.reshape(count * pre, -1), weight.reshape(count * post, count * pre)


def assert_equals_the_reference(actual, networks, tolerance, keep):
    expected = networks.spike_times
    actual = np.asarray(actual).reshape(expected.shape)
    np.testing.assert_array_equal(np.isfinite(actual)[keep], np.isfinite(expected)[keep])
    fired = np.isfinite(expected) & keep[..., None]
    scale = np.minimum(networks.constants["tau_mem"], networks.constants["tau_syn"])[..., None]
    error = np.abs(np.where(fired, actual, 0) - np.where(fired, expected, 0)) / scale
    assert error.max() < tolerance


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("t_max", usual({math.inf}, [math.inf, 5.0]))
def test_spikes_of_many_networks_in_one_layer_equal_the_reference(t_max):
    """500 of them, which split each other's intervals; all that neurons can be, in one layer."""
    networks = random_networks(seed=31, networks=500, t_max=t_max)
    spikes, weight = together(networks)
    constants = {name: value.reshape(-1) for name, value in networks.constants.items()}
    options = {"max_spikes": networks.max_spikes, "t_max": t_max, "solver": "chunked"}
    out, health = jax_core.lif(spikes, weight, **constants, **options, **TRUNCATED)
    keep = networks.measure("margin") > 1e-9
    assert keep.all()
    assert_equals_the_reference(out, networks, 1e-9, keep)
    overflow = [run.overflow for runs in networks.runs for run in runs]
    once = np.isinf(constants["refractory"])
    np.testing.assert_array_equal(np.asarray(health.overflow)[~once] > 0, np.array(overflow)[~once])


def test_spikes_of_mapped_networks_equal_the_reference_in_float32():
    networks = random_networks(seed=32, networks=500, dtype=np.float32)
    keep = (networks.measure("margin") > 1e-4) & (networks.measure("condition") < 100)
    spikes = simulate_all(networks, solver="chunked")
    assert spikes.dtype == np.float32
    assert_equals_the_reference(spikes, networks, 1e-4, keep)


FORMS = {
    "equal": {"tau_mem": 1.0, "tau_syn": 1.0, "refractory": 0.0},
    "slow synapse": {"tau_mem": 0.4, "tau_syn": 1.0, "v_leak": 0.1, "refractory": 0.2},
    "double, leak over threshold": {
        "tau_mem": 2.0,
        "tau_syn": 1.0,
        "v_leak": 1.3,
        "v_reset": -0.1,
        "v_threshold": 1.0,
        "refractory": 0.0,
    },
    "double, once": {"tau_mem": 2.0, "tau_syn": 1.0, "refractory": math.inf},
    "once": {"tau_mem": 5.0, "tau_syn": 1.0, "refractory": math.inf},
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "fixed", usual([FORMS["equal"], FORMS["double, once"]], FORMS.values()), ids=FORMS
)
def test_constants_given_as_numbers(fixed):
    networks = random_networks(seed=33, networks=100, max_spikes=3, t_max=9.0, fixed=fixed)
    spikes, weight = together(networks)
    others = {name: x.reshape(-1) for name, x in networks.constants.items() if name not in fixed}
    options = {"max_spikes": 3, "t_max": 9.0, "solver": "chunked", **TRUNCATED}
    out, _ = jax_core.lif(spikes, weight, **fixed, **others, **options)
    assert_equals_the_reference(out, networks, 1e-9, networks.measure("margin") > 1e-9)


def crowd(rng, dtype, batch=3, pre=40, post=50, k=6):
    """A batch of more events than a chunk has, some of them at the same time, and weights."""
    spikes = rng.uniform(0, 0.2, (batch, pre, k))
    spikes[:, 1] = spikes[:, 0]
    spikes[rng.random(spikes.shape) < 0.2] = math.inf
    spikes[0, 20:] = math.inf
    return np.sort(spikes, axis=-1).astype(dtype), rng.normal(0.3, 1.0, (post, pre)).astype(dtype)


def both(spikes, weight, **options):
    options = {"max_spikes": 6, "tau_syn": 5e-3, "t_max": 0.18, **TRUNCATED, **options}
    return tuple(
        jax_core.lif(spikes, weight, solver=solver, **options) for solver in ("lockstep", "chunked")
    )


def heterogeneous(rng, post, dtype):
    return {
        "tau_mem": rng.uniform(0.01, 0.03, post).astype(dtype),
        "tau_syn": rng.uniform(0.004, 0.02, post).astype(dtype),
        "v_reset": rng.uniform(-0.5, 0.5, post).astype(dtype),
        "refractory": rng.choice([0.0, 0.003, 0.02, math.inf], post).astype(dtype),
    }


@pytest.mark.parametrize(
    ("dtype", "kind"),
    usual(
        {
            (np.float64, "endless"),
            (np.float64, "heterogeneous"),
            (np.float64, "once"),
            (np.float32, "shared"),
        },
        [
            *(
                (np.float64, kind)
                for kind in ("shared", "endless", "pauses", "heterogeneous", "once")
            ),
            *((np.float32, kind) for kind in ("shared", "heterogeneous")),
        ],
    ),
)
def test_a_batch_equals_that_in_lockstep(dtype, kind, rng):
    options = {
        "shared": {"max_spikes": 6},
        "endless": {"max_spikes": 40, "t_max": math.inf},
        "pauses": {"refractory": 4e-3},
        "heterogeneous": heterogeneous(rng, 50, dtype),
        "once": {"refractory": math.inf},
    }[kind]
    with jax.enable_x64(dtype == np.float64):
        spikes, weight = crowd(rng, dtype)
        (expected, health), (out, found) = both(spikes, weight, **options)
        np.testing.assert_array_equal(np.isfinite(out), np.isfinite(expected))
        fired = np.isfinite(expected)
        tolerance = 1e-9 if dtype == np.float64 else 1e-5
        np.testing.assert_allclose(out[fired], expected[fired], rtol=tolerance)
        assert fired.any(axis=(0, 2)).mean() > 0.5
        assert bool(jnp.any(health.overflow > 0)) == (kind not in ("endless", "once"))
        for one, other in zip(health[:3], found[:3], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("x64")
def test_spikes_that_graze_the_threshold(rng):
    """Weights within a few roundings of the one that just reaches it, in many intervals."""
    spikes = np.full((1, 60, 1), math.inf)
    spikes[0, :40, 0] = np.sort(rng.uniform(0.1, 0.2, 40))
    spikes[0, 40, 0] = 0.01
    tau_mem, tau_syn = 2e-2, 5e-3
    peak = math.log(tau_mem / tau_syn) * tau_mem * tau_syn / (tau_mem - tau_syn)
    height = tau_syn / (tau_mem - tau_syn) * (math.exp(-peak / 2e-2) - math.exp(-peak / 5e-3))
    weight = np.zeros((300, 60))
    weight[:, 40] = 1 / height * (1 + np.arange(-150, 150) * 2e-16)
    (expected, _), (out, _) = both(spikes, weight, t_max=1.0)
    assert 100 < np.isfinite(expected).sum() < 200
    np.testing.assert_array_equal(np.isfinite(out), np.isfinite(expected))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("refractory", usual({2e-3}, [0.0, 2e-3]))
def test_events_at_the_very_time_of_spikes_releases_and_the_end(refractory):
    weight = np.array([[30.0, 25.0, -10.0], [26.0, 30.0, 40.0]])
    first = np.array([[[0.01], [math.inf], [math.inf]]])
    options = {"refractory": refractory, "t_max": 0.05}
    spike = float(both(first, weight, **options)[0][0][0, 0, 0])
    times = np.array([[[0.01], [spike], [spike + refractory]], [[0.01], [0.05], [spike]]])
    (expected, _), (out, _) = both(times, weight, **options)
    assert np.isfinite(expected).sum() > 4
    np.testing.assert_array_equal(np.isfinite(out), np.isfinite(expected))
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@pytest.mark.parametrize("refractory", usual({0.0}, [0.0, math.inf]))
def test_what_is_undefined(refractory, rng):
    spikes, weight = crowd(rng, np.float32)
    weight[7, 3] = math.nan
    threshold = np.ones(50, np.float32)
    threshold[9] = math.nan
    events = jax_core.events_from_spike_times(spikes)
    events = events._replace(time=jnp.asarray(events.time).at[2, -1].set(math.nan))
    options = {"v_threshold": threshold, "refractory": refractory, "validate": False}
    (expected, _), (out, _) = both(events, weight, **options)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(expected))
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    assert np.isnan(out[:, 9, 0]).all()
    assert np.isnan(out[2, :, 0]).all()
    assert not np.isnan(out).all()


@pytest.mark.parametrize(
    ("shape", "post"),
    usual(
        {((2, 4, 0), 3), ((2, 4, 2), 0)},
        [((2, 4, 0), 3), ((2, 4, 2), 0), ((0, 4, 2), 3), ((1, 1, 1), 1)],
    ),
)
def test_layers_of_next_to_nothing(shape, post):
    spikes = np.full(shape, 0.01, np.float32)
    weight = np.full((post, shape[-2]), 30.0, np.float32)

    def run(spikes, weight, solver):
        options = {"solver": solver, "max_spikes": 4, "t_max": 1.0, "on_overflow": "truncate"}
        out = jax_core.lif(spikes, weight, **options)
        return jnp.sum(jnp.where(jnp.isfinite(out), out, 0)), out

    find = jax.value_and_grad(run, argnums=(0, 1), has_aux=True)
    (_, expected), gradients = find(spikes, weight, "lockstep")
    (_, out), found = find(spikes, weight, "chunked")
    np.testing.assert_allclose(out, expected, rtol=1e-6)
    for one, other in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-9)


def test_many_events_and_neurons(rng):
    """10^4 events and 300 neurons, in float32."""
    time = np.sort(rng.uniform(0, 1, (1, 10_000)).astype(np.float32))
    events = jax_core.Events(time, rng.integers(0, 100, (1, 10_000)).astype(np.int32))
    weight = rng.normal(0.018, 0.05, (300, 100)).astype(np.float32)
    (expected, _), (out, _) = both(events, weight, max_spikes=40, t_max=1.0)
    count, other = (np.isfinite(x).sum(axis=-1) for x in (expected, out))
    assert 5 < count.mean() < 30
    assert (count == other).mean() > 0.99
    same = np.isfinite(out) & np.isfinite(expected) & (count == other)[..., None]
    np.testing.assert_allclose(out[same], expected[same], rtol=0, atol=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "kind", usual({"heterogeneous", "once"}, ["shared", "pauses", "heterogeneous", "once"])
)
def test_a_recurrent_layer_equals_that_in_lockstep(kind, rng):
    options = {
        "shared": {"max_spikes": 30, "t_max": math.inf},
        "pauses": {"refractory": 4e-3, "max_spikes": 4},
        "heterogeneous": {**heterogeneous(rng, 20, np.float64), "max_spikes": 30},
        "once": {"refractory": math.inf},
    }[kind]
    spikes, weight = crowd(rng, np.float64, post=20)
    recurrent = rng.normal(0, 1.0, (20, 20))
    # Two equal neurons spike in the same moments.
    weight[1], recurrent[1] = weight[0], recurrent[0]
    options = {"tau_syn": 5e-3, "t_max": 0.18, **TRUNCATED, **options}
    (expected, health), (out, found) = (
        jax_core.recurrent_lif(spikes, weight, recurrent, solver=solver, **options)
        for solver in ("lockstep", "chunked")
    )
    assert np.isfinite(expected[..., 0]).mean() > 0.4
    np.testing.assert_array_equal(np.isfinite(out), np.isfinite(expected))
    np.testing.assert_allclose(out, expected, rtol=1e-9)
    np.testing.assert_array_equal(found.overflow, health.overflow)


def test_groups_of_connections(rng):
    """Explicitly chunked, under a map over groups; left alone, it would be in lockstep."""
    spikes = np.sort(rng.uniform(0, 0.1, (2, 4, 12, 3)), axis=-1).astype(np.float32)
    weight = rng.normal(3, 3, (6, 2, 5)).astype(np.float32)
    options = {"connections": Conv(kernel_size=(5,), groups=2), "max_spikes": 5}
    (expected, health), (out, found) = both(spikes, weight, **options)
    assert np.isfinite(expected).sum() > 50
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    np.testing.assert_array_equal(health.silent, found.silent)


def test_the_choice_goes_by_sizes():
    several, once = jax_core.Form(is_refractory=False), jax_core.Form(spikes_once=True)
    assert simulates_in_chunks("auto", 8000, 8192, 32, several)
    assert simulates_in_chunks("auto", 8000, 8192, 32, once)
    assert not simulates_in_chunks("auto", 8000, 8192, 32, once._replace(ratio=2))
    # Small networks, and such as spike in every few intervals.
    for slots, lanes, room in ((5, 64 * 100, 1), (1000, 10, 1), (64, 64 * 100, 16)):
        assert not goes_in_chunks("auto", slots, lanes, room)
    for slots, lanes in ((5, 10), (8000, 8192)):
        assert goes_in_chunks("chunked", slots, lanes, 100)
        assert not goes_in_chunks("lockstep", slots, lanes, 1)
        assert simulates_in_chunks("chunked", slots, lanes, 1, once._replace(ratio=2))


def test_an_unknown_solver():
    with pytest.raises(ValueError, match=r'solver must be "auto", "lockstep" or "chunked", got 3'):
        jax_core.lif(np.zeros((1, 1)), np.ones((1, 1)), solver=3)  # pyright: ignore[reportArgumentType]
