"""Identities of the model, on random layers drawn by hypothesis."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtorch import jax_core

from ..reference import random_networks

SPIKES = 3
seeds = st.integers(0, 2**32 - 1)
# The fixture in question only switches float64 on, which is the same for all examples.
examples = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@functools.cache
def compiled():
    """Spike times of one layer and their Jacobian in the input times, compiled once."""

    def run(spikes, weight, constants):
        options = {"max_spikes": SPIKES, "on_overflow": "truncate"}
        return jax_core.lif(spikes, weight, **options, **constants)

    return jax.jit(run), jax.jit(jax.jacrev(run))


def draw(seed, leak_below_threshold=False):
    """One layer of well-conditioned neurons: spikes, weight, constants."""
    networks = random_networks(seed, networks=6, pre=5, post=3, max_spikes=SPIKES)
    keep = (networks.measure("margin") > 1e-3) & (networks.measure("condition") < 1e3)
    if leak_below_threshold:
        keep &= networks.constants["v_leak"] < networks.constants["v_threshold"]
    # Neurons are independent: layers are put together from those that are fit for comparison.
    first = int(np.argmax(keep.sum(axis=1)))
    chosen = np.resize(np.flatnonzero(keep[first]), 3)
    constants = {name: value[first, chosen] for name, value in networks.constants.items()}
    return networks.spikes[first], networks.weight[first, chosen], constants


def spike_times(spikes, weight, constants):
    return np.asarray(compiled()[0](spikes, weight, constants))


def assert_same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("x64")
@examples
@given(seed=seeds, shift=st.floats(0, 50))
def test_shifting_all_inputs_shifts_all_spikes(seed, shift):
    spikes, weight, constants = draw(seed, leak_below_threshold=True)
    expected = spike_times(spikes, weight, constants) + shift
    assert_same(spike_times(spikes + shift, weight, constants), expected)


@pytest.mark.usefixtures("x64")
@examples
@given(seed=seeds)
def test_derivatives_in_all_input_times_add_up_to_one(seed):
    """The same identity for the gradient of each single spike."""
    spikes, weight, constants = draw(seed, leak_below_threshold=True)
    jacobian = np.asarray(compiled()[1](spikes, weight, constants))
    total = jacobian.sum(axis=(-2, -1))
    fired = np.isfinite(spike_times(spikes, weight, constants))
    np.testing.assert_allclose(total, fired, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("x64")
@examples
@given(seed=seeds)
def test_permuting_neurons_permutes_their_spikes(seed):
    spikes, weight, constants = draw(seed)
    rng = np.random.default_rng(seed)
    pre, post = rng.permutation(5), rng.permutation(3)
    moved = {name: value[post] for name, value in constants.items()}
    permuted = spike_times(spikes[pre], weight[np.ix_(post, pre)], moved)
    assert_same(permuted, spike_times(spikes, weight, constants)[post])


@pytest.mark.usefixtures("x64")
@examples
@given(seed=seeds, unit=st.floats(1e-9, 1e9))
def test_the_unit_of_time_is_free(seed, unit):
    spikes, weight, constants = draw(seed)
    scaled = {
        name: value * unit if name in ("tau_mem", "tau_syn", "refractory") else value
        for name, value in constants.items()
    }
    expected = spike_times(spikes, weight, constants)
    assert_same(spike_times(spikes * unit, weight, scaled) / unit, expected)
    derivative = np.asarray(compiled()[1](spikes, weight, constants))
    scaled_derivative = np.asarray(compiled()[1](spikes * unit, weight, scaled))
    np.testing.assert_allclose(scaled_derivative, derivative, rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("x64")
@examples
@given(seed=seeds, gain=st.floats(1e-3, 1e3), offset=st.floats(-10, 10))
def test_the_unit_and_zero_of_voltage_are_free(seed, gain, offset):
    spikes, weight, constants = draw(seed)
    moved = {
        name: gain * (value + offset) if name.startswith("v_") else value
        for name, value in constants.items()
    }
    expected = spike_times(spikes, weight, constants)
    assert_same(spike_times(spikes, gain * weight, moved), expected)


@pytest.mark.usefixtures("x64")
@examples
@given(seed=seeds, share=st.floats(0, 1))
def test_splitting_an_input_into_two_coincident_parts_changes_nothing(seed, share):
    spikes, weight, constants = draw(seed)
    part = weight[:, :1]
    split = np.concatenate([share * part, weight[:, 1:], (1 - share) * part], axis=1)
    twice = np.concatenate([spikes, spikes[:1]])
    assert_same(spike_times(twice, split, constants), spike_times(spikes, weight, constants))


@pytest.mark.usefixtures("x64")
@examples
@given(seed=seeds)
def test_padding_and_the_slots_of_absent_spikes_change_nothing(seed):
    spikes, weight, constants = draw(seed)
    padded = np.concatenate([spikes, np.full_like(spikes, math.inf)], axis=-1)
    assert_same(spike_times(padded, weight, constants), spike_times(spikes, weight, constants))


@pytest.mark.usefixtures("x64")
@examples
@given(seed=seeds, delay=st.floats(0, 5))
def test_inputs_after_a_spike_do_not_change_it(seed, delay):
    spikes, weight, constants = draw(seed)
    expected = spike_times(spikes, weight, constants)
    last = np.max(expected, where=np.isfinite(expected), initial=0.0)
    late = np.full_like(spikes[:1], math.inf)
    late[0, 0] = last + 1e-6 + delay
    more = np.concatenate([spikes, late])
    heavier = np.concatenate([weight, np.full((3, 1), 7.0)], axis=1)
    actual = spike_times(more, heavier, constants)
    fired = np.isfinite(expected)
    assert_same(actual[fired], expected[fired])
    jacobian = jnp.asarray(compiled()[1](more, heavier, constants))
    assert np.all(np.asarray(jacobian)[fired][:, -1] == 0)
