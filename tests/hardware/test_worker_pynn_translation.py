"""What a PyNN simulator is told and how its recording is read, without a simulator."""

import numpy as np
import pytest

from evtorch.jax_core.hardware import HardwareLimitError, Layer, Network
from evtorch.jax_core.hardware.worker.pynn._simulator import cell_parameters, synapse_lists
from evtorch.jax_core.hardware.worker.pynn._timeline import Timeline, on_clock, plan

INF = np.inf


def layer(weight: np.ndarray, tau_mem: float = 2e-5, **changes) -> Layer:
    constants = {"v_threshold": 1.0, "v_leak": 0.0, "v_reset": -0.5, "refractory": 0.0, **changes}
    return Layer(weight, tau_mem, 1e-5, **constants)


def test_samples_are_joined_in_a_row():
    timeline = Timeline(batch=3, duration=4.0, period=10.0, lead=1.0)
    spikes = np.array(
        [[[0.5, 2.0], [INF, INF]], [[INF, INF], [4.0, INF]], [[0.0, 3.0], [1.0, 2.0]]]
    )
    first, second = timeline.join(spikes)
    np.testing.assert_array_equal(first, [1.5, 3.0, 21.0, 24.0])
    np.testing.assert_array_equal(second, [15.0, 22.0, 23.0])
    assert timeline.length == 31.0


def test_cutting_undoes_joining(rng):
    timeline = Timeline(batch=5, duration=4.0, period=7.0, lead=2.0)
    spikes = np.sort(rng.random((5, 6, 4))) * 4
    spikes[rng.random((5, 6, 4)) < 0.4] = INF
    spikes = np.sort(spikes)
    cut, overflow = timeline.cut([times + 0.25 for times in timeline.join(spikes)], 4, late=0.25)
    np.testing.assert_array_equal(np.isfinite(cut), np.isfinite(spikes))
    np.testing.assert_allclose(cut[np.isfinite(cut)], spikes[np.isfinite(spikes)], atol=1e-14 * 40)
    assert not overflow.any()


def test_spikes_in_the_guard_intervals_belong_to_no_sample():
    timeline = Timeline(batch=2, duration=4.0, period=10.0, lead=1.0)
    recorded = [0.5, 1.0, 5.0, 5.5, 10.9, 11.5, 20.9, 21.5]
    cut, overflow = timeline.cut([np.array(recorded)], 3)
    np.testing.assert_array_equal(cut[:, 0], [[0.0, 4.0, INF], [0.5, INF, INF]])
    assert not overflow.any()


def test_more_spikes_than_asked_for_are_counted():
    timeline = Timeline(batch=3, duration=4.0, period=10.0, lead=0.0)
    recorded = [np.array([1.0, 2.0, 3.0, 11.0, 21.0, 22.0, 23.0, 24.0]), np.array([1.0, 2.0])]
    cut, overflow = timeline.cut(recorded, 2)
    np.testing.assert_array_equal(cut[:, 0], [[1, 2], [1, INF], [1, 2]])
    np.testing.assert_array_equal(cut[:, 1], [[1, 2], [INF, INF], [INF, INF]])
    np.testing.assert_array_equal(overflow, [2, 0])


def test_no_spikes_may_be_asked_for():
    cut, overflow = Timeline(2, 4.0, 10.0, 0.0).cut([np.array([1.0, 2.0])], 0)
    assert cut.shape == (2, 1, 0)
    np.testing.assert_array_equal(overflow, [1])


def test_the_guard_lets_every_layer_rest():
    fast, slow = layer(np.ones((3, 2))), layer(np.ones((1, 3)), tau_mem=5e-5, refractory=INF)
    timeline = plan(Network((fast, slow)), 4, 1e-4, lead=0.0)
    assert timeline.period - timeline.duration >= 10 * 2e-5 + 10 * 5e-5 + 1e-4
    assert timeline.length == pytest.approx(4 * timeline.period)


def test_networks_that_never_rest_are_refused():
    tonic = layer(np.ones((2, 2)), v_leak=np.array([0.0, 1.5]))
    with pytest.raises(HardwareLimitError, match="layer 0: neuron 1 has v_leak >= v_threshold"):
        plan(Network((tonic,)), 1, 1e-4, 0.0)
    readout = Layer(np.ones((1, 2)), 2e-5, 1e-5, 1.0, 1.5, 0.0, 0.0, has_threshold=False)
    plan(Network((readout,)), 1, 1e-4, 0.0)
    with pytest.raises(HardwareLimitError, match="finite duration: set t_max"):
        plan(Network((layer(np.ones((2, 2))),)), 1, INF, 0.0)


def test_spikes_on_one_tick_of_the_clock_are_counted():
    steps, lost = on_clock(np.array([0.99, 1.04, 1.06, 7.0, 7.0]) * 1e-6, 1e-7)
    np.testing.assert_array_equal(steps, [10, 11, 70])
    assert lost == 2


def test_constants_become_milliseconds():
    constants = cell_parameters(
        layer(np.ones((2, 1)), refractory=np.array([2e-6, INF])), 1e6, duration=1e-4
    )
    np.testing.assert_allclose(constants["tau_m"], [20.0, 20.0])
    np.testing.assert_array_equal(constants["cm"], constants["tau_m"])
    for receptor in "EI":
        np.testing.assert_allclose(constants[f"tau_syn_{receptor}"], [10.0, 10.0])
    np.testing.assert_allclose(constants["tau_refrac"], [2.0, 100.0])
    np.testing.assert_array_equal(constants["v_thresh"], [1.0, 1.0])
    np.testing.assert_array_equal(constants["v_reset"], [-0.5, -0.5])
    np.testing.assert_array_equal(constants["v_rest"], [0.0, 0.0])


def test_equal_time_constants_are_told_apart():
    constants = cell_parameters(layer(np.ones((1, 1)), tau_mem=1e-5), 1e6, 1e-4)
    assert constants["tau_m"] != constants["tau_syn_E"]
    np.testing.assert_allclose(constants["tau_m"], constants["tau_syn_E"], rtol=1.01e-4)
    np.testing.assert_array_equal(constants["cm"], constants["tau_m"])


def test_integrators_do_not_spike():
    readout = Layer(np.ones((1, 2)), 2e-5, 1e-5, 1.0, 0.0, 0.0, 0.0, has_threshold=False)
    assert cell_parameters(readout, 1e6, 1e-4)["v_thresh"] == 1e9


def test_weights_become_signed_currents():
    synapses = synapse_lists(layer(np.array([[2.0, 0.0], [-3.0, 4.0]]), weight_unit=0.5), 0.1)
    assert synapses["excitatory"] == [(0, 0, 1.0, 0.1), (1, 1, 2.0, 0.1)]
    assert synapses["inhibitory"] == [(0, 1, -1.5, 0.1)]
