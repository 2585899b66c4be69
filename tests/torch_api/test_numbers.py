"""Numbers are values at run time: layers that differ in nothing else share compiled programs."""

import math
import random

import pytest
import torch
from torch._subclasses import FakeTensorMode

from evtorch import torch_api as snn

NAMES = ("v_threshold", "v_leak", "v_reset", "tau_mem", "tau_syn", "t_max", "min_slope")


def numbers(rng: random.Random) -> dict[str, float]:
    return {
        "v_threshold": rng.uniform(0.8, 1.2),
        "v_leak": rng.uniform(-0.1, 0.1),
        "v_reset": rng.uniform(-0.5, 0.2),
        "tau_mem": rng.uniform(1e-2, 3e-2),
        "tau_syn": rng.uniform(4e-3, 9e-3),
        "t_max": rng.uniform(0.05, 0.1),
        "min_slope": rng.uniform(1e-4, 1e-2),
    }


def step(layer, spikes):
    spikes = spikes.clone().requires_grad_()
    out = layer(spikes)
    torch.where(out == math.inf, 0, out).sum().backward()
    return out.detach(), layer.weight.grad, spikes.grad


MAKE = {
    "LIF": lambda n: snn.LIF(4, 6, max_spikes=4, on_overflow="truncate", **n),
    "refractory LIF": lambda n: snn.LIF(
        4, 6, refractory=n["t_max"] / 50, max_spikes=4, on_overflow="truncate", **n
    ),
    "RecurrentLIF": lambda n: snn.RecurrentLIF(4, 6, max_spikes=4, on_overflow="truncate", **n),
    **{
        readout: lambda n, readout=readout: snn.LI(
            4,
            6,
            readout=readout,
            **{name: n[name] for name in ("tau_mem", "tau_syn", "v_leak", "t_max")},
        )
        for readout in ("max", "integral", "value")
    },
    "weighted integral": lambda n: snn.LI(
        4,
        6,
        readout="integral",
        tau_weight=n["t_max"] / 3,
        **{name: n[name] for name in ("tau_mem", "tau_syn", "v_leak")},
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", MAKE)
def test_another_number_is_not_compiled_anew(kind, compiled):
    rng, spikes = random.Random(0), torch.rand(3, 4, 1) * 2e-2
    step(MAKE[kind](numbers(rng)), spikes)
    first = len(compiled)
    assert first > 0
    for _ in range(5):
        step(MAKE[kind](numbers(rng)), spikes)
    assert len(compiled) == first, compiled[first:]


@pytest.mark.parametrize("kind", ["LIF", "RecurrentLIF"])
def test_numbers_are_those_of_tensors(kind):
    rng = random.Random(1)
    spikes = torch.rand(3, 4, 1, dtype=torch.float64) * 2e-2
    for _ in range(3):
        given = numbers(rng)
        options = {"max_spikes": 4, "on_overflow": "truncate", "dtype": torch.float64}
        one = getattr(snn, kind)(4, 6, **options, **given)
        per_neuron = {
            name: x if name in ("t_max", "min_slope") else torch.tensor(x, dtype=torch.float64)
            for name, x in given.items()
        }
        other = getattr(snn, kind)(4, 6, **options, **per_neuron)
        other.load_state_dict({**other.state_dict(), **one.state_dict()})
        for a, b in zip(step(one, spikes), step(other, spikes), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_numbers_first_met_in_inference_mode_or_while_tracing_train_later():
    spikes = torch.rand(3, 4, 1) * 2e-2
    layer = snn.LIF(4, 6, tau_mem=2.345e-2, refractory=math.inf)
    with torch.inference_mode():
        layer(spikes)
    assert step(layer, spikes)[1].abs().max() > 0
    layer = snn.LIF(4, 6, tau_mem=2.445e-2, refractory=math.inf)
    with FakeTensorMode(allow_non_fake_inputs=True), snn.validation(False):
        layer(torch.empty(3, 4, 1))
    assert step(layer, spikes)[1].abs().max() > 0


def test_a_deep_reset_leaves_gradients_as_they_are():
    spikes = torch.rand(16, 5, 1) * 2e-2
    found = []
    for v_reset in (-1.0, -1e3, -1e4):
        torch.manual_seed(0)
        layer = snn.LIF(5, 30, v_reset=v_reset, t_max=0.05, on_overflow="truncate")
        found.append(step(layer, spikes))
        health = layer.health().counts
        assert int(health.grazing.sum()) == int(health.bound.sum()) == 0
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b)


def test_health_says_how_much_gradients_were_bounded():
    layer = snn.LIF(1, 1, tau_mem=2e-2, tau_syn=1e-2, refractory=math.inf, dtype=torch.float64)
    spikes = torch.zeros(1, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        # The response peaks at a quarter of the weight: this one passes the threshold by 1e-8.
        layer.weight[:] = 4 * (1 + 1e-8)
    _, gradient, _ = step(layer, spikes)
    layer.min_slope = 0.0
    layer.zero_grad()
    _, exact, _ = step(layer, spikes)
    factor = exact.item() / gradient.item()
    assert factor > 1
    layer.min_slope = 1e-3
    step(layer, spikes)
    assert layer.health().counts.bound.item() == math.ceil(factor)
    assert "bounded" in str(snn.health_report(layer))
