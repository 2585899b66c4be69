"""Spikes against NEST's exact neurons, in the environment that ``make pynn`` creates.

``iaf_psc_exp_ps_lossless`` has spikes off the grid, and none may be missed (Krishnan et al. 2018,
doi:10.3389/fninf.2017.00075). It takes a crossing where the voltage is within 1e-14 mV of the
threshold, and rounds as any float64: what differs is rounding, carried on from spike to spike.

The step is short, as NEST's test for a crossing within a step ignores that a neuron is refractory
(the last test).
"""

import numpy as np
import pytest

from .._simulators import nest_needed
from . import _nest as nest

pytestmark = [nest_needed, pytest.mark.usefixtures("x64")]


def assert_same_spikes(found: np.ndarray, expected: np.ndarray) -> None:
    """As many of each neuron, to 1e-12 s: rounding is 1e-17 s, and the largest seen is 7e-15 s."""
    fired = np.isfinite(expected)
    assert fired.sum() > 3 * nest.NETWORKS * nest.NEURONS
    np.testing.assert_array_equal(np.isfinite(found), fired)
    np.testing.assert_allclose(found[fired], expected[fired], rtol=0, atol=1e-12)


def test_feed_forward_networks_with_delays_spike_as_in_nest(rng, tmp_path):
    spikes = nest.random_input(rng)
    hidden = nest.random_layer(rng, nest.INPUTS, recurrent=False)
    output = nest.random_layer(rng, nest.NEURONS, recurrent=False)
    first, second = nest.in_nest([hidden, output], spikes, tmp_path)
    found = nest.simulated(hidden, spikes)
    assert_same_spikes(found, first)
    assert_same_spikes(nest.simulated(output, found), second)


def test_recurrent_networks_with_delays_spike_as_in_nest(rng, tmp_path):
    spikes = nest.random_input(rng)
    layer = nest.random_layer(rng, nest.INPUTS, recurrent=True)
    (expected,) = nest.in_nest([layer], spikes, tmp_path)
    assert_same_spikes(nest.simulated(layer, spikes), expected)


@pytest.mark.parametrize("step", [1.25e-4, 1e-3])
def test_in_nest_a_long_step_ends_a_refractory_period(step, tmp_path):
    """Why the steps above are short, and what docs/conventions.md says of NEST."""
    constants = {"tau_mem": 1e-2, "tau_syn": 2e-2, "v_threshold": 1.0, "v_leak": 0.0}
    constants |= {"v_reset": 0.0, "refractory": 3e-3}
    synapse = {"pre": 0, "post": 0, "weight": 40.0, "delay": step}
    network = {
        **{name: np.array([value]) for name, value in (constants | synapse).items()},
        "inputs": 1,
        "input_time": np.array([2.3e-3]),
        "input_index": np.array([0]),
        "resolution": step,
        "t_max": 0.05,
        "model": "iaf_psc_exp_ps_lossless",
    }
    shortest = np.diff(nest.run_nest(network, tmp_path)[0]).min()
    assert (shortest < constants["refractory"]) == (step == 1e-3)
