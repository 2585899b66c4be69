"""Spikes against NEST's exact neurons, in the environment that ``make pynn`` creates.

``iaf_psc_exp_ps_lossless`` has spikes off the grid, and none may be missed (Krishnan et al. 2018,
doi:10.3389/fninf.2017.00075). It takes a crossing where the voltage is within 1e-14 mV of the
threshold, and rounds as any float64: what differs is rounding, carried on from spike to spike.

The step is short, as NEST's test for a crossing within a step ignores that a neuron is refractory:
with steps of 0.5 ms some spike in their refractory periods, where currents are this strong.
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
