"""Networks on Brian 2 through PyNN, in the environment that ``make pynn`` creates."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core.hardware import (
    HardwareLimitError,
    Layer,
    Network,
    WorkerBackend,
    check_observation,
)

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("EVTORCH_PYNN_PYTHON", ROOT / ".venv-pynn/bin/python"))
STEP = 1e-7  # 0.1 ms of the simulator
DURATION = 4e-5
TAUS = {"tau_mem": 1.2e-5, "tau_syn": 6e-6}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="PyNN is not installed: make pynn"),
    pytest.mark.usefixtures("x64"),
]


def start(**options: float) -> WorkerBackend:
    backend = "evtorch_worker._worker_pynn:brian2"
    return WorkerBackend.start(backend, options, python=str(PYTHON), timeout=300)


@pytest.fixture(scope="module")
def brian2() -> Iterator[WorkerBackend]:
    with start() as worker:
        yield worker


def layer(weight: np.ndarray, **settings) -> Layer:
    constants = {"v_threshold": 1.0, "v_leak": 0.0, "v_reset": 0.0, "refractory": np.inf}
    return Layer(weight, **{**TAUS, **constants, **settings})


def simulated(network: Network, spikes: np.ndarray) -> list[np.ndarray]:
    """What the exact simulation says, per layer."""
    found = []
    for one in network.layers:
        names = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
        constants = {name: getattr(one, name) for name in names}
        weight = one.weight_unit * one.weight
        spikes = np.asarray(
            jax_core.lif(spikes, weight, **constants, max_spikes=one.max_spikes, t_max=DURATION)
        )
        found.append(spikes)
    return found


def assert_same_spikes(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    fired = np.isfinite(expected)
    assert fired.sum() >= 10
    np.testing.assert_array_equal(np.isfinite(found), fired)
    assert np.abs(found[fired] - expected[fired]).max() <= tolerance


def test_two_layers_of_first_spikes_agree_within_the_clock(brian2, rng):
    hidden = layer(rng.normal(1.2, 1.34, (20, 5)))
    network = Network((hidden, layer(rng.normal(0.9, 0.67, (3, 20)), weight_unit=0.5)))
    spikes = rng.random((6, 5, 1)) * 1.2e-5
    seen = brian2.run(network, spikes, DURATION)
    check_observation(seen, network, len(spikes), DURATION)
    assert dict(seen.lost) == {"input clock": 0}
    for k, expected in enumerate(simulated(network, spikes)):
        assert_same_spikes(seen.spikes[k], expected, 2 * (k + 1) * STEP)


def test_several_spikes_with_refractory_periods_agree_within_a_finer_clock(rng):
    one = layer(rng.normal(2.0, 0.5, (8, 5)), refractory=2e-6, v_reset=-0.5, max_spikes=20)
    spikes = rng.random((3, 5, 2)).cumsum(-1) * 1e-5
    network = Network((one,))
    with start(milliseconds=1e7) as worker:
        found = worker.run(network, spikes, DURATION).spikes[0]
    (expected,) = simulated(network, spikes)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
    # Each spike comes up to a step late, and moves the next one. Later ones graze the threshold.
    assert_same_spikes(found[..., :3], expected[..., :3], 4 * STEP / 10)


def test_voltages_agree_with_the_closed_form(brian2, rng):
    readout = layer(rng.normal(0, 1.0, (2, 3)), has_threshold=False, max_spikes=0, v_leak=0.5)
    spikes = np.round(rng.random((3, 3, 1)) * 1e-5 / STEP) * STEP
    times = np.linspace(2e-5, 4e-5, 5)
    seen = brian2.run(Network((readout,)), spikes, DURATION, voltage_times=times)
    assert seen.voltages is not None
    expected = jax_core.li_value(spikes, readout.weight, times, **TAUS, v_leak=0.5)
    np.testing.assert_allclose(seen.voltages[0], expected, atol=1e-3)


def test_what_cannot_be_translated_is_an_error_of_its_own_kind(brian2, rng):
    tonic = layer(np.ones((1, 1)), v_leak=2.0)
    with pytest.raises(HardwareLimitError, match="never rests"):
        brian2.run(Network((tonic,)), rng.random((1, 1, 1)) * 1e-5, DURATION)
