"""Neurons that adapt in the event engine: exact spikes, traces and gradients."""

from typing import Any

import numpy as np
import pytest
import torch

from evtorch.jax_core import hardware
from evtorch.torch_api import hx

from ..._thorough import usual
from ...reference._linear_neuron import LinearNeuron

F64 = torch.float64
C, TAU_MEM, TAU_SYN, TAU_ADAP, PAUSE = 2e-5, 1.2e-5, 6e-6, 3e-5, 2e-6
STRENGTH, INCREMENT = 0.8, 0.3
NEURONS: dict[str, Any] = {
    "leak": 0.1,
    "reset": -0.2,
    "threshold": 1.0,
    "tau_mem": TAU_MEM,
    "tau_syn": TAU_SYN,
    "membrane_capacitance": hx.ModelParameter(C),
    "refractory_time": PAUSE,
    "tau_adap": TAU_ADAP,
    "subthreshold_adaptation_strength": STRENGTH,
    "spike_triggered_adaptation_increment": INCREMENT,
    "exponential": False,
}
STEPS = 60


def encoded(dt=1e-6):
    """Input spikes of two samples at full microseconds, on a grid of steps of ``dt``."""
    every = round(1e-6 / dt)
    raster = torch.zeros(STEPS * every, 2, 5, dtype=F64)
    generator = torch.Generator().manual_seed(2)
    there = torch.rand(STEPS, 2, 5, generator=generator) < 0.15
    raster[::every] = there.double()
    return raster


def run(engine="event", dt=1e-6, **options):
    torch.manual_seed(0)
    exp = hx.Experiment(mock=True, engine=engine, dt=dt)
    synapse = hx.Synapse(5, 3, exp, dtype=F64)
    with torch.no_grad():
        synapse.weight.uniform_(0.5, 2.5)
    out = hx.AELIF(3, exp, **{**NEURONS, **options})(synapse(hx.LIFObservables(spikes=encoded(dt))))
    hx.run(exp, None)
    return out, synapse.weight


@pytest.mark.parametrize(
    "off",
    usual([[]], [[], ["subthreshold_adaptation"], ["spike_triggered_adaptation"]]),
    ids=str,
)
def test_spikes_are_those_of_the_equations(off):
    out, weight = run(**dict.fromkeys(off, False))
    found, g = out.times(1e-6), C / TAU_MEM
    a = 0.0 if "subthreshold_adaptation" in off else STRENGTH
    b = 0.0 if "spike_triggered_adaptation" in off else INCREMENT
    # Of the voltage from leak, the adaptation and the current, in SI units.
    motion = np.array(
        [[-g / C, -1 / C, 1 / C], [a / TAU_ADAP, -1 / TAU_ADAP, 0], [0, 0, -1 / TAU_SYN]]
    )
    count = 0
    for sample in range(2):
        steps = torch.nonzero(encoded()[:, sample])
        for n in range(3):
            events = [(k.item() * 1e-6, weight[n, i].item()) for k, i in steps]
            neuron = LinearNeuron(
                motion,
                np.array([0.0, 0.0, 1.0]),
                0.9,
                -0.3,
                PAUSE,
                at_spike=np.array([0.0, b, 0.0]),
            )
            expected = neuron.spikes(events, (STEPS - 1) * 1e-6)
            own = found[sample, n]
            np.testing.assert_allclose(own[own.isfinite()].detach(), expected, rtol=1e-11)
            count += len(expected)
    assert count > 10


def test_euler_approaches_the_traces_as_the_steps_shrink():
    exact, _ = run()
    errors = []
    for dt in (1e-7, 2e-8):
        grid, _ = run("euler", dt)
        every = round(1e-6 / dt)
        pairs = [
            (getattr(grid, name)[::every].detach(), getattr(exact, name).detach())
            for name in ("membrane_cadc", "adaptation_cadc", "current")
        ]
        # Medians, as a spike just before a look is there just after it on the grid.
        errors.append([float((x - y).abs().median() / y.abs().max()) for x, y in pairs])
    assert exact.adaptation_cadc.abs().max() > 0.3
    assert exact.adaptation_madc is None
    assert all(near < far and near < 0.01 for far, near in zip(*errors, strict=True))


@pytest.mark.thorough
def test_gradients_equal_finite_differences():
    names = ("subthreshold_adaptation_strength", "spike_triggered_adaptation_increment", "tau_adap")

    def total(*values):
        given = {name: hx.ModelParameter(value) for name, value in zip(names, values, strict=True)}
        out, _ = run(**given)
        times = out.times(1e-6)
        return times[times.isfinite()].square().sum() * 1e10 + out.adaptation_cadc.square().sum()

    values = [torch.full((3,), NEURONS[name], dtype=F64, requires_grad=True) for name in names]
    total(*values).backward()
    for n, value in enumerate(values):
        step = 1e-6 * value.detach()
        ends = [
            total(*(x.detach() + sign * step * (k == n) for k, x in enumerate(values)))
            for sign in (1, -1)
        ]
        assert value.grad is not None
        found = (value.grad * step).sum().item()
        assert found == pytest.approx((ends[0] - ends[1]).item() / 2, rel=1e-5)


def test_what_there_is_not_is_named():
    with pytest.raises(ValueError, match=r"AELIF\(3\): the event engine has .*for exponential use"):
        run(exponential=True)
    with pytest.raises(ValueError, match=r"strength must be > -membrane_capacitance / tau_mem"):
        run(subthreshold_adaptation_strength=-2 * C / TAU_MEM)
    with pytest.raises(ValueError, match="tau_adap must be > 0"):
        run(tau_adap=0.0)
    exp = hx.Experiment(mock=False, backend=hardware.MockBSS2())
    hx.AELIF(3, exp, **NEURONS)(hx.Synapse(5, 3, exp)(hx.LIFObservables(spikes=encoded())))
    with pytest.raises(ValueError, match=r"AELIF\(3\).*on hardware without adaptation.*subthresh"):
        hx.run(exp, STEPS)
