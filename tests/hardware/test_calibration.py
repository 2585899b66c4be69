"""Calibration finds by experiment what the mock knows, and makes up for it."""

import dataclasses
import math
from functools import lru_cache

import numpy as np
import pytest

from evtorch.jax_core import hardware

INF = math.inf
US = 1e-6
CHIP = 3
REPEATS = 64


def network(*, readout=False):
    constants = {
        "tau_mem": 20 * US,
        "tau_syn": 10 * US,
        "v_threshold": 1.0,
        "v_reset": 0.0,
        "refractory": INF,
        "weight_unit": 1 / 12,
    }
    rng = np.random.default_rng(0)
    hidden = hardware.Layer(rng.integers(10, 40, (30, 5)), **constants, v_leak=0.0)
    output = hardware.Layer(np.ones((10, 30)), **constants, v_leak=1.2)
    if readout:
        none = np.zeros(10)
        output = dataclasses.replace(output, v_leak=none, has_threshold=False, max_spikes=0)
    return hardware.Network((hidden, output))


@lru_cache
def measured():
    return hardware.Calibration.measure(hardware.MockBSS2(CHIP), network(), repeats=REPEATS)


def truth(chip):
    """What the mock multiplies with, per layer, in the order of the calibration's quantities."""
    circuit, factors = 0, []
    for layer in network().layers:
        own = circuit + np.arange(layer.neurons)
        circuit += layer.neurons
        place = own[:, None] * chip.effects.fan_in + np.arange(layer.inputs)
        synapses = chip._vary("synapse", chip.effects.synapse_gain_variation, place).mean(axis=1)
        variation = (chip._vary(name, 0.1, own) for name in ("tau_mem", "tau_syn", "gain"))
        tau_mem, tau_syn, gain = variation
        threshold = chip._vary("threshold", chip.effects.threshold_variation, own)
        factors.append(np.array([threshold, tau_mem, tau_syn, gain * synapses]))
    return factors


def test_the_variation_that_remains_is_a_fifth_at_most():
    true = truth(hardware.MockBSS2(CHIP))
    (found,) = measured().networks
    before = np.concatenate(true, axis=1)
    remaining = [x / layer.factor for x, layer in zip(true, found.before, strict=True)]
    after = np.concatenate(remaining, axis=1)
    assert (before.std(axis=1) > 0.04).all()
    assert (after.std(axis=1) < before.std(axis=1) / 5).all()
    assert (np.abs(after.mean(axis=1) - 1) < 0.01).all()


def test_its_report_says_what_a_second_measurement_finds():
    calibration = measured()
    for quantity in ("threshold", "tau_mem", "tau_syn", "gain"):
        assert calibration.spread(quantity, after=True) < calibration.spread(quantity) / 4
    assert calibration.counts() == {"neurons": 40, "silent": 0, "implausible": 0}
    assert "40 neurons; not corrected: 0 silent, 0 implausible" in str(calibration)
    with pytest.raises(ValueError, match="quantity must be one of"):
        calibration.spread("refractory")


def test_a_calibrated_chip_spikes_like_the_ideal_one(rng):
    # Batch and duration are those of the measurement, for which everything is compiled.
    net, spikes = network(), rng.uniform(0, 20 * US, (REPEATS, 5, 1))
    chip = hardware.MockBSS2(CHIP)
    ideal = hardware.MockBSS2.ideal().run(net, spikes, 600 * US).spikes[0]

    def error(backend):
        seen = backend.run(net, spikes, 600 * US).spikes[0]
        both = np.isfinite(seen) & np.isfinite(ideal)
        assert both.any()
        return np.abs(seen[both] - ideal[both]).mean()

    assert error(measured().apply(chip)) < error(chip) / 2


def test_gains_are_made_up_for_by_voltages_and_recordings_are_scaled_back():
    asked = []

    class Recorder:
        name, weight_limit = "recorder", 63

        def run(self, network, spikes, duration, *, voltage_times=None):
            asked.append(network)
            shapes = [(1, layer.neurons) for layer in network.layers]
            return hardware.Observation(
                tuple(np.full((*shape, 1), np.inf) for shape in shapes),
                tuple(np.ones((*shape, 4)) for shape in shapes),
            )

    backend = measured().apply(Recorder())
    seen = backend.run(network(), np.zeros((1, 5, 1)), 1e-4, voltage_times=np.zeros(4))
    (given,) = asked
    for layer, wanted, factors, voltages in zip(
        given.layers, network().layers, measured().factors_of(network()), seen.voltages, strict=True
    ):
        threshold, tau_mem, _, gain = factors.factor
        np.testing.assert_allclose(voltages[0, :, 0], 1 / gain)
        np.testing.assert_allclose(layer.v_leak, gain * wanted.v_leak)
        np.testing.assert_allclose(layer.tau_mem * tau_mem, wanted.tau_mem)
        height = (layer.v_threshold - layer.v_reset) * threshold
        np.testing.assert_allclose(height, gain * (wanted.v_threshold - wanted.v_reset))


