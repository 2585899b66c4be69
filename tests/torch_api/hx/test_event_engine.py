"""The event engine: exact spikes, traces and gradients behind the dense surface."""

import math
import warnings

import numpy as np
import pytest
import torch

from evtorch import torch_api as snn
from evtorch.torch_api import hx
from evtorch.torch_api.hx.engines._call import Clock
from evtorch.torch_api.hx.engines._hardware_layer import hardware_weight
from evtorch.torch_api.hx.engines._raster import exact_times, times_of
from evtorch.torch_api.hx.engines._traces import integrator_trace, looks

from ._networks import CONSTANTS, TAU, Network, encoded, exact


def test_spikes_are_those_of_the_event_based_layer():
    network, spikes = Network(), encoded()
    network(spikes)
    own = network.hidden.times(1e-6)
    times = exact(spikes)
    expected = snn.functional.lif(
        times,
        network.first.weight,
        tau_mem=TAU,
        tau_syn=TAU,
        refractory=1e-6,
        max_spikes=own.shape[-1],
        t_max=3.9e-5,
    )
    assert torch.equal(own, expected)
    assert torch.isfinite(own).any()
    drawn = network.hidden.spikes
    assert drawn.shape == (40, 3, 8)
    there = torch.isfinite(own)
    sample, neuron, _ = torch.nonzero(there, as_tuple=True)
    step = (own[there] / 1e-6).round().long()
    drawn_at = {*zip(step.tolist(), sample.tolist(), neuron.tolist(), strict=True)}
    assert {*map(tuple, torch.nonzero(drawn).tolist())} == drawn_at


