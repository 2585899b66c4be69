"""Experiments on a backend: networks that are no chain, hxtorch's units, fine samples."""

import numpy as np
import pytest
import torch

from evtorch.torch_api import hardware, hx
from evtorch.torch_api.hx.transforms.weight_transforms import linear_saturating

from ._networks import CONSTANTS, TAU, encoded


class Recording:
    """An ideal chip that remembers what it was given."""

    name = "recording"
    weight_limit = None

    def __init__(self):
        self.chip = hardware.MockBSS2.ideal()
        self.networks = []

    def run(self, network, *arguments, **named):
        self.networks.append(network)
        return self.chip.run(network, *arguments, **named)


def doubled(weight):
    return 2 * weight


class Partitioned(torch.nn.Module):
    """Two parallel hidden populations whose spikes join in a third one and in a read-out."""

    def __init__(self, instances=(None, None), scale=doubled, **experiment):
        super().__init__()
        self.exp = hx.Experiment(**experiment)
        neurons = {
            **CONSTANTS,
            "reset": hx.ModelParameter(0.0),
            "threshold": hx.MixedHXModelParameter(1.0, 150),
        }
        generator = torch.Generator().manual_seed(2)

        def synapse(inputs, outputs, mean, transform=doubled):
            made = hx.Synapse(inputs, outputs, self.exp, dtype=torch.float64, transform=transform)
            with torch.no_grad():
                made.weight.normal_(mean, 0.6, generator=generator)
            return made

        self.feed = torch.nn.ModuleList(synapse(5, 4, 1.0) for _ in range(2))
        self.hidden = torch.nn.ModuleList(
            hx.LIF(4, self.exp, execution_instance=each, **neurons) for each in instances
        )
        self.join = torch.nn.ModuleList(
            synapse(4, 3, 0.8, transform) for transform in (doubled, scale)
        )
        self.third = hx.LIF(3, self.exp, **neurons)
        self.readout = synapse(3, 2, 0.0)
        self.li = hx.LI(2, self.exp, **CONSTANTS)

    def forward(self, spikes):
        source = hx.LIFObservables(spikes=spikes)
        self.spikes = [lif(feed(source)) for feed, lif in zip(self.feed, self.hidden, strict=True)]
        for synapse, handle in zip(self.join, self.spikes, strict=True):
            self.third(synapse(handle))
        third = self.third._output_handle
        self.spikes.append(third)
        out = self.li(self.readout(third))
        hx.run(self.exp, len(spikes))
        return out.membrane_cadc


def test_parallel_populations_run_one_after_the_other():
    chip, spikes = Recording(), encoded()
    simulated, run = Partitioned(mock=True), Partitioned(mock=False, backend=chip)
    for network in (simulated, run):
        network(spikes).square().sum().backward()
    assert [len(network.layers) for network in chip.networks] == [1, 1, 1]
    assert [each.layers[0].inputs for each in chip.networks] == [5, 5, 8]
    for found, expected in zip(run.spikes, simulated.spikes, strict=True):
        assert expected.spikes.sum() > 3
        torch.testing.assert_close(found.spikes, expected.spikes)
    for found, expected in zip(run.parameters(), simulated.parameters(), strict=True):
        assert expected.grad.abs().sum() > 0
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-4)


def test_a_chain_takes_one_run_per_execution_instance():
    def runs(second, mask=None):
        chip = Recording()
        exp = hx.Experiment(mock=False, backend=chip)
        first = hx.LIF(3, exp, leak=0.0, reset=0.0, threshold=1.0)
        last = hx.LIF(2, exp, leak=0.0, reset=0.0, threshold=1.0, execution_instance=second)
        first.mask = mask
        handle = hx.LIFObservables(spikes=encoded(dtype=torch.float32))
        last(hx.Synapse(3, 2, exp)(first(hx.Synapse(5, 3, exp)(handle))))
        hx.run(exp, 40)
        return [len(network.layers) for network in chip.networks]

    assert runs(None) == [2]
    assert runs(hx.ExecutionInstance()) == [1, 1]
    # The chip does not know the mask, so that what is behind must not get its spikes.
    assert runs(None, torch.tensor([True, False, True])) == [1, 1]


def test_synapses_of_a_population_have_one_scale():
    network = Partitioned(mock=False, backend=Recording(), scale=linear_saturating)
    with pytest.raises(ValueError, match=r"LIF\(3\): on hardware, the transforms.*got 2, 1$"):
        network(encoded())


