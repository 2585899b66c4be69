"""Recurrent networks in the event engine: exact spikes and gradients, as connected."""

import pytest
import torch

from evtorch import jax_core
from evtorch import torch_api as snn
from evtorch.torch_api import hx

from ._networks import CONSTANTS, TAU, encoded, exact

SIZES = {"a": 4, "b": 3}
INF = float("inf")


class TwoPopulations(torch.nn.Module):
    """Input to both, each to the other and to itself; a read-out inside the wrapper."""

    from_input_a: hx.Synapse
    from_input_b: hx.Synapse
    a_to_a: hx.Synapse
    a_to_b: hx.Synapse
    b_to_a: hx.Synapse
    b_to_b: hx.Synapse

    def __init__(self, **options):
        super().__init__()
        self.exp = hx.Experiment(mock=True)
        for name, size in SIZES.items():
            self.add_module(
                f"from_input_{name}", hx.Synapse(5, size, self.exp, dtype=torch.float64)
            )
            for other, its_size in SIZES.items():
                synapse = hx.Synapse(its_size, size, self.exp, dtype=torch.float64)
                self.add_module(f"{other}_to_{name}", synapse)
        reset, threshold = hx.ModelParameter(0.0), hx.MixedHXModelParameter(1.0, 150)
        neurons = {"reset": reset, "threshold": threshold, **CONSTANTS, **options}
        self.a = self.first(neurons)
        self.b = hx.LIF(3, self.exp, **{**neurons, "leak": 0.1})
        self.readout = hx.Synapse(3, 2, self.exp, dtype=torch.float64)
        self.li = hx.LI(2, self.exp, **CONSTANTS)
        self.wrapper = hx.HXModuleWrapper(
            self.exp, **{n: m for n, m in self.named_children() if n not in ("exp", "li")}
        )
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith("weight") and "wrapper" not in name:
                    mean = 1.0 if "input" in name else 0.0
                    parameter.normal_(mean, 0.7, generator=generator)

    def first(self, neurons) -> hx.AELIF:
        return hx.LIF(4, self.exp, **neurons)

    def forward(self, spikes, wrapped=True):
        source = hx.LIFObservables(spikes=spikes)
        pending = {name: getattr(self, name)._output_handle for name in SIZES}
        for name in SIZES:
            own = [getattr(self, f"{other}_to_{name}")(pending[other]) for other in SIZES]
            getattr(self, name)(getattr(self, f"from_input_{name}")(source), *own)
        out = self.li(self.readout(pending["b"]))
        if wrapped:
            self.wrapper()
        hx.run(self.exp, len(spikes))
        self.handles = pending
        return out.membrane_cadc

    def expected(self, spikes):
        times = exact(spikes)
        feed = torch.cat([self.from_input_a.weight, self.from_input_b.weight])
        recurrent = torch.cat(
            [
                torch.cat([self.a_to_a.weight, self.b_to_a.weight], dim=1),
                torch.cat([self.a_to_b.weight, self.b_to_b.weight], dim=1),
            ]
        )
        leak = torch.tensor([0.0] * 4 + [0.1] * 3, dtype=torch.float64)
        return times, feed, recurrent, leak


def test_populations_spike_as_one_recurrent_layer():
    network, spikes = TwoPopulations(), encoded()
    network(spikes)
    times, feed, recurrent, leak = network.expected(spikes)
    own = torch.cat([handle.times(1e-6) for handle in network.handles.values()], dim=1)
    constants = {"tau_mem": TAU, "tau_syn": TAU, "v_leak": leak, "refractory": 1e-6}
    options = {"max_spikes": own.shape[-1], "t_max": 3.9e-5}
    out = snn.functional.recurrent_lif(times, feed, recurrent, **constants, **options)
    torch.testing.assert_close(own, out, rtol=1e-12, atol=0)
    alone = snn.functional.lif(times, feed, **constants, **options)
    assert not torch.allclose(own[own < INF].sum(), alone[alone < INF].sum())
    at = torch.arange(40, dtype=torch.float64) * 1e-6
    trace = snn.functional.recurrent_lif_trace(times, feed, recurrent, at, **constants, **options)
    found = torch.cat([handle.membrane_cadc for handle in network.handles.values()], dim=-1)
    torch.testing.assert_close(found, trace.movedim(-1, 0), rtol=1e-9, atol=1e-9)
    assert [each.neurons for each in snn.health_report(network).layers[:2]] == [4, 3]


