"""What passes between models and hardware is checked, and errors name the place."""

import itertools
import math

import numpy as np
import pytest

from evtorch.jax_core import hardware

INF = math.inf
CONSTANTS = {
    "tau_mem": 1e-5,
    "tau_syn": 5e-6,
    "v_threshold": 1.0,
    "v_leak": 0.0,
    "v_reset": 0.0,
    "refractory": INF,
}


def network(*sizes, **options):
    return hardware.Network(
        tuple(
            hardware.Layer(np.ones((post, pre)), **{**CONSTANTS, "max_spikes": 2, **options})
            for pre, post in itertools.pairwise(sizes)
        )
    )


def observation(spikes):
    return hardware.Observation((np.asarray(spikes, float),))


def test_constants_become_one_value_per_neuron():
    layer = hardware.Layer(np.ones((3, 2)), **{**CONSTANTS, "v_threshold": [1.0, 2.0, 3.0]})
    assert layer.tau_mem.tolist() == [1e-5] * 3
    assert layer.v_threshold.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0, 0] = 2.0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("tau_mem", 0.0, r"tau_mem must be finite and > 0, but tau_mem\[0\] = 0"),
        ("tau_syn", [1.0, math.nan], r"tau_syn\[1\] = nan"),
        ("v_leak", INF, "v_leak must be finite"),
        ("refractory", -1.0, "refractory must be >= 0"),
        ("v_reset", 1.0, "v_reset must be below v_threshold"),
        ("v_threshold", [1.0, 2.0, 3.0], r"v_threshold must be a number or have shape \(2,\)"),
        ("weight", np.ones(3), "weight must be finite and"),
        ("weight", [[1.0, 2.0], [math.nan, 1.0]], r"weight must be finite.*weight\[1, 0\] = nan"),
        ("max_spikes", -1, "max_spikes must be >= 0"),
        ("weight_unit", 0.0, "weight_unit must be finite and > 0"),
    ],
)
def test_bad_layers_are_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        hardware.Layer(**{"weight": np.ones((2, 2)), **CONSTANTS, name: value})


def test_layers_must_fit_together():
    layers = network(2, 3).layers + network(4, 1).layers
    with pytest.raises(ValueError, match="layer 1 has 4 inputs, but layer 0 has 3 neurons"):
        hardware.Network(layers)
    with pytest.raises(ValueError, match="one layer at least"):
        hardware.Network(())


def test_scaling():
    scaling = hardware.Scaling(weight=10.0, time=1e-3)
    weight = np.array([0.14, -0.16, 7.0, -7.0])
    assert scaling.hardware_weight(weight, 63).tolist() == [1, -2, 63, -63]
    assert scaling.hardware_weight(weight, None) == pytest.approx([1.4, -1.6, 70, -70])
    with pytest.raises(ValueError, match="time must be finite and > 0"):
        hardware.Scaling(time=0.0)
    with pytest.raises(ValueError, match=r"weight must be finite.*weight\[0, 1\] = inf"):
        scaling.hardware_weight(np.array([[0.0, INF]]), 63)


def test_weights_beyond_the_hardware_are_refused():
    layer = hardware.Layer([[1.0, -63.0], [0.0, 64.0]], **CONSTANTS)
    with pytest.raises(hardware.HardwareLimitError, match=r"-63 to 63.*layer 0.*\[1, 1\] = 64"):
        hardware.check_weights(hardware.Network((layer,)), 63)
    layer = hardware.Layer([[1.5]], **CONSTANTS)
    with pytest.raises(hardware.HardwareLimitError, match=r"whole numbers.*\[0, 0\] = 1.5"):
        hardware.check_weights(hardware.Network((layer,)), 63)
    hardware.check_weights(network(2, 3), 63)


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        ([[[2e-5, 1e-5]]], "neuron 0 in sample 0.*earlier than the spike before"),
        ([[[INF, 1e-5]]], "earlier than the spike before"),
        ([[[math.nan, INF]]], "is not a number"),
        ([[[-1e-6, INF]]], "before the start"),
        ([[[1e-5, 2e-4]]], "later than the duration of 0.0001 s"),
        ([[[1e-5, -INF]]], "before the start"),
    ],
)
def test_malformed_times_are_refused_both_ways(spikes, message):
    with pytest.raises(hardware.BackendError, match=f"chip: layer 0: spike .*{message}"):
        hardware.check_observation(observation(spikes), network(1, 1), 1, 1e-4, name="chip")
    with pytest.raises(ValueError, match=f"spikes: spike .*{message}"):
        hardware.check_input(network(1, 1), np.asarray(spikes), 1e-4)