def test_leaky_integrators_are_measured_like_neurons():
    readout = network(readout=True)
    calibration = hardware.Calibration.measure(hardware.MockBSS2(CHIP), readout, repeats=REPEATS)
    true, found = truth(hardware.MockBSS2(CHIP))[1], calibration.factors_of(readout)[1]
    np.testing.assert_allclose(found.factor[1:], true[1:], rtol=0.05)


def test_an_ideal_chip_needs_no_correction():
    layer = network().layers[0]
    small = hardware.Network((hardware.Layer(np.zeros((2, 1)), *constants_of(layer)),))
    calibration = hardware.Calibration.measure(hardware.MockBSS2.ideal(), small, repeats=2)
    assert np.abs(calibration.networks[0].before[0].factor - 1).max() < 1e-9


def constants_of(layer):
    names = ("tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory")
    return [getattr(layer, name)[0] for name in names]


class Faulty:
    """A chip with a dead neuron and one that spikes at random, in the first layer."""

    name, weight_limit = "faulty", 63

    def __init__(self, dead=(4,), wild=(7,)):
        self.chip, self.dead, self.wild = hardware.MockBSS2(CHIP), list(dead), list(wild)
        self.rng = np.random.default_rng(0)

    def run(self, network, spikes, duration, *, voltage_times=None):
        seen = self.chip.run(network, spikes, duration)
        first = seen.spikes[0].copy()
        first[:, self.dead] = np.inf
        first[:, self.wild] = self.rng.uniform(0, duration)
        return dataclasses.replace(seen, spikes=(first, *seen.spikes[1:]))


def test_neurons_that_cannot_be_measured_stay_as_they_are_and_are_counted():
    calibration = hardware.Calibration.measure(Faulty(), network(), repeats=REPEATS)
    assert calibration.counts() == {"neurons": 40, "silent": 1, "implausible": 1}
    first = calibration.networks[0].before[0]
    assert (first.factor[:, [4, 7]] == 1).all()
    assert first.status[[4, 7]].tolist() == [1, 2]
    healthy = np.setdiff1d(np.arange(30), [4, 7])
    true = truth(hardware.MockBSS2(CHIP))[0]
    np.testing.assert_allclose(first.factor[:, healthy], true[:, healthy], rtol=0.1)


def test_a_chip_that_does_nothing_is_an_error():
    dead = Faulty(dead=range(30), wild=())
    with pytest.raises(hardware.BackendError, match=r"none of the 30 neurons of layer 0.*30 were"):
        hardware.Calibration.measure(dead, network(), repeats=REPEATS)
    with pytest.raises(ValueError, match="at least one network"):
        hardware.Calibration.measure(dead)
    with pytest.raises(ValueError, match="repeats must be >= 1"):
        hardware.Calibration.measure(dead, network(), repeats=0)


def test_it_is_for_the_circuits_it_measured():
    other = hardware.Network(network().layers[:1])
    with pytest.raises(hardware.BackendError, match=r"for networks 5-30-10, this one is 5-30 "):
        measured().apply(hardware.MockBSS2(CHIP)).run(other, np.zeros((1, 5, 1)), 1e-4)


def test_it_can_be_saved_and_loaded(tmp_path):
    path = tmp_path / "chip.npz"
    measured().save(path)
    loaded = hardware.Calibration.load(path)
    assert str(loaded) == str(measured())
    for a, b in zip(loaded.factors_of(network()), measured().factors_of(network()), strict=True):
        np.testing.assert_array_equal(a.factor, b.factor)
    np.savez(path, spikes=np.zeros(3))
    with pytest.raises(ValueError, match=r"chip.npz is no saved calibration"):
        hardware.Calibration.load(path)
    np.savez(path, format=1, name="chip")
    with pytest.raises(ValueError, match=r"chip.npz is no saved calibration: it has no network"):
        hardware.Calibration.load(path)
    np.savez(path, format=[1, 2], name="chip")
    with pytest.raises(ValueError, match=r"chip.npz is no saved calibration"):
        hardware.Calibration.load(path)


def test_a_chip_in_another_process_is_measured_alike():
    backend = "evtorch.jax_core.hardware:MockBSS2"
    with hardware.WorkerBackend.start(backend, {"chip": CHIP}) as worker:
        remote = hardware.Calibration.measure(worker, network(), repeats=REPEATS)
    for a, b in zip(remote.factors_of(network()), measured().factors_of(network()), strict=True):
        np.testing.assert_allclose(a.factor, b.factor, rtol=1e-9)


def test_a_backend_that_starts_at_the_leak_is_told_so():
    class Early:
        """Has neurons with a leak above threshold spike at once, others never."""

        name, weight_limit = "early", 63

        def run(self, network, spikes, duration, *, voltage_times=None):
            at_once = [np.where(x.v_leak >= x.v_threshold, 0, INF) for x in network.layers]
            return hardware.Observation(
                tuple(np.broadcast_to(x[:, None], (len(spikes), len(x), 1)) for x in at_once)
            )

    with pytest.raises(hardware.BackendError, match=r"has to start at v_reset.*backend's start"):
        hardware.Calibration.measure(Early(), network(), repeats=1)
