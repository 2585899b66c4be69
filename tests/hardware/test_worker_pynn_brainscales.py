"""What a BrainScaleS-2 chip is told and how its recording is read, with a stand-in for its PyNN."""

import sys
import types
from types import ModuleType

import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core.hardware import HardwareLimitError, Layer, Network, check_observation
from evtorch.jax_core.hardware.worker.pynn.brainscales import _chip as brainscales
from tests.hardware import _pynn_brainscales as stand_in

CYCLE = 8e-9
DURATION = 3e-5
CONSTANTS = {
    "tau_mem": 1.2e-5,
    "tau_syn": 6e-6,
    "v_threshold": 1.0,
    "v_leak": 0.0,
    "v_reset": -22 / 45,
    "refractory": 2e-6,
}

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(autouse=True)
def pynn(monkeypatch) -> ModuleType:
    package = types.ModuleType("pynn_brainscales")
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, "pynn_brainscales.brainscales2", stand_in)
    stand_in.calls.clear()
    return stand_in


def layer(weight: np.ndarray, **changes) -> Layer:
    settings = {**CONSTANTS, "max_spikes": 8, "weight_unit": stand_in.GAIN, **changes}
    return Layer(weight, **settings)


@pytest.fixture
def network(rng) -> Network:
    hidden = np.round(rng.normal(30, 20, (10, 5))).clip(-63, 63)
    return Network((layer(hidden), layer(np.round(rng.normal(10, 15, (3, 10))))))


def simulated(network: Network, spikes: np.ndarray) -> list[np.ndarray]:
    """Per layer, driven by what is exact."""
    found = []
    for one in network.layers:
        constants = {name: getattr(one, name) for name in CONSTANTS}
        weight = one.weight_unit * one.weight
        spikes = np.asarray(jax_core.lif(spikes, weight, **constants, max_spikes=8, t_max=DURATION))
        found.append(spikes)
    return found


@pytest.mark.parametrize("factory", ["calibrated", "precalibrated"])
def test_weights_times_and_constants_arrive_and_spikes_return(factory, network, rng):
    options = {"calibrated": {}, "precalibrated": {"constants": CONSTANTS}}[factory]
    chip = getattr(brainscales, factory)(**options)
    spikes = np.sort(rng.integers(0, 1500, (2, 5, 2)) * CYCLE)
    spikes[0, 0] = np.inf
    seen = chip.run(network, spikes, DURATION)
    check_observation(seen, network, 2, DURATION)
    assert dict(seen.lost) == {"input clock": 0}
    for found, exact in zip(seen.spikes, simulated(network, spikes), strict=True):
        fired = np.isfinite(exact)
        assert fired.sum() > 10
        np.testing.assert_array_equal(np.isfinite(found), fired)
        # What is left of one sample in the next, e^-12, moves spikes by less than 1 ns.
        np.testing.assert_allclose(found[fired], exact[fired], rtol=0, atol=1e-9)


def test_every_input_spike_keeps_its_cycle(rng):
    cycles = np.sort(rng.permuted(np.tile(np.arange(3000), (1, 64, 1)), axis=-1)[..., :16])
    chip = brainscales.calibrated(lead=1000 * CYCLE)
    chip.run(Network((layer(np.zeros((1, 64))),)), cycles * CYCLE, DURATION)
    sent = np.array(stand_in._state.populations[0].spikes) * 1e-3 / CYCLE
    np.testing.assert_allclose(sent, 1000 + cycles[0], atol=1e-6)


