"""The mock chip: nothing but the simulation when ideal, and each effect as it says."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core import hardware

from .._thorough import usual

INF = math.inf
US = 1e-6
CONSTANTS = {
    "tau_mem": 12 * US,
    "tau_syn": 6 * US,
    "v_threshold": 1.0,
    "v_leak": 0.0,
    "v_reset": 0.0,
    "refractory": INF,
}


def network(rng, *sizes, whole=True, max_spikes=1, **constants):
    layers = []
    for pre, post in itertools.pairwise(sizes):
        weight = rng.normal(1.5, 0.8, (post, pre)).clip(-3, 3)
        weight = np.round(weight * 20) if whole else weight.astype(np.float32)
        unit = 1 / 20 if whole else 1.0
        given = {**CONSTANTS, **constants, "max_spikes": max_spikes, "weight_unit": unit}
        layers.append(hardware.Layer(weight, **given))
    return hardware.Network(tuple(layers))


def inputs(rng, batch, neurons, k=1, dtype=np.float64):
    return np.sort(rng.uniform(0, 12 * US, (batch, neurons, k)), axis=-1).astype(dtype)


def first(observation):
    return observation.spikes[0]


@pytest.mark.parametrize("dtype", usual({np.float64}, [np.float32, np.float64]))
def test_an_ideal_chip_is_the_simulation_to_the_last_bit(dtype, rng):
    net = network(rng, 6, 5, 3, whole=False, refractory=2 * US, max_spikes=4)
    spikes = inputs(rng, 4, 6, 2, dtype)
    seen = hardware.MockBSS2.ideal().run(net, spikes, INF)
    hardware.check_observation(seen, net, 4, INF)
    # Outside of jit, as torch modules do: constants known to the compiler may round differently.
    simulate = functools.partial(
        jax_core.lif, **{**CONSTANTS, "refractory": 2 * US}, max_spikes=4, on_overflow="truncate"
    )
    with jax.enable_x64(dtype == np.float64):
        expected = spikes
        for layer, times in zip(net.layers, seen.spikes, strict=True):
            expected = simulate(expected, layer.weight.astype(dtype))
            assert times.dtype == dtype
            np.testing.assert_array_equal(times, expected)
    assert np.isfinite(seen.spikes[-1]).any()
    assert seen.lost == {}


def test_a_real_chip_is_off_but_reproducible(rng):
    net, spikes = network(rng, 6, 20, 3), inputs(rng, 4, 6)
    runs = [hardware.MockBSS2(chip).run(net, spikes, 100 * US) for chip in (1, 1, 2)]
    for seen in runs:
        hardware.check_observation(seen, net, 4, 100 * US)
    np.testing.assert_array_equal(first(runs[0]), first(runs[1]))
    assert (first(runs[0]) != first(runs[2])).any()
    chip = hardware.MockBSS2(1)
    again = [first(chip.run(net, spikes, 100 * US)) for _ in range(2)]
    assert (again[0] != again[1]).any(), "noise differs from run to run"
    ideal = first(hardware.MockBSS2.ideal().run(net, spikes, 100 * US))
    both = np.isfinite(ideal) & np.isfinite(again[0])
    error = np.abs(ideal[both] - again[0][both])
    assert 0.1 * US < error.mean() < 3 * US


@pytest.mark.parametrize(
    "effect",
    [
        "threshold_variation",
        "tau_mem_variation",
        "tau_syn_variation",
        "neuron_gain_variation",
        "synapse_gain_variation",
    ],
)
def test_each_variation_is_fixed_and_differs_between_neurons(effect, rng):
    # All neurons alike in the model.
    layer = hardware.Layer(np.full((40, 3), 30.0), **CONSTANTS, weight_unit=1 / 10)
    net, spikes = hardware.Network((layer,)), np.zeros((2, 3, 1))
    chip = hardware.MockBSS2.ideal(**{effect: 0.1})
    times = first(chip.run(net, spikes, INF))
    np.testing.assert_array_equal(times, first(chip.run(net, spikes, INF)))
    np.testing.assert_array_equal(times[0], times[1])
    assert len(np.unique(times[0])) == 40
    ideal = first(hardware.MockBSS2.ideal().run(net, spikes, INF))[0, 0, 0]
    assert 0.01 < np.std(times[0]) / ideal < 0.3


def test_noise_and_jitter_differ_between_samples(rng):
    net = network(rng, 4, 10)
    spikes = np.zeros((50, 4, 1))
    for effect in ({"membrane_noise": 0.05}, {"spike_jitter": 1 * US}):
        times = first(hardware.MockBSS2.ideal(**effect).run(net, spikes, INF))[:, :, 0]
        fires = np.isfinite(times).all(axis=0)
        assert fires.any()
        assert (times[:, fires].std(axis=0) > 0).all()
    assert times[:, fires].std(axis=0).mean() == pytest.approx(US, rel=0.2)


def test_times_have_the_resolution_of_the_link(rng):
    net, spikes = network(rng, 5, 8), inputs(rng, 3, 5)
    times = first(hardware.MockBSS2.ideal(link_resolution=8e-9).run(net, spikes, INF))
    steps = times[np.isfinite(times)] / 8e-9
    assert len(steps)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-6)


def test_a_full_link_loses_events_and_counts_them():
    layer = hardware.Layer(np.full((30, 1), 60.0), **CONSTANTS, weight_unit=0.1)
    net = hardware.Network((layer,))
    chip = hardware.MockBSS2.ideal(link_rate=10e6)
    seen = chip.run(net, np.zeros((2, 1, 1)), INF)
    assert np.isfinite(first(seen)).sum() == 20
    assert seen.lost == {"output link": 40}
    wide = hardware.Network((hardware.Layer(np.zeros((1, 15)), **CONSTANTS),))
    assert chip.run(wide, np.zeros((3, 15, 1)), INF).lost == {"input link": 15}
    # An event each 10 µs.
    slow, spread = hardware.MockBSS2.ideal(link_rate=1e5), np.arange(15).reshape(1, 15, 1) * 2 * US
    assert slow.run(wide, spread, INF).lost == {"input link": 12}
    assert hardware.MockBSS2.ideal(link_rate=1e6).run(wide, spread, INF).lost == {}


def test_spikes_after_the_recording_window_are_counted(rng):
    net = network(rng, 5, 8)
    spikes = np.full((3, 5, 1), 20 * US)
    seen = hardware.MockBSS2.ideal(recording_window=10 * US).run(net, spikes, INF)
    assert np.isinf(first(seen)).all()
    assert seen.lost["recording window"] > 0


def test_refractory_periods_have_a_minimum_and_bursts_are_reported(rng):
    chip, spikes = hardware.MockBSS2.ideal(min_refractory=1 * US), np.zeros((2, 5, 1))
    with pytest.raises(hardware.HardwareLimitError, match=r"refractory must be from 1e-06 to inf"):
        chip.run(network(rng, 5, 6, refractory=0.0), spikes, INF)
    seen = chip.run(network(rng, 5, 6, refractory=1 * US, max_spikes=3), spikes, INF)
    times = first(seen)
    later = np.isfinite(times[..., 1:])
    gaps = times[..., 1:][later] - times[..., :-1][later]
    assert len(gaps)
    assert (gaps >= 1 * US * (1 - 1e-9)).all()
    bursting = hardware.Layer([[60.0]], **{**CONSTANTS, "refractory": 0.0}, weight_unit=0.5)
    seen = hardware.MockBSS2.ideal().run(hardware.Network((bursting,)), spikes[:, :1], INF)
    assert seen.overflow is not None
    assert seen.overflow[0].tolist() == [2]


def bursts(max_spikes):
    """A neuron with more than eight spikes in 50 µs, whose first few do not excite the next."""
    constants = {**CONSTANTS, "refractory": 0.0}
    return hardware.Network(
        (
            hardware.Layer([[40.0]], **constants, max_spikes=max_spikes),
            hardware.Layer([[0.9]], **CONSTANTS),
        )
    )


def test_how_many_spikes_are_returned_changes_nothing_on_the_chip():
    spikes, looks = np.full((2, 1, 1), 1 * US, np.float32), np.linspace(0, 50 * US, 40)
    chip = hardware.MockBSS2.ideal()
    few, many = (chip.run(bursts(count), spikes, 50 * US, voltage_times=looks) for count in (1, 40))
    burst = many.spikes[0][0, 0]
    assert 8 < np.isfinite(burst).sum() < 40
    np.testing.assert_array_equal(few.spikes[0], many.spikes[0][..., :1])
    np.testing.assert_array_equal(few.spikes[1], many.spikes[1])
    assert burst[1] < few.spikes[1].min() < 50 * US
    assert few.voltages is not None
    assert many.voltages is not None
    for one, other in zip(few.voltages, many.voltages, strict=True):
        assert one.max() < 1 + 1e-6
        np.testing.assert_allclose(one, other, atol=1e-6)  # of a threshold of 1, in float32
    assert few.overflow is not None
    assert many.overflow is not None
    assert [x.tolist() for x in few.overflow] == [[2], [0]]
    assert [x.tolist() for x in many.overflow] == [[0], [0]]
    constants = {**CONSTANTS, "refractory": 0.0}
    alone = jax.jit(
        functools.partial(jax_core.lif, **constants, t_max=50 * US, on_overflow="truncate")
    )
    np.testing.assert_array_equal(alone(spikes, np.array([[40.0]], np.float32)), few.spikes[0])


def test_spikes_without_end_are_refused(monkeypatch):
    spikes = np.full((1, 1, 1), 1 * US, np.float32)
    monkeypatch.setattr("evtorch.jax_core.hardware.mock._mock._MOST_ROOM", 8)
    with pytest.raises(hardware.HardwareLimitError, match="layer 0 has more than 8 spikes in a sa"):
        hardware.MockBSS2.ideal().run(bursts(1), spikes, 50 * US)
    tonic = hardware.Layer([[1.0]], **{**CONSTANTS, "v_leak": 2.0, "refractory": 0.0})
    with pytest.raises(hardware.HardwareLimitError, match=r"layer 0 spike without end.*t_max"):
        hardware.MockBSS2.ideal().run(hardware.Network((tonic,)), spikes, INF)


def test_spikes_that_come_to_lie_after_the_end_are_counted(rng):
    net, spikes = network(rng, 5, 8), np.zeros((3, 5, 1))
    last = first(hardware.MockBSS2.ideal().run(net, spikes, INF))
    last = last[np.isfinite(last)].max()
    chip = hardware.MockBSS2.ideal(link_resolution=1.5 * last)
    seen = chip.run(net, spikes, 1.2 * last)
    assert seen.lost["end of the run"] > 0
    hardware.check_observation(seen, net, 3, 1.2 * last)
    before = hardware.MockBSS2.ideal().run(net, spikes, 1.2 * last)
    kept, all_of_them = (int(np.isfinite(first(x)).sum()) for x in (seen, before))
    assert kept + seen.lost["end of the run"] == all_of_them


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_voltages_saturate_and_have_steps(noise):
    layer = hardware.Layer([[60.0], [-60.0], [-6.0]], **CONSTANTS, weight_unit=0.5)
    net = hardware.Network((layer,))
    times = np.linspace(0, 30 * US, 200)
    chip = hardware.MockBSS2.ideal(
        membrane_range=(-1.0, 1.5), cadc_period=1.7 * US, cadc_bits=4, membrane_noise=noise
    )
    seen = chip.run(net, np.zeros((2, 1, 1)), 50 * US, voltage_times=times)
    hardware.check_observation(seen, net, 2, 50 * US, voltage_times=times)
    assert seen.voltages is not None
    voltages = seen.voltages[0]
    assert voltages[:, 1].min() == -1.0
    assert len(np.unique(voltages)) <= 16
    assert len(np.unique(voltages[0, 2])) > 3
    changes = (np.diff(voltages[0], axis=-1) != 0).any(axis=0).sum()
    assert changes <= 30 / 1.7 + 1


def test_leaky_integrators_have_voltages_and_no_spikes(rng):
    hidden = network(rng, 3, 4).layers[0]
    readout = hardware.Layer(np.full((2, 4), 40.0), **CONSTANTS, has_threshold=False, max_spikes=0)
    net = hardware.Network((hidden, readout))
    times = np.linspace(0, 50 * US, 50)
    seen = hardware.MockBSS2.ideal().run(net, np.zeros((2, 3, 1)), INF, voltage_times=times)
    hardware.check_observation(seen, net, 2, INF, voltage_times=times)
    assert seen.spikes[1].shape == (2, 2, 0)
    assert seen.voltages is not None
    assert seen.voltages[1].max() > 1
    assert "membrane range" not in seen.lost
    # Samples of a read-out that saturate are counted; those of the hidden neurons are no result.
    low = hardware.MockBSS2.ideal(membrane_range=(-0.1, 1.0))
    cut = low.run(net, np.zeros((2, 3, 1)), INF, voltage_times=times)
    assert cut.voltages is not None
    np.testing.assert_array_equal(cut.voltages[1], seen.voltages[1].clip(-0.1, 1.0))
    beyond = (seen.voltages[1] > 1.0) | (seen.voltages[1] < -0.1)
    assert cut.lost == {"membrane range": beyond.sum()}


def test_what_the_chip_cannot_do_is_refused_with_numbers(rng):
    chip, spikes = hardware.MockBSS2(), np.zeros((1, 200, 1))
    with pytest.raises(hardware.HardwareLimitError, match=r"needs 600 neuron circuits.*has 512"):
        chip.run(network(rng, 200, 300), spikes, 1e-4)
    unlimited = hardware.MockBSS2.ideal(circuits=5)
    with pytest.raises(
        hardware.HardwareLimitError, match="needs 6 neuron circuits, the chip has 5"
    ):
        unlimited.run(network(rng, 200, 6), spikes, 1e-4)
    with pytest.raises(hardware.HardwareLimitError, match="whole numbers from -63 to 63"):
        chip.run(network(rng, 200, 5, whole=False), spikes, 1e-4)
    with pytest.raises(hardware.HardwareLimitError, match=r"tau_mem.*tau_mem\[0\] = 0.02"):
        chip.run(network(rng, 200, 5, tau_mem=2e-2), spikes, 1e-4)
    with pytest.raises(
        hardware.HardwareLimitError, match=r"v_leak must be from -2 to 3.*= 3.5; sc"
    ):
        chip.run(network(rng, 200, 5, v_leak=3.5), spikes, 1e-4)
    with pytest.raises(ValueError, match="later than the duration"):
        chip.run(network(rng, 5, 5), np.full((1, 5, 1), 2e-4), 1e-4)
    looks = np.array([0.0, 2e-4])
    with pytest.raises(ValueError, match=r"voltage_times must be .*voltage_times\[1\] = 0.0002"):
        chip.run(network(rng, 5, 5), spikes[:, :5], 1e-4, voltage_times=looks)
    with pytest.raises(TypeError, match="spikes must be an array of float32 or float64, got int"):
        chip.run(network(rng, 5, 5), np.zeros((1, 5, 1), int), 1e-4)


def test_constants_have_steps():
    # Of the neurons that differ by less than a step, all are alike.
    tau_mem = 12 * US * np.linspace(1, 1.05, 50)
    layer = hardware.Layer(np.full((50, 1), 60.0), **{**CONSTANTS, "tau_mem": tau_mem})
    net, spikes = hardware.Network((layer,)), np.zeros((1, 1, 1))
    limits = {"tau_range": (1 * US, 100 * US), "membrane_range": (-2.0, 3.0)}
    chip = hardware.MockBSS2.ideal(constant_bits=8, **limits)
    times = first(chip.run(net, spikes, INF))
    assert 2 < len(np.unique(times)) < 6
    with pytest.raises(ValueError, match="constant_bits needs a bounded tau_range"):
        hardware.MockBSS2.ideal(constant_bits=8)


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        ({"spike_jitter": -1.0}, "spike_jitter must be >= 0 and finite, got -1"),
        ({"spike_jitter": INF}, "spike_jitter must be >= 0 and finite, got inf"),
        ({"link_resolution": INF}, "link_resolution must be >= 0 and finite"),
        ({"cadc_period": INF}, "cadc_period must be >= 0 and finite"),
        ({"membrane_noise": math.nan}, "membrane_noise must be >= 0 and finite"),
        ({"recording_window": math.nan}, "recording_window must be >= 0"),
        ({"link_rate": 0.0}, "link_rate must be > 0, got 0"),
        ({"weight_limit": 6.5}, "weight_limit must be a whole number >= 1, got 6.5"),
        ({"weight_limit": True}, "weight_limit must be a whole number >= 1, got True"),
        ({"fan_in": 0}, "fan_in must be a whole number >= 1, got 0"),
        ({"constant_bits": 0}, "constant_bits must be a whole number >= 1, got 0"),
        ({"cadc_bits": 2.5}, "cadc_bits must be a whole number >= 1, got 2.5"),
        ({"membrane_range": (1.0, -1.0)}, "membrane_range must be .* with low < high"),
        ({"tau_range": (1e-6,)}, r"tau_range must be \(low, high\), got"),
    ],
)
def test_bad_effects_are_refused(effects, message):
    with pytest.raises(ValueError, match=message):
        hardware.MockBSS2(**effects)


def test_unknown_effects_are_refused_and_ranges_may_be_lists():
    with pytest.raises(TypeError, match="no_such_effect"):
        hardware.MockBSS2(no_such_effect=1)
    assert hardware.MockBSS2(tau_range=[1e-6, 1e-4]).effects.tau_range == (1e-6, 1e-4)
