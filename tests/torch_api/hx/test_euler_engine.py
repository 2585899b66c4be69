"""The time-grid engine against the published equations, written out neuron by neuron."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from evtorch.torch_api import hx
from evtorch.torch_api.hx import functional as F

STEPS, BATCH, NEURONS = 60, 2, 3


def weighted(seed=0):
    rng = np.random.default_rng(seed)
    spikes = (rng.random((STEPS, BATCH, NEURONS)) < 0.3) * rng.normal(0.6, 0.8, (BATCH, NEURONS))
    return torch.tensor(spikes)


def one_neuron(x, c):
    """Voltage, current, adaptation and spikes of one neuron, step by step."""
    v, i, w, hold = c["leak"], 0.0, 0.0, 0.0
    rows = []
    for value in x:
        dv = i + c["g_l"] * (c["leak"] - v)
        if c["exponential"]:
            dv += c["g_l"] * c["slope"] * math.exp((v - c["v_exp"]) / c["slope"])
        dv -= w
        i = i * (1 - c["dt"] / c["tau_syn"]) + value
        v += c["dt"] / c["c"] * dv
        z = float(v > c["threshold"])
        w = w * (1 - c["dt"] / c["tau_adap"]) + c["dt"] / c["tau_adap"] * c["a"] * (v - c["leak"])
        w += c["b"] * z
        v = c["reset"] if z else v
        held = hold > 0
        if held:
            v, z = c["reset"], 0.0
        hold = c["refractory"] / c["dt"] if z else max(hold - held, 0.0)
        rows.append((v, i, w, z))
    return np.array(rows)


@pytest.mark.parametrize("exponential", [False, True])
def test_every_term_of_the_equations(exponential):
    c = {"dt": 0.1, "leak": 0.1, "reset": -0.2, "threshold": 0.9, "tau_syn": 0.7, "c": 1.3}
    c |= {"g_l": 0.8, "refractory": 0.3, "exponential": exponential, "slope": 0.2, "v_exp": 0.6}
    c |= {"tau_adap": 2.0, "a": 0.3, "b": 0.05}
    found = F.cuba_aelif_integration(
        weighted(),
        leak=c["leak"],
        reset=c["reset"],
        threshold=c["threshold"],
        tau_syn=c["tau_syn"],
        c_mem=c["c"],
        g_l=c["g_l"],
        refractory_time=c["refractory"],
        exp_slope=c["slope"],
        exp_threshold=c["v_exp"],
        subthreshold_adaptation_strength=c["a"],
        spike_triggered_adaptation_increment=c["b"],
        tau_adap=c["tau_adap"],
        dt=c["dt"],
        exponential=exponential,
        subthreshold_adaptation=True,
        spike_triggered_adaptation=True,
    )
    assert found.spikes.sum() > 5
    for sample in range(BATCH):
        for neuron in range(NEURONS):
            expected = one_neuron(weighted()[:, sample, neuron].numpy(), c)
            actual = [trace[:, sample, neuron].numpy() for trace in found]
            np.testing.assert_allclose(np.stack(actual, -1), expected, rtol=1e-12, atol=1e-12)


def test_neurons_that_adapt_below_threshold_start_at_leak():
    """Also without a leak, as the adaptation counts from there."""
    exp = hx.Experiment(mock=True, engine="euler")
    synapse = hx.Synapse(NEURONS, NEURONS, exp, dtype=torch.float64)
    neurons = hx.AELIF(
        NEURONS, exp, leak=0.5, reset=0.0, threshold=1.0, leaky=False, exponential=False
    )
    out = neurons(synapse(hx.LIFObservables(spikes=torch.zeros(STEPS, BATCH, NEURONS).double())))
    hx.run(exp, None)
    assert torch.equal(out.membrane_cadc, torch.full((STEPS, BATCH, NEURONS), 0.5).double())
    assert torch.equal(out.adaptation_cadc, torch.zeros(STEPS, BATCH, NEURONS).double())
    assert not out.holds("adaptation_madc")
    plain = hx.LIF(NEURONS, exp)
    assert not hasattr(plain._output_handle, "adaptation_cadc")


def test_backward_of_a_step_does_not_touch_all_steps():
    """One gradient of all steps per step would take time that grows with their square."""
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    x = weighted().requires_grad_()
    membrane, _ = F.cuba_li_integration(x, leak=0.0, tau_syn=7e-6, tau_mem=9e-6)
    with Watch():
        membrane.sum().backward()
    assert len(seen) > STEPS
    assert not [name for name in seen if "select_backward" in name]


@pytest.mark.parametrize("kind", [hx.LIF, hx.LI])
def test_grid_eventprop_is_for_its_own_neurons(kind):
    exp = hx.Experiment(mock=True, engine="euler")
    neurons = kind(3, exp)
    neurons(hx.EventPropSynapse(4, 3, exp)(hx.LIFObservables(spikes=torch.zeros(9, 2, 4))))
    with pytest.raises(
        ValueError, match=r"\(3\): its input comes from an EventPropSynapse.*PropLIF"
    ):
        hx.run(exp, None)


def test_superspike_has_its_surrogate_derivative():
    x = torch.tensor([-0.5, 0.0, 0.02], dtype=torch.float64, requires_grad=True)
    z = F.superspike(x, alpha=50.0)
    assert z.tolist() == [0.0, 0.0, 1.0]
    z.sum().backward()
    np.testing.assert_allclose(x.grad, 1 / (50 * x.detach().abs() + 1) ** 2)


def test_grid_eventprop_has_the_discretised_adjoint():
    """One neuron, one spike, followed by hand through the recursion."""
    dt, tau, steps = 0.1, 1.0, 40
    x = torch.zeros(steps, 1, 1, dtype=torch.float64)
    x[3] = 1.0
    weight = torch.tensor([[4.0]], dtype=torch.float64, requires_grad=True)
    graded = F.EventPropSynapseFunction.apply(x, weight)
    z, _, i = F.EventPropLIFFunction.apply(graded, 0.0, 0.0, 1.0, tau, tau, None, dt)
    first = int(z.squeeze().argmax())
    time = torch.arange(steps, dtype=torch.float64)[:, None, None]
    (z * time)[: first + 1].sum().backward()
    lv = np.zeros(steps + 1)
    li = np.zeros(steps + 1)
    current, spikes = i.detach().squeeze().numpy(), z.detach().squeeze().numpy()
    for k in range(steps - 1, 0, -1):
        li[k - 1] = li[k] + dt / tau * (lv[k] - li[k])
        decayed = lv[k] * (1 - dt / tau)
        if spikes[k]:
            slope = current[k - 1] - 1.0
            upstream = k if k <= first else 0
            lv[k - 1] = (decayed * current[k - 1] + upstream) / slope
        else:
            lv[k - 1] = decayed
    assert weight.grad.item() == pytest.approx(tau * li[3])


def test_grid_eventprop_of_measured_spikes():
    """What was computed, given as if it was measured, has the same gradient."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(40, 2, 5, generator=generator) < 0.2).double()
    weight = torch.rand(3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    graded = F.EventPropSynapseFunction.apply(x, weight)
    constants = (0.0, 0.0, 1.0, 1.0, 1.0)
    z, v, _ = F.EventPropLIFFunction.apply(graded, *constants, None, 0.1)
    data = hx.Handle(voltage=hx.AnalogObservable(v.detach()), adaptation=None, spikes=z.detach())
    seen, trace, current = F.EventPropLIFFunction.apply(graded, *constants, data, 0.1)
    assert z.sum() > 3
    assert torch.equal(seen, z)
    assert torch.equal(trace, v)
    assert current is None
    time = torch.arange(40, dtype=torch.float64)[:, None, None]
    gradients = [
        torch.autograd.grad((s * time).sum(), weight, retain_graph=True) for s in (z, seen)
    ]
    torch.testing.assert_close(*gradients)


def test_several_synapses_end_on_one_population():
    exp = hx.Experiment(mock=True, engine="euler")
    synapses = [hx.Synapse(2, 3, exp), hx.Synapse(4, 3, exp)]
    neurons = hx.LI(3, exp)
    inputs = [(torch.rand(20, 2, n) < 0.2).float() for n in (2, 4)]
    handles = [
        synapse(hx.LIFObservables(spikes=x)) for synapse, x in zip(synapses, inputs, strict=True)
    ]
    out = neurons(*handles)
    hx.run(exp, None)
    total = sum(x @ s.weight.T for x, s in zip(inputs, synapses, strict=True))
    expected, _ = F.cuba_li_integration(total, leak=80.0, tau_syn=1e-5, tau_mem=1e-5)
    torch.testing.assert_close(out.membrane_cadc, expected)


def test_a_wrapper_computes_a_recurrence():
    """A recurrent layer, step by step, equals the same layer with its own spikes played back."""

    class Recurrent(hx.HXModuleWrapper):
        def forward_func(self, *input):
            (source,) = input
            weighted = source.spikes @ feed.weight.T
            v, i, z = (torch.zeros_like(weighted[0]) for _ in range(3))
            spikes, graded = [], []
            for step in weighted:
                graded.append(step + z @ back.weight.T)
                v, i = v + 0.1 * (i - v), 0.9 * i + graded[-1]
                z = (v > 0.2).to(v)
                v = torch.where(z > 0, 0.0, v)
                spikes.append(z)
            recurrent = torch.stack(graded) - weighted
            return (
                hx.SynapseHandle(graded_spikes=weighted),
                hx.LIFObservables(spikes=torch.stack(spikes)),
                hx.SynapseHandle(graded_spikes=recurrent),
            )

    exp = hx.Experiment(mock=True, engine="euler")
    feed, lif, back = hx.Synapse(4, 3, exp), hx.LIF(3, exp), hx.Synapse(3, 3, exp)
    torch.nn.init.constant_(feed.weight, 0.5)
    wrapper = Recurrent(exp, feed=feed, lif=lif, back=back)
    assert wrapper.contains([feed, lif])
    source = hx.LIFObservables(spikes=(torch.rand(40, 2, 4) < 0.3).float())

    def connect():
        handle = feed(source)
        own = back(lif._output_handle)
        lif(handle, own)
        return own, lif._output_handle

    connect()
    with pytest.raises(ValueError, match=r"cyclic dependencies between .*LIF\(3\)"):
        hx.run(exp, 40)
    own, spikes = connect()
    wrapper()
    hx.run(exp, 40)
    assert spikes.spikes.sum() > 0
    played = torch.zeros_like(spikes.spikes)
    played[1:] = spikes.spikes[:-1]
    torch.testing.assert_close(own.graded_spikes, played @ back.weight.T)


@pytest.mark.parametrize("takes_data", [True, False])
def test_a_wrapper_gets_each_input_of_each_module(takes_data):
    """Handles that two modules read come twice; forward functions may take ``hw_data``."""

    class Both(hx.HXModuleWrapper):
        a: hx.Synapse
        b: hx.Synapse
        c: hx.Synapse

        def compute(self, first, second, third):
            assert first is second
            assert third is not first
            found = (first.spikes @ self.a.weight.T, second.spikes @ self.b.weight.T)
            found += (third.spikes @ self.c.weight.T,)
            return tuple(hx.SynapseHandle(graded_spikes=each) for each in found)

    class WithData(Both):
        def forward_func(self, first, second, third, hw_data="none given"):
            assert hw_data is None
            return self.compute(first, second, third)

    class Without(Both):
        def forward_func(self, first, second, third):
            return self.compute(first, second, third)

    class Silenced(hx.LIF):
        def forward_func(self, *input, hw_data=None):
            return super().forward_func(*input, hw_data=hw_data)

    exp = hx.Experiment(mock=True, engine="euler")
    a, b, c = (hx.Synapse(4, 3, exp) for _ in "abc")
    wrapper = (WithData if takes_data else Without)(exp, a=a, b=b, c=c)
    shared = hx.LIFObservables(spikes=(torch.rand(40, 2, 4) < 0.3).float())
    own = hx.LIFObservables(spikes=shared.spikes.flip(0))
    out = Silenced(3, exp)(a(shared), b(shared), c(own))
    wrapper()
    hx.run(exp, 40)
    assert out.spikes.shape == (40, 2, 3)