@pytest.mark.parametrize("length", [25, 60])
def test_hardware_plays_as_many_steps_as_it_is_given_and_the_input_has(length):
    spikes = encoded()
    network = Partitioned(mock=False, backend=Recording())
    run = hx.run
    source = hx.LIFObservables(spikes=spikes)
    out = network.hidden[0](network.feed[0](source))
    run(network.exp, length)
    assert out.spikes.shape[0] == min(length, 40)
    whole = network.hidden[0](network.feed[0](source))
    run(network.exp, 40)
    assert torch.equal(out.spikes[:24], whole.spikes[:24])


def one_layer(tau_mem=1e-5, capacitance=None, **experiment):
    exp = hx.Experiment(**experiment)
    synapse = hx.Synapse(5, 3, exp, dtype=torch.float64, transform=doubled)
    torch.nn.init.constant_(synapse.weight, 30.0)
    threshold = torch.tensor([100.0, 110.0, 125.0])
    lif = hx.LIF(3, exp, tau_mem=tau_mem, membrane_capacitance=capacitance, threshold=threshold)
    out = lif(synapse(hx.LIFObservables(spikes=encoded())))
    hx.run(exp, 40)
    return out.spikes


@pytest.mark.parametrize("tau_mem", [1e-5, 2e-5, torch.tensor([6e-6, 1e-5, 3e-5])])
def test_voltages_of_the_chip_and_any_conductance_run(tau_mem):
    """hxtorch's defaults are 80 to 125; the leak conductance is capacitance over tau_mem."""
    chip = Recording()
    found = one_layer(tau_mem, mock=False, backend=chip)
    expected = one_layer(tau_mem, mock=True)
    assert expected.sum() > 3
    assert torch.equal(found, expected)
    layer = chip.networks[0].layers[0]
    assert max(layer.v_threshold) <= 1
    assert one_layer(tau_mem, mock=False, backend=hardware.MockBSS2(chip=1)).sum() > 0


def test_a_reset_at_threshold_is_taken_on_hardware():
    """As in hxtorch's example of a calibration: such a neuron spikes whenever it may."""
    for chip in (Recording(), hardware.MockBSS2(chip=1)):
        exp = hx.Experiment(mock=False, backend=chip)
        synapse = hx.Synapse(2, 3, exp)
        torch.nn.init.constant_(synapse.weight, 63.0)
        threshold = hx.HXParameter(torch.tensor([80.0, 100.0, 200.0]))
        lif = hx.LIF(3, exp, tau_syn=6e-6, tau_mem=2e-5, threshold=threshold)
        spikes = torch.zeros(20, 1, 2)
        spikes[5] = 1
        out = lif(synapse(hx.LIFObservables(spikes=spikes)))
        hx.run(exp, 20)
        first, second, third = out.spikes.sum((0, 1)).tolist()
        assert first >= 10
        assert first > second > third == 0
        out.spikes.sum().backward()
        lif.leak.hardware_value = 1022.0
        out = lif(synapse(hx.LIFObservables(spikes=0 * spikes)))
        hx.run(exp, 20)
        assert bool((out.spikes.sum((0, 1)) > 0).all())
        lif.reset.hardware_value = 100.5
        lif(synapse(hx.LIFObservables(spikes=spikes)))
        with pytest.raises(ValueError, match="reset must be finite and not above threshold"):
            hx.run(exp, 20)


def recorder(kind, size, exp, **options):
    return kind(size, exp, enable_madc_recording=True, **CONSTANTS, **options)


def test_fine_samples_are_those_of_the_recorded_neuron():
    exp = hx.Experiment(mock=False, backend=Recording())
    synapse = hx.Synapse(5, 3, exp, dtype=torch.float64)
    torch.nn.init.constant_(synapse.weight, 1.5)
    neurons = {"reset": hx.ModelParameter(0.0), "threshold": hx.MixedHXModelParameter(1.0, 150)}
    lif = recorder(hx.LIF, 3, exp, record_neuron_id=1, **neurons)
    out = lif(synapse(hx.LIFObservables(spikes=encoded())))
    hx.run(exp, 40)
    assert out.spikes[..., 1].sum() > 0
    times, values = out.membrane_madc.detach()
    assert times.shape == values.shape == (1176, 3)  # 40 µs, one each 34 ns
    np.testing.assert_allclose(times[:, 0] * 8e-9, 34e-9 * np.arange(1176))
    every = torch.arange(1, 40, 2)  # 17 samples are 578 ns
    near = (every * 1e-6 / 34e-9).round().long()
    coarse = out.membrane_cadc.detach()[every, :, 1]
    error = (values[near] - coarse).abs()
    assert float(error.median()) < 0.02 * float(coarse.abs().max())
    exp = hx.Experiment(mock=True)
    synapse = hx.Synapse(5, 3, exp)
    torch.nn.init.constant_(synapse.weight, 1.5)
    lif = recorder(hx.LIF, 3, exp, record_neuron_id=1, **neurons)
    out = lif(synapse(hx.LIFObservables(spikes=encoded(dtype=torch.float32))))
    hx.run(exp)
    assert out.membrane_madc is None


