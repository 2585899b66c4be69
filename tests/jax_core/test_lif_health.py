"""Counts of pathologies, and what happens when a neuron has too many spikes."""

import math

import jax
import numpy as np
import pytest

from evtorch import jax_core

from ..reference import CONSTANTS, Networks, random_networks

TONIC = {"tau_mem": 2.0, "tau_syn": 1.0, "v_leak": 1.5}
NO_INPUT = np.full((3, 1, 1), np.inf, np.float32)
ONE_WEIGHT = np.ones((2, 1), np.float32)


def slopes_over_drive(run) -> list[float]:
    """Slopes at spikes in units of the drive that holds the voltage at the threshold."""
    neuron = run.neuron
    unit = (neuron.threshold - neuron.reset) / abs(neuron.threshold)
    return [slope * unit for slope in run.slopes]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("gradient", ["eventprop", "fast_and_deep"])
def test_health_counts_what_the_reference_sees(gradient):
    drawn = random_networks(seed=51, networks=40, post=8)
    # One layer with a batch of 40: all samples meet the same neurons.
    max_spikes = 3 if gradient == "eventprop" else 1
    constants = {k: np.repeat(v[:1], 40, axis=0) for k, v in drawn.constants.items()}
    weight = np.repeat(drawn.weight[:1], 40, axis=0)
    networks = Networks(drawn.spikes, weight, constants, 5.0, max_spikes)
    assert networks.measure("margin").min() > 1e-9
    slopes = [[slopes_over_drive(run) for run in runs] for runs in networks.runs]
    expected = {
        "silent": [[not fired for fired in sample] for sample in slopes],
        "grazing": [[sum(s < 0.8 for s in fired) for fired in sample] for sample in slopes],
        "overflow": [[run.overflow for run in runs] for runs in networks.runs],
    }
    times, health = jax.jit(
        lambda spikes, weight, constants: jax_core.lif(
            spikes,
            weight,
            max_spikes=max_spikes,
            t_max=5.0,
            min_slope=0.8,
            gradient=gradient,
            return_health=True,
            **constants,
        )
    )(drawn.spikes, weight[0], {name: constants[name][0] for name in CONSTANTS})
    np.testing.assert_allclose(times, networks.spike_times, rtol=1e-10)
    for name, counts in expected.items():
        count = np.sum(counts, axis=0)
        assert count.any()
        actual = getattr(health, name)
        assert actual.dtype == np.int32
        np.testing.assert_array_equal(actual, count, err_msg=name)


@pytest.mark.usefixtures("x64")
def test_health_counts_over_all_leading_dimensions():
    spikes = np.array([0.1, np.inf, 0.2, np.inf, 0.3, np.inf]).reshape(2, 3, 1, 1)
    weight = np.array([[9.0], [0.1]])
    options = {"tau_mem": 2.0, "tau_syn": 1.0, "refractory": math.inf}
    _, health = jax_core.lif(spikes, weight, return_health=True, **options)
    np.testing.assert_array_equal(health.silent, [3, 6])
    np.testing.assert_array_equal(health.overflow, [0, 0])


def test_samples_behind_those_that_count_are_not_looked_at():
    many = {"max_spikes": 2, "return_health": True, **TONIC}
    _, health = jax_core.lif(NO_INPUT, ONE_WEIGHT, samples=2, **many)
    np.testing.assert_array_equal(health.overflow, [2, 2])
    assert jax_core.lif(NO_INPUT, ONE_WEIGHT, samples=0, max_spikes=2, **TONIC).shape == (3, 2, 2)
    with pytest.raises(ValueError, match="samples must be >= 0"):
        jax_core.lif(NO_INPUT, ONE_WEIGHT, samples=-1, **TONIC)


def test_overflow_is_an_error_by_default():
    with pytest.raises(ValueError, match="max_spikes") as error:
        jax_core.lif(NO_INPUT, ONE_WEIGHT, max_spikes=2, **TONIC)
    assert "on_overflow" in str(error.value) or "t_max" in str(error.value)


def test_overflow_is_an_error_under_jit_too():
    run = jax.jit(lambda spikes: jax_core.lif(spikes, ONE_WEIGHT, max_spikes=2, **TONIC))
    with pytest.raises(jax.errors.JaxRuntimeError, match="max_spikes"):
        jax.block_until_ready(run(NO_INPUT))


def test_overflow_can_warn():
    def run():
        times = jax_core.lif(NO_INPUT, ONE_WEIGHT, max_spikes=2, on_overflow="warn", **TONIC)
        jax.effects_barrier()
        return times

    with pytest.warns(RuntimeWarning, match="max_spikes"):
        times = run()
    assert np.isfinite(times).all()


def test_overflow_can_be_accepted():
    options = {"max_spikes": 2, "on_overflow": "truncate", **TONIC}
    times = np.asarray(jax_core.lif(NO_INPUT, ONE_WEIGHT, **options))
    more = np.asarray(jax_core.lif(NO_INPUT, ONE_WEIGHT, **{**options, "max_spikes": 5}))
    np.testing.assert_array_equal(times, more[..., :2])


@pytest.mark.parametrize(
    "enough",
    [
        {"max_spikes": 2, "t_max": 5.0},
        {"max_spikes": 1, "refractory": math.inf},
        {"max_spikes": 1, "refractory": np.array([math.inf, math.inf], np.float32)},
        {"max_spikes": 2, "t_max": 5.0, "on_overflow": "warn"},
    ],
    ids=["t_max", "one spike", "one spike each", "t_max, warning"],
)
def test_enough_room_is_no_overflow(enough):
    """A period of 2 ln 3 = 2.2: two spikes up to 5. Warnings are errors in these tests."""
    times = jax_core.lif(NO_INPUT, ONE_WEIGHT, **TONIC, **enough)
    jax.effects_barrier()
    assert np.isfinite(times).all()


def test_overflow_with_a_health_report_is_counted_instead():
    times, health = jax_core.lif(NO_INPUT, ONE_WEIGHT, max_spikes=2, return_health=True, **TONIC)
    assert times.shape == (3, 2, 2)
    np.testing.assert_array_equal(health.overflow, [3, 3])
    np.testing.assert_array_equal(health.silent, [0, 0])