class OneAdapts(TwoPopulations):
    def first(self, neurons) -> hx.AELIF:
        terms = {"exponential": False, "tau_adap": 3e-5, "subthreshold_adaptation_strength": 0.5}
        terms["spike_triggered_adaptation_increment"] = 0.2
        return hx.AELIF(4, self.exp, **neurons, **terms)


def test_some_populations_may_adapt():
    network, spikes = OneAdapts(), encoded()
    network(spikes)
    times, feed, recurrent, leak = network.expected(spikes)
    own = torch.cat([handle.times(1e-6) for handle in network.handles.values()], dim=1)
    of_a = torch.tensor([1.0] * 4 + [0.0] * 3, dtype=torch.float64)
    tau_w = torch.tensor([3e-5] * 4 + [1e-4] * 3, dtype=torch.float64)
    neuron = jax_core.AdaptiveLIF(
        TAU, TAU, tau_w, 0.5 * of_a, 0.2 * of_a, v_leak=leak, refractory=1e-6
    )
    options = {"max_spikes": own.shape[-1], "t_max": 3.9e-5}
    out = snn.functional.recurrent_spiking(times, feed, recurrent, neuron, **options)
    torch.testing.assert_close(own, out, rtol=1e-12, atol=0)
    plain = TwoPopulations()
    plain(spikes)
    assert plain.handles["a"].spikes.sum() > network.handles["a"].spikes.sum() > 0
    assert network.handles["a"].adaptation_cadc.abs().max() > 0.1


def test_gradients_equal_finite_differences():
    network, spikes = TwoPopulations(), encoded()
    pull = torch.randn(40, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss():
        return (network(spikes) * pull).sum()

    weights = [network.from_input_a.weight, network.a_to_b.weight, network.b_to_b.weight]
    gradients = torch.autograd.grad(loss(), weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        direction = gradient / gradient.norm()
        ends = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight += step * direction
                ends.append(loss())
                weight -= step * direction
        assert float(ends[0] - ends[1]) / 2e-6 == pytest.approx(gradient.norm().item(), rel=1e-5)


def test_silenced_neurons_drive_nobody():
    network, spikes = TwoPopulations(), encoded()
    network.a.mask = torch.tensor([True, False, True, True])
    network(spikes)
    masked = network.handles["b"].times(1e-6)
    assert (network.handles["a"].times(1e-6)[:, 1] == INF).all()
    network.a.mask = None
    with torch.no_grad():
        for synapse in (network.a_to_a, network.a_to_b):
            synapse.weight[:, 1] = 0
    network(spikes)
    torch.testing.assert_close(network.handles["b"].times(1e-6), masked)


def test_mistakes_are_named():
    network = TwoPopulations()
    with pytest.raises(ValueError, match="cyclic dependencies"):
        network(encoded(), wrapped=False)
    exp = hx.Experiment(mock=True)
    lonely, back = hx.LIF(3, exp), hx.Synapse(3, 3, exp)
    wrapper = hx.HXModuleWrapper(exp, lonely=lonely, back=back)
    lonely(back(lonely._output_handle))
    wrapper()
    with pytest.raises(ValueError, match="none of its neurons has a synapse from outside"):
        hx.run(exp, 20)
    dropout = hx.BatchDropout(5, 0.5, exp)
    wrapper = hx.HXModuleWrapper(exp, dropout=dropout)
    dropout(hx.LIFObservables(spikes=encoded()))
    wrapper()
    with pytest.raises(ValueError, match=r"wraps synapses, spiking neurons.*BatchDropout"):
        hx.run(exp, 40)


def test_training_a_silent_layer_warns():
    network = TwoPopulations(threshold=hx.ModelParameter(1e3))
    with pytest.warns(RuntimeWarning, match=r"LIF\(4\) did not spike in any of 3 samples"):
        network(encoded())
