"""Spikes of recurrent layers against the reference, and identities of the model."""

import math

import jax
import numpy as np
import pytest

from evtorch import jax_core

from ..reference import CONSTANTS, Neuron, simulate_recurrent
from ._layers import relative_error
from ._recurrent_layers import (
    INPUTS,
    NETWORKS,
    NEURONS,
    OPTIONS,
    SPIKES,
    pull_back_all,
    random_recurrent,
    simulate_all,
)

TIMES = ("spikes", "tau_mem", "tau_syn", "refractory")


@pytest.fixture(scope="module")
def drawn():
    """Layers and what the reference says of them."""
    layers = random_recurrent(seed=41)
    return layers, [layers.run(network) for network in range(NETWORKS)]


@pytest.mark.usefixtures("x64")
def test_spikes_equal_the_reference_in_float64(drawn):
    layers, runs = drawn
    expected = np.array([run.times(SPIKES) for run in runs])
    np.testing.assert_allclose(simulate_all(layers), expected, rtol=1e-11)
    # Several spikes, several neurons in turns, and samples that end with an overflow.
    assert np.isfinite(expected).mean() > 0.3
    assert sum(len({j for moment in run.order for j in moment}) == NEURONS for run in runs) > 10
    assert sum(bool(run.overflow) for run in runs) > 10


@pytest.mark.usefixtures("x64")
def test_until_t_max(drawn):
    layers, runs = drawn
    t_max = 4.0
    expected = np.array([run.times(SPIKES) for run in runs])
    expected = np.where(expected <= t_max, expected, math.inf)
    np.testing.assert_allclose(simulate_all(layers, t_max=t_max), expected, rtol=1e-11)


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_spikes_equal_the_reference_in_float32_at_any_scale_of_time(unit):
    layers = random_recurrent(seed=42, dtype=np.float32)
    scaled = {
        name: value * np.float32(unit if name in TIMES else 1)
        for name, value in layers.arguments.items()
    }
    actual = simulate_all(scaled) / np.float32(unit)
    compared = 0
    for network in range(NETWORKS):
        run = layers.run(network)
        # Rounding shifts spikes that graze, and may change the order of events that nearly meet.
        if run.slope > 0.3 and run.gap > 1e-2 and run.margin > 1e-2:
            np.testing.assert_allclose(actual[network], run.times(SPIKES), rtol=1e-4)
            compared += len(run.order)
    assert compared > 60


