"""Spikes of convolutions, sparse layers and delays of single connections, against the reference."""

import math

import numpy as np
import pytest

from .._thorough import usual
from ._connected import draw, simulate_all

KINDS = ["conv1d", "conv2d", "sparse", "sparse with delays", "synaptic delays"]


def assert_equals_the_reference(case):
    networks, _ = case
    assert networks.all_runs(lambda run: run.margin > 1e-10).all()
    actual, expected = simulate_all(case), networks.spike_times
    np.testing.assert_array_equal(np.isfinite(actual), np.isfinite(expected))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)
    # The comparison has to be about something: neurons that spike never, once, and often.
    count = np.isfinite(expected).sum(axis=-1)
    assert all((count == n).mean() > 0.03 for n in range(networks.max_spikes + 1))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", usual({"conv2d", "sparse with delays"}, KINDS))
def test_spikes_equal_the_reference(kind):
    assert_equals_the_reference(draw(kind, seed=31, networks=500))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["conv2d", "sparse with delays"])
def test_first_spikes_equal_the_reference(kind):
    assert_equals_the_reference(draw(kind, seed=32, networks=200, max_spikes=1, t_max=math.inf))
