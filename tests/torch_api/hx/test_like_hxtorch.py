"""What hxtorch does, by its source: lengths, repeated calls, handles, and arguments."""

import math

import pytest
import torch

from evtorch.torch_api import hx
from evtorch.torch_api.hx.backend._module_manager import ModuleManager

from ._networks import CONSTANTS, Network

SPIKES = (torch.rand(20, 2, 5, generator=torch.Generator().manual_seed(0)) < 0.2).float()
ENGINES = ["event", "euler"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("runtime", [0, 5, None, 20, 100])
def test_a_simulation_is_as_long_as_its_input(engine, runtime):
    network = Network(engine=engine, dtype=torch.float32)
    out = network.li(network.second(network.lif(network.first(hx.LIFObservables(spikes=SPIKES)))))
    assert hx.run(network.exp, runtime) is None
    assert out.membrane_cadc.shape == (20, 2, 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_calling_a_module_again_adds_its_inputs(engine):
    exp = hx.Experiment(mock=True, engine=engine)
    synapses = [hx.Synapse(5, 3, exp) for _ in range(3)]
    li = hx.LI(3, exp, **CONSTANTS)

    def voltages(connect):
        source = hx.LIFObservables(spikes=SPIKES)
        out = connect([synapse(source) for synapse in synapses])
        hx.run(exp, 20)
        return out.membrane_cadc

    together = voltages(lambda g: li(*g))
    assert torch.equal(voltages(lambda g: [li(each) for each in g][-1]), together)
    assert torch.equal(voltages(lambda g: [li(each) for each in (*g, g[0])][-1]), together)
    assert not torch.equal(voltages(lambda g: li(g[0])), together)


@pytest.mark.parametrize("engine", ENGINES)
def test_new_input_from_outside_takes_the_place_of_the_earlier(engine):
    exp = hx.Experiment(mock=True, engine=engine)
    synapse = hx.Synapse(5, 3, exp)
    for spikes in (SPIKES, SPIKES.flip(0)):
        out = synapse(hx.LIFObservables(spikes=spikes))
    hx.run(exp, None)
    torch.testing.assert_close(out.graded_spikes, SPIKES.flip(0) @ synapse.weight.T)


def test_a_cycle_by_repeated_calls_is_found_in_run():
    exp = hx.Experiment(mock=True)
    feed, lif, back = hx.Synapse(5, 3, exp), hx.LIF(3, exp), hx.Synapse(3, 3, exp)
    lif(back(lif(feed(hx.LIFObservables(spikes=SPIKES)))))
    with pytest.raises(ValueError, match=r"cyclic dependencies between .*Synapse\(3, 3\)"):
        hx.run(exp, 20)


def test_synapses_do_not_add_up_their_inputs():
    exp = hx.Experiment(mock=True)
    first, second = hx.InputNeuron(5, exp), hx.InputNeuron(5, exp)
    synapse = hx.Synapse(5, 3, exp)
    for source in (first, second):
        synapse(source(hx.LIFObservables(spikes=SPIKES)))
    with pytest.raises(TypeError, match=r"Synapse\(5, 3\) takes one handle, got 2"):
        hx.run(exp, 20)


def test_handles_compare_and_clone_by_their_observables():
    spikes = torch.rand(3, 2)
    one, two = (hx.LIFObservables(spikes=spikes.clone()) for _ in range(2))
    assert one == two
    assert one != hx.LIFObservables(spikes=spikes + 1)
    assert one != hx.LIFObservables(spikes=spikes, current=spikes)
    assert one != hx.LIFObservables(spikes=spikes.double())
    assert one != hx.Handle(spikes=spikes)
    assert one not in [spikes, None]
    assert hx.LIFObservables() == hx.LIFObservables()
    assert len({one, two}) == 2
    for error in (AssertionError, TypeError):
        with pytest.raises(error, match=r"of graded_spikes cannot take over one of current, mem"):
            hx.SynapseHandle().clone(one)
    three = hx.Handle("spikes", "current", "membrane_cadc", "membrane_madc")
    three.clone(one)
    assert three == one


def test_forward_funcs_return_the_modules_own_handle():
    class Wrong(hx.HXModule):
        output_type = hx.SynapseHandle

        def forward_func(self, input):
            return input if input.spikes is not None else input.spikes

    exp = hx.Experiment(mock=True)
    Wrong(exp)(hx.LIFObservables(spikes=SPIKES))
    with pytest.raises(AssertionError, match=r"Wrong: forward_func must return a handle of the ty"):
        hx.run(exp, 20)
    with pytest.raises(TypeError, match=r"Wrong: forward_func must return a SynapseHandle, got No"):
        Wrong(exp).exec_forward(hx.LIFObservables(), hx.SynapseHandle(), {})


def test_modules_compute_on_their_own():
    synapse = hx.Synapse(5, 3, hx.Experiment(mock=True))
    out = hx.SynapseHandle()
    synapse.exec_forward(hx.LIFObservables(spikes=SPIKES), out, {})
    torch.testing.assert_close(out.graded_spikes, SPIKES @ synapse.weight.T)
    assert synapse.func((hx.LIFObservables(spikes=SPIKES),), hw_data="none") == out


def test_populations_list_their_parameters():
    exp = hx.Experiment(mock=True)
    lif = hx.LIF(3, exp, threshold=torch.tensor([1.0, 2.0, 3.0]), own=hx.HXParameter(7))
    found = lif.params_dict()
    assert found["threshold"] is lif.threshold
    assert {"leak", "reset", "tau_mem", "refractory_time", "i_synin_gm", "own"} <= {*found}
    li = hx.LI(3, exp, alpha=70, reset=1.0, threshold=hx.MixedHXModelParameter(1.0, 120))
    assert (li.alpha, li.params_dict()["threshold"].hardware_value) == (70, 120)
    with pytest.raises(TypeError, match="has no argument 'tresh'"):
        hx.LI(3, exp, tresh=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_refractory_time_can_be_switched_off(engine):
    def spikes(**options):
        exp = hx.Experiment(mock=True, engine=engine)
        synapse = hx.Synapse(5, 3, exp)
        torch.nn.init.constant_(synapse.weight, 3.0)
        terms = ("exponential", "subthreshold_adaptation", "spike_triggered_adaptation")
        out = hx.AELIF(
            *(3, exp, 0.0, 0.0, 1.0),
            **dict.fromkeys(terms, False),
            **options,
        )(synapse(hx.LIFObservables(spikes=SPIKES)))
        hx.run(exp)
        return out.spikes

    pausing = spikes(refractory_time=4e-6, refractory=True)
    assert torch.equal(pausing, spikes(refractory_time=4e-6))
    free = spikes(refractory_time=4e-6, refractory=False)
    assert torch.equal(free, spikes(refractory_time=0.0))
    assert free.sum() > pausing.sum() > 0


def test_decays_per_step_are_time_constants():
    """Of the deprecated populations, exact in the event engine."""

    def decay(tau):
        return hx.HXTransformedModelParameter(math.exp(-1e-6 / tau), lambda x: -1e-6 / math.log(x))

    def outputs(spiking, readout, **time):
        exp = hx.Experiment(mock=True)
        first, second = (hx.Synapse(5, 2, exp) for _ in range(2))
        torch.nn.init.constant_(first.weight, 2.0)
        torch.nn.init.constant_(second.weight, 0.5)
        source = hx.LIFObservables(spikes=SPIKES)
        z = spiking(2, exp, leak=0.0, reset=-0.1, threshold=1.0, **time)(first(source))
        y = readout(2, exp, leak=0.0, **time)(second(source))
        hx.run(exp)
        return z.spikes, z.membrane_cadc, y.membrane_cadc

    with pytest.warns(DeprecationWarning, match=r"Exp\(2\) is deprecated in hxtorch"):
        found = outputs(hx.NeuronExp, hx.ReadoutNeuronExp, tau_mem=decay(1e-5), tau_syn=decay(5e-6))

    def no_pause(*arguments, **named):
        return hx.LIF(*arguments, **named, refractory_time=0.0)

    expected = outputs(no_pause, hx.LI, tau_mem=1e-5, tau_syn=5e-6)
    assert expected[0].sum() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_decays_per_step_are_what_the_grid_multiplies_with():
    exp = hx.Experiment(mock=True, engine="euler")
    synapse = hx.Synapse(5, 2, exp)
    with pytest.warns(DeprecationWarning, match=r"ReadoutNeuronExp\(2\) is deprecated"):
        li = hx.ReadoutNeuronExp(2, exp, leak=0.0, tau_mem=0.9, tau_syn=0.8)
    out = li(synapse(hx.LIFObservables(spikes=SPIKES)))
    hx.run(exp)
    v = i = torch.zeros(2, 2)
    for step, received in enumerate(SPIKES @ synapse.weight.T):
        v, i = 0.9 * v + 0.1 * i, 0.8 * i + received
        torch.testing.assert_close(out.membrane_cadc[step], v)


def test_the_manager_of_modules_orders_and_remembers():
    manager = ModuleManager()
    modules = [hx.HXBaseExperimentModule(None) for _ in range(3)]  # pyright: ignore[reportArgumentType]
    handles = [hx.LIFObservables() for _ in range(4)]
    for k in (1, 0, 2):
        manager.add_node(modules[k], (handles[k],), handles[k + 1])
    assert manager.nodes == {modules[1]: 0, modules[0]: 1, modules[2]: 2}
    assert {*manager.graph.edges} == {("s_1_0", 1), (1, 0), (0, 2), (2, "t_2")}
    assert manager.graph.edges["s_1_0", 1]["handle"] is handles[0]
    assert [each[0] for each in manager.done()] == modules
    assert not manager.graph.nodes
    assert manager.has_module(modules[0])
    assert (manager.get_id_by_module(modules[0]), manager.get_module_by_id(1)) == (1, modules[0])


def test_the_manager_finds_populations():
    exp = hx.Experiment(mock=True)
    source, synapse, lif = hx.InputNeuron(5, exp), hx.Synapse(5, 3, exp), hx.LIF(3, exp)
    dropout, readout = hx.BatchDropout(3, 0.5, exp), hx.Synapse(3, 2, exp)
    readout(dropout(lif(synapse(source(hx.LIFObservables(spikes=SPIKES))))))
    assert exp.modules.source_populations(synapse) == [source]
    assert exp.modules.target_populations(synapse) == [lif]
    assert exp.modules.source_populations(readout) == [lif]
    assert exp.modules.target_populations(readout) == []
    assert "0: InputNeuron" in str(exp.modules)


def test_points_of_yin_yang_are_in_double_precision():
    sample, _ = hx.datasets.YinYangDataset(size=3, seed=4)[2]
    assert sample[0] + sample[2] == sample[1] + sample[3] == 1.0
    assert float(torch.tensor(sample[0], dtype=torch.float32)) != sample[0]