def test_one_neuron_is_recorded():
    def run(first, second, **options):
        exp = hx.Experiment(mock=False, backend=Recording())
        neurons = {"reset": 0.0, "threshold": 1.0}
        lif = recorder(hx.LIF, 3, exp, record_neuron_id=first, **neurons)
        li = recorder(hx.LI, 2, exp, record_neuron_id=second, **options)
        handle = hx.LIFObservables(spikes=encoded(dtype=torch.float32))
        out = li(hx.Synapse(3, 2, exp)(lif(hx.Synapse(5, 3, exp)(handle))))
        hx.run(exp, 40)
        return out

    with pytest.raises(RuntimeError, match=r"LIF\(3\) and LI\(2\) have enable_madc_recording"):
        run(0, 1)
    for index in (None, 3):
        with pytest.raises(ValueError, match=rf"LIF\(3\): enable_madc.*0 to 2; got {index}"):
            run(index, 1)
    out = run(0, 1, execution_instance=hx.ExecutionInstance())
    trace = out.membrane_madc.detach()[1]
    assert trace.shape == (1176, 3)
    highest = out.membrane_cadc.detach().abs().amax(0)[:, 1]
    torch.testing.assert_close(trace.abs().amax(0), highest, rtol=0.05, atol=1e-6)


def test_released_hardware_can_be_had_again():
    chip = Recording()
    hx.init_hardware(chip)
    try:
        hx.release_hardware()
        with pytest.raises(ValueError, match="needs a backend"):
            one_layer(mock=False)
        hx.init_hardware()
        assert one_layer(mock=False).sum() > 0
        assert len(chip.networks) == 1
    finally:
        hx.release_hardware()


class Clamped(hx.Synapse):
    """As hxtorch's tutorials write it: a numerical form of their own, linear in the spikes."""

    def forward_func(self, input):  # pyright: ignore[reportIncompatibleMethodOverride]
        graded = hx.functional.linear_exponential_clamp(
            input.spikes, self.weight, cap=2.0, start_weight=0.0
        )
        return hx.SynapseHandle(graded_spikes=graded)


class Squared(hx.Synapse):
    """One that is not."""

    def forward_func(self, input):  # pyright: ignore[reportIncompatibleMethodOverride]
        return hx.SynapseHandle(graded_spikes=(input.spikes @ self.weight.T).square())


@pytest.mark.parametrize("mock", [True, False])
def test_own_synapses_that_weigh_spikes_take_events(mock):
    """Their weights act, and the gradient goes through them."""
    exp = hx.Experiment(mock=mock, backend=None if mock else Recording())
    synapse = Clamped(5, 3, exp, dtype=torch.float64)
    li = hx.LI(3, exp, leak=0.0, tau_mem=TAU, tau_syn=TAU)
    weighted = synapse(hx.LIFObservables(spikes=encoded()))
    out = li(weighted)
    hx.run(exp, 40)
    size = synapse.weight.detach().abs() / 2
    used = synapse.weight.detach().sign() * 2 * (1 - torch.exp(-size))
    torch.testing.assert_close(weighted.graded_spikes.detach(), encoded() @ used.T)
    _, weight = weighted.events
    if mock:
        torch.testing.assert_close(weight.detach(), used)
    out.membrane_cadc.sum().backward()
    # Of the clamp, the chain rule: its slope times the gradient of a synapse with its weights.
    plain = hx.Synapse(5, 3, exp, dtype=torch.float64)
    with torch.no_grad():
        plain.weight.copy_(weight)
    same = li(plain(hx.LIFObservables(spikes=encoded())))
    hx.run(exp, 40)
    same.membrane_cadc.sum().backward()
    expected = plain.weight.grad.mul(torch.exp(-size))  # pyright: ignore[reportOptionalMemberAccess]
    torch.testing.assert_close(synapse.weight.grad, expected)


def test_own_synapses_that_do_something_else_are_named():
    exp = hx.Experiment(mock=False, backend=Recording())
    hx.LI(3, exp)(Squared(5, 3, exp)(hx.LIFObservables(spikes=encoded(dtype=torch.float32))))
    with pytest.raises(ValueError, match=r"Squared\(5, 3\): its forward_func is not linear"):
        hx.run(exp, 40)