def test_euler_approaches_it_as_the_steps_shrink():
    def voltages(dt, engine):
        network = Network(engine=engine, dt=dt)
        every = round(1e-6 / dt)
        return network(encoded(dt)).detach()[::every]

    exact = voltages(1e-6, "event")
    errors = [float((voltages(dt, "euler") - exact).abs().max()) for dt in (1e-6, 1e-7, 2e-8)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02 * float(exact.abs().max())


def test_gradients_equal_finite_differences():
    """Of a loss on the read-out's voltages, with respect to both weights and to tau_mem."""
    network, spikes = Network(), encoded()
    network.lif.tau_mem.model_value = torch.full((8,), TAU, dtype=torch.float64)
    network.lif.tau_mem.make_trainable()
    weights = torch.randn(40, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss():
        return (network(spikes) * weights).sum()

    loss().backward()
    tau = network.lif.tau_mem.model_value
    for parameter, size in ((network.first.weight, 1), (network.second.weight, 1), (tau, TAU)):
        at = np.unravel_index(int(parameter.grad.abs().argmax()), parameter.shape)
        step = 1e-6 * size
        with torch.no_grad():
            parameter[at] += step
            high = loss()
            parameter[at] -= 2 * step
            low = loss()
            parameter[at] += step
        exact = parameter.grad[at].item()
        assert exact != 0
        assert float(high - low) / (2 * step) == pytest.approx(exact, rel=1e-5)


def test_gradient_through_the_raster_is_that_of_the_times():
    """A loss linear in time is exact; counting spikes has no gradient."""
    network, spikes = Network(), encoded()
    network(spikes)
    steps = torch.arange(40, dtype=torch.float64)[:, None, None] * 1e-6
    drawn, times = network.hidden.spikes, network.hidden.times(1e-6)
    (by_raster,) = torch.autograd.grad(
        (drawn * steps).sum(), network.first.weight, retain_graph=True
    )
    finite = torch.isfinite(times)
    (by_times,) = torch.autograd.grad(times[finite].sum(), network.first.weight, retain_graph=True)
    torch.testing.assert_close(by_raster, by_times)
    (none,) = torch.autograd.grad(drawn.sum(), network.first.weight)
    np.testing.assert_allclose(none, 0, atol=1e-12)


def test_traces_on_the_grid():
    network, spikes = Network(), encoded()
    network(spikes)
    times = exact(spikes)
    at = torch.arange(40, dtype=torch.float64) * 1e-6
    trace = snn.functional.lif_trace(
        times,
        network.first.weight,
        at,
        tau_mem=TAU,
        tau_syn=TAU,
        refractory=1e-6,
        max_spikes=network.lif.spike_room,
        t_max=3.9e-5,
    )
    torch.testing.assert_close(network.hidden.membrane_cadc, trace.movedim(-1, 0))
    since = at[:, None, None, None] - times
    arrived = torch.where(since >= 0, torch.exp(-since / TAU), 0.0).sum(-1)
    torch.testing.assert_close(network.hidden.current, arrived @ network.first.weight.T)
    assert network.hidden.membrane_madc is None
    assert not network.hidden.holds("membrane_madc")
    assert "lif" in str(snn.health_report(network))


@pytest.mark.parametrize("tau_mem", [6e-6, 9e-6])
def test_readout_carried_from_step_to_step_is_the_sum_over_all_spikes(tau_mem):
    """Also for spikes that are exactly on a step, on the first one, and after the last."""
    times = torch.tensor([[[0.0, 3e-6, 3.4e-6]], [[1.7e-6, 1.9e-6, math.inf]]], dtype=torch.float64)
    times = torch.cat([times, times + 5.3e-6, times + 9.9e-6], dim=1).requires_grad_()
    weight = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weight.requires_grad_()
    constants = {"tau_mem": tau_mem, "tau_syn": 6e-6, "v_leak": 0.3}
    clock = Clock(1e-6, 12)
    found = integrator_trace(times, weight, constants, clock)
    expected = snn.functional.li_value(times, weight, looks(clock, times), **constants)
    torch.testing.assert_close(found, expected.movedim(-1, 0))
    pull = torch.linspace(1, 2, found.numel(), dtype=torch.float64).reshape(found.shape)
    gradients = torch.autograd.grad((found * pull).sum(), (times, weight))
    same = torch.autograd.grad((expected.movedim(-1, 0) * pull).sum(), (times, weight))
    torch.testing.assert_close(gradients, same)


def test_room_for_spikes_grows_as_needed():
    network = Network()
    torch.nn.init.constant_(network.first.weight, 30.0)
    network(encoded())
    assert network.lif.spike_room > 4
    assert int(torch.isfinite(network.hidden.times(1e-6)).sum(-1).max()) > 4


def test_training_a_silent_layer_warns_once():
    network = Network()
    network.lif.threshold.model_value = 1e3
    network.eval()
    network(encoded())
    network.train()
    with torch.no_grad():
        network(encoded())
    network(0 * encoded())
    with pytest.warns(RuntimeWarning, match=r"LIF\(8\) did not spike in any of 3 samples.*weights"):
        network(encoded())
    network(encoded())


def test_rasters_keep_exact_times_until_they_are_changed():
    raster = encoded()
    times = exact(raster)
    repeated = exact(raster.repeat(1, 1, 2).to(torch.float32))
    assert torch.equal(repeated, times.repeat(1, 2, 1).float())
    assert exact_times(raster + 1) is None
    assert type(raster * 2) is torch.Tensor
    raster[0] = 0
    assert exact_times(raster) is None
    read = times_of(raster, 1e-6)
    finite = torch.isfinite(read)
    # The encoder draws a spike at the step that has begun last.
    assert bool(((times - read)[finite] < 1.001e-6).all())


def test_dropout_silences_neurons_in_training():
    exp = hx.Experiment(mock=True)
    source = hx.InputNeuron(5, exp)
    dropout = hx.BatchDropout(5, 0.5, exp)
    torch.manual_seed(0)
    given = hx.LIFObservables(spikes=encoded())
    out = dropout(source(given))
    hx.run(exp, 40)
    left = dropout.mask
    assert 0 < int(left.sum()) < 5
    assert torch.equal(out.spikes, given.spikes * left)
    dropout.eval()
    out = dropout(source(given))
    hx.run(exp, 40)
    assert torch.equal(out.spikes, given.spikes)


def test_sparse_synapses_and_per_neuron_conductance():
    exp = hx.Experiment(mock=True)
    connections = torch.tensor([[1, 0], [0, 1], [1, 1]])
    synapse = hx.SparseSynapse(connections.to_sparse(), exp, dtype=torch.float64)
    capacitance = torch.tensor([1e-5, 2e-5], dtype=torch.float64)
    li = hx.LI(2, exp, leak=0.0, membrane_capacitance=hx.ModelParameter(capacitance))
    raster = (encoded()[..., :3] > 0).double()  # spikes at the steps, for the grid below
    out = li(synapse(hx.LIFObservables(spikes=raster)))
    hx.run(exp, 40)
    dense = connections.T.bool()
    with warnings.catch_warnings(action="ignore"):  # torch calls its CSR layout a beta
        by_rows = hx.SparseSynapse(connections.to_sparse_csr(), exp)
    assert torch.equal(by_rows.mask, synapse.mask)
    assert torch.equal(synapse.weight != 0, dense)
    out.membrane_cadc.sum().backward()
    assert torch.equal(synapse.weight.grad != 0, dense)
    grid = hx.functional.cuba_aelif_integration(
        raster @ synapse.weight.detach().T,
        leak=0.0,
        reset=0.0,
        threshold=1.0,
        tau_syn=1e-5,
        c_mem=capacitance,
        g_l=capacitance / 1e-5,
        fire=False,
    )
    scale = float(grid.membrane.abs().max())
    assert float((out.membrane_cadc.detach() - grid.membrane).abs().max()) < 0.1 * scale


def test_many_connections_and_devices_without_values_are_not_listed():
    exp = hx.Experiment(mock=True)
    assert hx.SparseSynapse(torch.ones(64, 3), exp).lists is None
    assert hx.SparseSynapse(torch.ones(64, 3), exp, device="meta").lists is None


def test_few_connections_are_what_a_matrix_with_zeros_is():
    torch.manual_seed(0)
    connections = (torch.rand(64, 12) < 0.05).int()
    connections[:, 3] = 0  # a neuron without any
    raster = (torch.rand(40, 5, 64) < 0.05).double()

    def run(by_lists):
        torch.manual_seed(1)
        exp = hx.Experiment(mock=True)
        synapse = hx.SparseSynapse(connections, exp, dtype=torch.float64)
        assert synapse.lists is not None
        if not by_lists:
            synapse.lists = None
        with torch.no_grad():
            synapse.weight.copy_(synapse.mask * torch.rand(12, 64) * 4)
        reset, threshold = hx.ModelParameter(0.0), hx.MixedHXModelParameter(1.0, 150)
        neurons = hx.LIF(12, exp, reset=reset, threshold=threshold, **CONSTANTS)
        out = neurons(synapse(hx.LIFObservables(spikes=raster)))
        hx.run(exp, 40)
        times = out.times(1e-6)
        times[times.isfinite()].square().sum().mul(1e10).backward()
        return times.detach(), synapse.weight.grad, set(synapse.state_dict())

    lists, matrix = run(True), run(False)
    torch.testing.assert_close(lists[0], matrix[0], rtol=1e-12, atol=0)
    assert torch.isfinite(lists[0]).sum() > 10
    torch.testing.assert_close(lists[1], matrix[1], rtol=1e-9, atol=1e-12)
    assert lists[2] == {"weight"}


def test_hardware_spikes_have_the_gradients_of_the_model():
    ideal = snn.hardware.MockBSS2.ideal()
    spikes = encoded()
    simulated, run = Network(), Network(mock=False, backend=ideal)
    for network in (simulated, run):
        network(spikes).square().sum().backward()
    assert torch.equal(run.hidden.times(1e-6)[..., :4], simulated.hidden.times(1e-6)[..., :4])
    torch.testing.assert_close(run.first.weight.grad, simulated.first.weight.grad)
    torch.testing.assert_close(run.second.weight.grad, simulated.second.weight.grad)


def test_a_realistic_chip_gets_whole_weights():
    chip = snn.hardware.MockBSS2(chip=1)
    network = Network(mock=False, dtype=torch.float32)
    scale = 20.0
    network.first.weight_transform = lambda w: hx.transforms.weight_transforms.linear_saturating(
        w, scale=scale
    )
    with pytest.raises(ValueError, match="needs a backend"):
        network(encoded(dtype=torch.float32))
    hx.init_hardware(chip)
    try:
        network(encoded(dtype=torch.float32)).sum().backward()
        fit = snn.health_report(network).layers[0].weights
        before = network.first.weight.detach().clone()
        with torch.no_grad():
            network.first.weight.fill_(-10.0)
        with pytest.warns(snn.hardware.WeightClippingWarning, match=r"100\.0% of the weights"):
            network(encoded(dtype=torch.float32))
        with torch.no_grad():
            network.first.weight.copy_(before)
    finally:
        hx.release_hardware()
    assert network.first.weight.grad.abs().sum() > 0
    weight = network.first.weight.detach().numpy()
    expected = np.clip(np.rint(scale * weight.astype(np.float64)), -63, 63)
    assert np.array_equal(hardware_weight(network.first, chip), expected)
    error = np.linalg.norm(expected / scale - weight) / np.linalg.norm(weight)
    assert fit == (np.mean(abs(scale * weight) > 63), pytest.approx(error))


def test_events_that_the_chip_loses_are_reported():
    chip = snn.hardware.MockBSS2.ideal(link_rate=1e6)
    network = Network(mock=False, backend=chip)
    network(encoded())
    lost = snn.health_report(network).lost
    assert lost["output link"] > 0