def test_the_network_is_built_once_for_all_weights_and_spikes(network, rng, pynn):
    chip = brainscales.calibrated()
    spikes = rng.integers(0, 1500, (2, 5, 1)) * CYCLE
    first = chip.run(network, spikes, DURATION)
    negative = Network(tuple(layer(-one.weight) for one in network.layers))
    silent = chip.run(negative, spikes, DURATION)
    again = chip.run(network, spikes, DURATION)
    assert pynn.calls == ["setup", "run", "run", "run"]
    for one, other in zip(first.spikes, again.spikes, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.isinf(silent.spikes[0]).any()
    slower = Network((layer(network.layers[0].weight, tau_mem=2e-5),))
    chip.run(slower, spikes, DURATION)
    assert pynn.calls == ["setup", "run", "run", "run", "end", "setup", "run"]


def test_a_failed_run_lets_go_of_the_chip(network, rng, pynn, monkeypatch):
    chip = brainscales.calibrated()
    spikes = rng.integers(0, 1500, (2, 5, 1)) * CYCLE

    def fail(runtime):
        raise OSError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(stand_in, "run", fail)
        with pytest.raises(OSError, match="no connection"):
            chip.run(network, spikes, DURATION)
    assert pynn.calls == ["setup", "end"]
    chip.run(network, spikes, DURATION)
    assert pynn.calls == ["setup", "end", "setup", "run"]


def test_one_input_and_one_neuron_and_inputs_on_one_cycle():
    network = Network((layer(np.full((1, 1), 63.0), weight_unit=1.0),))
    spikes = np.array([[[1e-6, 1e-6 + 1e-9, 2e-6]]])
    seen = brainscales.calibrated().run(network, spikes, DURATION)
    assert seen.spikes[0].shape == (1, 1, 8)
    assert dict(seen.lost) == {"input clock": 1}


def test_latency_is_subtracted(network, rng):
    spikes = rng.integers(0, 1500, (2, 5, 1)) * CYCLE
    at_once = brainscales.calibrated().run(network, spikes, DURATION).spikes[0]
    late = brainscales.calibrated(latency=3e-7).run(network, spikes, DURATION).spikes[0]
    both = np.isfinite(at_once) & np.isfinite(late)
    assert both.sum() > 10
    np.testing.assert_allclose(at_once[both] - late[both], 3e-7, rtol=1e-6)


def test_weights_are_split_by_sign():
    weights = brainscales.signed_weights(layer(np.array([[2.0, 0.0], [-63.0, 4.0]])))
    np.testing.assert_array_equal(weights["excitatory"], [[2, 0], [0, 4]])
    np.testing.assert_array_equal(weights["inhibitory"], [[0, -63], [0, 0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tau_mem": 7e-5}, r"layer 0: neuron 0 needs tau_m = 70 µs.*0.5 to 60 µs"),
        ({"tau_syn": 1e-7}, r"tau_syn_E = 0.1 µs.*0.3 to 30 µs"),
        ({"v_threshold": np.array([1.0, 9.0])}, r"neuron 1 needs v_thresh = 485.*50 to 220"),
        ({"v_reset": -1.0}, r"v_reset = 35.*50 to 160"),
        ({"refractory": np.inf}, r"tau_refrac = 100 µs.*0.04 to 32 µs"),
        ({"has_threshold": False}, r"layer 0 has no threshold"),
        ({"v_leak": 1.5}, r"never rests"),
    ],
)
def test_constants_beyond_the_chip_are_refused_before_it_is_used(changes, message, pynn):
    network = Network((layer(np.ones((2, 1)), **changes),))
    with pytest.raises(HardwareLimitError, match=message):
        brainscales.calibrated().run(network, np.zeros((1, 1, 1)), 1e-4)
    assert pynn.calls == []


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full((2, 1), 64.0), "weights must be whole numbers from -63 to 63"),
        (np.full((2, 1), 0.5), "weights must be whole numbers"),
        (np.ones((513, 1)), r"512 neuron circuits, but the layers have 513 = 513 neurons"),
        (np.ones((1, 129)), "128 signed inputs, but layer 0 has 129"),
    ],
)
def test_networks_beyond_the_chip_are_refused(weight, message):
    chip = brainscales.calibrated()
    with pytest.raises(HardwareLimitError, match=message):
        chip.run(Network((layer(weight),)), np.zeros((1, weight.shape[1], 1)), DURATION)


def test_other_constants_than_the_calibrations_are_refused():
    chip = brainscales.precalibrated(CONSTANTS)
    network = Network((layer(np.ones((2, 1)), tau_mem=np.array([1.2e-5, 1.3e-5])),))
    with pytest.raises(HardwareLimitError, match=r"neuron 1 has tau_mem = 1.3e-05.*for 1.2e-05"):
        chip.run(network, np.zeros((1, 1, 1)), DURATION)


def test_what_cannot_be_asked_is_an_error():
    with pytest.raises(ValueError, match="constants must be tau_mem, tau_syn"):
        brainscales.precalibrated({"tau_mem": 1e-5})
    with pytest.raises(ValueError, match=r"synapses may set cm.*'gain'"):
        brainscales.calibrated(synapses={"gain": 1})
    with pytest.raises(ValueError, match="cm must be from 0 to 63, got 64"):
        brainscales.calibrated(synapses={"cm": 64})
    with pytest.raises(ValueError, match="latency must be >= 0"):
        brainscales.calibrated(latency=-1e-7)
    network, spikes = Network((layer(np.ones((1, 1))),)), np.zeros((1, 1, 1))
    with pytest.raises(HardwareLimitError, match="records spikes only"):
        brainscales.calibrated().run(network, spikes, DURATION, voltage_times=np.zeros(1))


def test_a_calibration_can_come_from_a_file(rng, network):
    chip = brainscales.precalibrated(CONSTANTS, calibration="chip.pbin")
    chip.run(network, rng.integers(0, 1500, (2, 5, 1)) * CYCLE, DURATION)
    assert stand_in._state.config == "file chip.pbin"