@pytest.mark.usefixtures("x64")
def test_the_unit_of_time_is_free(drawn):
    layers, _ = drawn
    cotangent = np.random.default_rng(43).normal(size=(NETWORKS, NEURONS, SPIKES))
    unit = 2.0**-30
    scaled = {
        name: value * (unit if name in TIMES else 1) for name, value in layers.arguments.items()
    }
    np.testing.assert_array_equal(simulate_all(scaled), simulate_all(layers) * unit)
    gradients = pull_back_all(layers, cotangent)
    for name, gradient in pull_back_all(scaled, cotangent).items():
        power = 0 if name in TIMES else 1
        np.testing.assert_allclose(gradient, gradients[name] * unit**power, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_without_recurrent_weights_it_is_the_feed_forward_layer(drawn):
    layers, _ = drawn
    cotangent = np.random.default_rng(44).normal(size=(NETWORKS, NEURONS, SPIKES))
    arguments = {**layers.arguments, "recurrent_weight": np.zeros_like(layers.recurrent_weight)}
    # Its own shape of options, so that no sample ends with the overflow of another neuron.
    arguments["refractory"] = np.full_like(arguments["refractory"], 1.1)
    inputs = {k: v for k, v in arguments.items() if k != "recurrent_weight"}

    def run(arguments, cotangent):
        def layer(arguments):
            return jax_core.lif(**arguments, **OPTIONS, t_max=4.0)

        times, pull_back = jax.vjp(layer, arguments)
        return times, pull_back(cotangent)[0]

    expected, gradients = jax.jit(jax.vmap(run))(inputs, cotangent)
    assert np.isfinite(expected).mean() > 0.15
    actual = simulate_all(arguments, t_max=4.0)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    found = pull_back_all(arguments, cotangent, t_max=4.0)
    for name, gradient in gradients.items():
        assert relative_error(found[name], np.asarray(gradient)).max() < 1e-9, name
    assert np.any(found["recurrent_weight"] != 0)


@pytest.mark.usefixtures("x64")
def test_shifting_all_inputs_shifts_all_spikes(drawn):
    layers, _ = drawn
    constants = layers.networks.constants
    rests = (constants["v_leak"] < constants["v_threshold"]).all(axis=1)
    assert rests.sum() > 20
    shifted = {**layers.arguments, "spikes": layers.arguments["spikes"] + 3.0}
    expected = simulate_all(layers)[rests] + 3.0
    np.testing.assert_allclose(simulate_all(shifted)[rests], expected, rtol=1e-11)


@pytest.mark.usefixtures("x64")
def test_the_order_of_neurons_is_free(drawn):
    layers, _ = drawn
    order = np.array([2, 0, 1])
    permuted = {name: value[:, order] for name, value in layers.arguments.items()}
    permuted["spikes"] = layers.arguments["spikes"]
    permuted["recurrent_weight"] = layers.recurrent_weight[:, order][:, :, order]
    np.testing.assert_allclose(simulate_all(permuted), simulate_all(layers)[:, order], rtol=1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("sign", [1, -1], ids=["excitatory", "inhibitory"])
def test_neurons_that_spike_at_the_same_time_do_so_before_any_spike_arrives(drawn, sign):
    """Equal neurons stay equal, whatever they do to each other."""
    layers, _ = drawn
    equal = {
        name: np.repeat(value[:, :1], NEURONS, axis=1) for name, value in layers.arguments.items()
    }
    equal["spikes"] = layers.arguments["spikes"]
    one = sign * np.abs(layers.recurrent_weight[:, :1, :1])
    equal["recurrent_weight"] = np.broadcast_to(one, layers.recurrent_weight.shape)
    times = simulate_all(equal)
    assert np.isfinite(times).mean() > 0.2
    np.testing.assert_array_equal(times, np.repeat(times[:, :1], NEURONS, axis=1))
    # Each stands for all: the same as one that hears itself with the weights of all.
    for network in range(0, NETWORKS, 8):
        neuron = Neuron(**{name: float(equal[name][network, 0]) for name in CONSTANTS})
        run = simulate_recurrent(
            [neuron],
            equal["spikes"][network],
            equal["weight"][network, :1],
            NEURONS * one[network],
            SPIKES,
        )
        np.testing.assert_allclose(times[network, :1], run.times(SPIKES), rtol=1e-10)
    # And a gradient through one is a third of that through all.
    cotangent = np.where(np.isfinite(times), 1.0, 0.0)
    gradients = pull_back_all(equal, cotangent)
    weight = gradients["recurrent_weight"]
    np.testing.assert_allclose(
        weight, np.broadcast_to(weight[:, :1, :1], weight.shape), rtol=1e-9, atol=1e-12
    )


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("sign", [1, -1], ids=["excitatory", "inhibitory"])
def test_equal_neurons_spike_together_however_they_graze_the_threshold(drawn, sign):
    """Where the voltage hardly reaches the threshold, its rounding moves the crossing far."""
    layers, _ = drawn
    rng = np.random.default_rng(46)
    tau_mem, tau_syn = rng.uniform(0.6, 2, (2, NETWORKS))
    threshold, excess = rng.uniform(0.5, 2, NETWORKS), 10 ** rng.uniform(-11, -2, NETWORKS)
    peak = np.exp(-np.log(tau_mem / tau_syn) * tau_mem / (tau_mem - tau_syn))
    spikes = np.full_like(layers.arguments["spikes"], math.inf)
    spikes[:, 0, 0] = rng.uniform(0, 9, NETWORKS)

    def every(value):
        return np.repeat(value[:, None], NEURONS, axis=1)

    arguments = {
        "spikes": spikes,
        "weight": np.zeros_like(layers.arguments["weight"]),
        # Whoever hears another before it spikes does so earlier, or not at all.
        "recurrent_weight": np.full_like(layers.recurrent_weight, sign),
        "tau_mem": every(tau_mem),
        "tau_syn": every(tau_syn),
        "v_threshold": every(threshold),
        "v_leak": every(np.zeros(NETWORKS)),
        "v_reset": every(-rng.uniform(0, 1, NETWORKS)),
        "refractory": every(np.zeros(NETWORKS)),
    }
    arguments["weight"][:, :, 0] = every(threshold * (1 + excess) / peak)
    times = simulate_all(arguments)
    assert np.isfinite(times[..., 0]).all()
    np.testing.assert_array_equal(times, times[:, :1].repeat(NEURONS, axis=1))
    cotangent = np.where(np.isfinite(times), 1.0, 0.0)
    weight = pull_back_all(arguments, cotangent)["recurrent_weight"]
    np.testing.assert_allclose(
        weight, np.broadcast_to(weight[:, :1, :1], weight.shape), rtol=1e-9, atol=1e-12
    )


@pytest.mark.usefixtures("x64")
def test_leading_dimensions_events_and_eager_calls(drawn):
    layers, _ = drawn
    arguments = {name: value.copy() for name, value in layers.arguments.items()}
    for name, value in arguments.items():
        if name != "spikes":
            value[:6] = value[0]
    expected = [layers.with_arguments(arguments).run(network).times(SPIKES) for network in range(6)]
    assert np.isfinite(expected).mean() > 0.1
    shared = {name: value[0] for name, value in arguments.items() if name != "spikes"}
    spikes = arguments["spikes"][:6].reshape(2, 3, INPUTS, 2)
    events = jax_core.events_from_spike_times(spikes)
    times = np.asarray(jax_core.recurrent_lif(events, **shared, **OPTIONS))
    np.testing.assert_allclose(times.reshape(6, NEURONS, SPIKES), expected, rtol=1e-11)
    for empty in (np.zeros((0, INPUTS, 2)), np.zeros((6, INPUTS, 0))):
        out = jax_core.recurrent_lif(empty, **shared, **OPTIONS)
        assert out.shape == (len(empty), NEURONS, SPIKES)


@pytest.mark.usefixtures("x64")
def test_silence_has_no_gradient(drawn):
    layers, _ = drawn
    constants = layers.networks.constants
    rests = (constants["v_leak"] < constants["v_threshold"]).all(axis=1)
    silence = {**layers.arguments, "spikes": np.full_like(layers.networks.spikes, math.inf)}
    assert np.all(np.isinf(simulate_all(silence)[rests]))
    for gradient in pull_back_all(silence, np.ones((NETWORKS, NEURONS, SPIKES))).values():
        assert np.all(gradient[rests] == 0)


TONIC = {"tau_mem": 2.0, "tau_syn": 1.0, "v_leak": np.array([1.5, 0.0], np.float32)}
NO_INPUT = np.full((3, 1, 1), np.inf, np.float32)
ONE_WEIGHT = np.ones((2, 1), np.float32)
# Neuron 0 fires by itself; each of its spikes makes neuron 1 fire once.
DRIVES = np.array([[0.0, 0.0], [9.0, 0.0]], np.float32)


def test_overflow_ends_a_sample_and_is_reported():
    def run(**options):
        return jax_core.recurrent_lif(NO_INPUT, ONE_WEIGHT, DRIVES, **TONIC, **options)

    with pytest.raises(ValueError, match=r"spike\(s\) lost.*max_spikes = 2.*their samples end"):
        run(max_spikes=2)
    with pytest.warns(RuntimeWarning, match="max_spikes = 2"):
        warned = run(max_spikes=2, on_overflow="warn")
    times, health = run(max_spikes=2, return_health=True)
    np.testing.assert_array_equal(times, warned)
    reference = simulate_recurrent(
        [Neuron(2.0, 1.0, v_leak=leak) for leak in (1.5, 0.0)],
        NO_INPUT[0],
        ONE_WEIGHT,
        DRIVES,
        max_spikes=2,
    )
    assert len(reference.overflow) == 1
    expected = np.zeros(2, int)
    expected[list(reference.overflow)] = 3
    np.testing.assert_array_equal(health.overflow, expected)
    np.testing.assert_allclose(times[0], reference.times(2), rtol=1e-5)
    enough = run(max_spikes=2, t_max=2.5)
    assert np.isfinite(enough).any()


BAD = {
    "not square": (
        {"recurrent_weight": np.ones((2, 1), np.float32)},
        r"recurrent_weight.*\(2, 2\)",
    ),
    "other neurons": (
        {"recurrent_weight": np.ones((3, 3), np.float32)},
        r"recurrent_weight.*2 neu",
    ),
    "one axis": ({"recurrent_weight": np.ones(2, np.float32)}, "recurrent_weight must have shape"),
    "NaN": ({"recurrent_weight": DRIVES * np.nan}, "recurrent_weight must be finite"),
    "integers": ({"recurrent_weight": DRIVES.astype(int)}, "recurrent_weight must be float"),
    "list": ({"recurrent_weight": [[0.0, 0.0], [0.0, 0.0]]}, "recurrent_weight must be"),
    "weight": ({"weight": np.ones((2, 2), np.float32)}, "weight of shape"),
    "tau_mem": ({"tau_mem": -1.0}, "tau_mem must be > 0"),
    "max_spikes": ({"max_spikes": 0}, "max_spikes must be >= 1"),
    "delay": ({"recurrent_delay": -1.0}, "recurrent_delay must be >= 0"),
    "infinite delay": ({"recurrent_delay": math.inf}, "recurrent_delay must be finite"),
    "other delays": ({"recurrent_delay": np.zeros(3, np.float32)}, "recurrent_delay must be"),
    "on_overflow": ({"on_overflow": "ignore"}, "on_overflow must be"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_named(arguments, message):
    given = {"weight": ONE_WEIGHT, "recurrent_weight": DRIVES, **arguments}
    with pytest.raises((ValueError, TypeError), match=message):
        jax_core.recurrent_lif(NO_INPUT, **given)