def test_wrong_shapes_are_refused():
    with pytest.raises(hardware.BackendError, match=r"layer 0: spikes must have shape \(2, 1, 2\)"):
        hardware.check_observation(observation([[[INF, INF]]]), network(1, 1), 2, 1.0)
    with pytest.raises(hardware.BackendError, match="spikes of 1 layers, the network has 2"):
        hardware.check_observation(observation([[[INF, INF]]]), network(1, 1, 1), 1, 1.0)
    wrong = hardware.Observation(([[[INF, INF]]],))
    with pytest.raises(hardware.BackendError, match="must be an array of numbers, got list"):
        hardware.check_observation(wrong, network(1, 1), 1, 1.0)
    with pytest.raises(hardware.BackendError, match="no voltages"):
        hardware.check_observation(
            observation([[[1.0, INF]]]), network(1, 1), 1, 1.0, voltage_times=np.zeros(3)
        )
    with pytest.raises(ValueError, match=r"spikes must have shape \(batch, 2, k\)"):
        hardware.check_input(network(2, 1), np.zeros((1, 3, 1)), 1.0)
    with pytest.raises(ValueError, match="duration must be > 0"):
        hardware.check_input(network(2, 1), np.zeros((1, 2, 1)), 0.0)


SPIKES = {"spikes": (np.full((2, 1, 2), INF),)}
LOOKS = np.zeros(3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"spikes": 7}, "chip: spikes must be a tuple of one array per layer, got int"),
        ({"overflow": ()}, "chip: overflow of 0 layers, the network has 1"),
        ({"overflow": (np.array([math.nan]),)}, r"layer 0: overflow must be a count, .*\[0\] is n"),
        ({"overflow": (np.array([-1]),)}, r"layer 0: overflow must be a count, .*\[0\] is -1"),
        ({"lost": None}, "chip: lost must map names to counts, got NoneType"),
        ({"lost": {"a": "x"}}, r"chip: lost\['a'\] must be a count >= 0, got 'x'"),
        ({"lost": {"a": -1}}, r"chip: lost\['a'\] must be a count >= 0, got -1"),
        ({"voltages": 7}, "chip: voltages must be a tuple of one array per layer, got int"),
        (
            {"voltages": (np.full((2, 1, 3), INF),)},
            r"0: voltages must be finite.*\[0, 0, 0\] is inf",
        ),
        ({"voltages": (np.full((2, 1, 3), math.nan),)}, "layer 0: voltages must be finite"),
    ],
)
def test_malformed_observations_are_refused_by_field(fields, message):
    seen = hardware.Observation(**{**SPIKES, "voltages": (np.zeros((2, 1, 3)),), **fields})
    with pytest.raises(hardware.BackendError, match=message):
        hardware.check_observation(seen, network(1, 1), 2, 1.0, voltage_times=LOOKS, name="chip")


def test_what_is_no_observation_is_refused():
    with pytest.raises(hardware.BackendError, match="chip must return an Observation, got NoneT"):
        hardware.check_observation(None, network(1, 1), 2, 1.0, name="chip")


def test_good_observations_pass():
    good = observation([[[1e-5, 1e-5]], [[1e-4, INF]], [[INF, INF]]])
    hardware.check_observation(good, network(1, 1), 3, 1e-4)
    hardware.check_input(network(1, 1), good.spikes[0], 1e-4)
