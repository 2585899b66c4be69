"""Networks larger than the chip run in parts, with the spikes of a chip that has room."""

import itertools
import math

import numpy as np
import pytest

from evtorch.jax_core import hardware

from .._thorough import usual

US = 1e-6
DURATION = 100 * US


def network(rng, *sizes, readout=False):
    def layer(pre, post, **options):
        weight = rng.normal(4 / pre, 4 / math.sqrt(pre), (post, pre))
        return hardware.Layer(weight, 20 * US, 10 * US, 1.0, 0.0, 0.0, math.inf, **options)

    layers = [layer(pre, post) for pre, post in itertools.pairwise(sizes)]
    if readout:
        layers[-1] = layer(*sizes[-2:], max_spikes=0, has_threshold=False)
    return hardware.Network(tuple(layers))


class Counting:
    """Notes the sizes of the layers that run together."""

    name, weight_limit = "counting", None

    def __init__(self, chip):
        self.chip, self.runs = chip, []

    def run(self, network, spikes, duration, *, voltage_times=None):
        self.runs.append([layer.neurons for layer in network.layers])
        return self.chip.run(network, spikes, duration, voltage_times=voltage_times)


@pytest.mark.parametrize("dtype", usual({np.float64}, [np.float32, np.float64]))
def test_parts_have_the_spikes_of_an_unlimited_chip_to_the_last_bit(dtype, rng):
    net = network(rng, 6, 32, 16, 16, 8, readout=True)
    spikes = rng.uniform(0, 20 * US, (5, 6, 1)).astype(dtype)
    times = np.linspace(0, 90 * US, 7)
    unlimited = hardware.MockBSS2.ideal().run(net, spikes, DURATION, voltage_times=times)
    chip = Counting(hardware.MockBSS2.ideal(circuits=32, fan_in=16))
    split = hardware.Split(chip, circuits=32, fan_in=16)
    seen = split.run(net, spikes, DURATION, voltage_times=times)
    # The neurons of the second layer have 32 inputs and take two circuits each.
    assert chip.runs == [[32], [16], [16, 8]]
    assert all(np.isfinite(layer).any() for layer in unlimited.spikes[:3])
    for mine, theirs in zip(seen.spikes, unlimited.spikes, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for mine, theirs in zip(seen.voltages, unlimited.voltages, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_layer_larger_than_the_chip_runs_in_parts(rng):
    net = network(rng, 6, 40, 3)
    spikes = rng.uniform(0, 20 * US, (5, 6, 1))
    unlimited = hardware.MockBSS2.ideal().run(net, spikes, DURATION)
    chip = Counting(hardware.MockBSS2.ideal(circuits=16, fan_in=None))
    seen = hardware.Split(chip, circuits=16, fan_in=None).run(net, spikes, DURATION)
    assert chip.runs == [[16], [16], [8], [3]]
    for mine, theirs in zip(seen.spikes, unlimited.spikes, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_losses_of_all_runs_add_up(rng):
    net = network(rng, 6, 8, 3)
    spikes = np.zeros((2, 6, 1))
    chip = hardware.MockBSS2.ideal(circuits=8, link_rate=4e6)
    seen = hardware.Split(chip, circuits=8).run(net, spikes, DURATION)
    assert seen.lost["input link"] >= 4
    assert "parts" in hardware.Split(chip).name


def test_what_cannot_be_split_is_refused(rng):
    with pytest.raises(hardware.HardwareLimitError, match="layer 0 with 6 inputs needs 3 neuron"):
        hardware.Split(hardware.MockBSS2.ideal(), circuits=2, fan_in=2).run(
            network(rng, 6, 3), np.zeros((1, 6, 1)), DURATION
        )
    for value in (0, 2.5, True, None):
        with pytest.raises(ValueError, match="circuits must be a whole number >= 1, got"):
            hardware.Split(hardware.MockBSS2.ideal(), circuits=value)
    with pytest.raises(ValueError, match=r"fan_in must be a whole number >= 1, got 2\.5"):
        hardware.Split(hardware.MockBSS2.ideal(), fan_in=2.5)
