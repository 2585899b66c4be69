"""What keeps neurons learning: gradients for silent ones, bounds for grazing ones, and rates."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from evtorch import bridge, jax_core
from evtorch import torch_api as snn

from .._thorough import usual


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


SPIKES = torch.rand(6, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
SPIKES = SPIKES.sort(dim=-1).values * 2e-2

LAYERS = {
    "once": lambda: snn.LIF(5, 7, refractory=math.inf, t_max=0.05),
    "axonal": lambda: snn.LIF(5, 7, refractory=math.inf, t_max=0.05, delay="axonal"),
    "dendritic": lambda: snn.LIF(5, 7, refractory=math.inf, t_max=0.05, delay="dendritic"),
    "leaky": lambda: snn.LIF(
        5, 7, v_leak=0.2, max_spikes=8, t_max=0.05, learn=("v_leak", "v_threshold", "tau_mem")
    ),
    "recurrent": lambda: snn.RecurrentLIF(5, 7, max_spikes=9, t_max=0.05, recurrent_delay=1e-3),
    "readout": lambda: snn.LI(5, 7),
}


def weakened(layer):
    with torch.no_grad():
        layer.weight.mul_(0.5).sub_(1.0 if isinstance(layer, snn.LI) else 0.1)
    return layer


@pytest.mark.parametrize("events", usual({False}, [False, True]), ids=["times", "events"])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_term_has_its_gradient(kind, events):
    layer = weakened(LAYERS[kind]())
    spikes = snn.events_from_spike_times(SPIKES) if events else SPIKES
    parameters = list(layer.parameters())
    directions = [torch.randn_like(p) * p.abs().clamp(min=1e-3) for p in parameters]

    def term():
        layer(spikes)
        return snn.silent_loss(layer)

    def at(step):
        with torch.no_grad():
            for p, d in zip(parameters, directions, strict=True):
                p.add_(step * d)
        return term().item()

    # Away from delays of 0, below which there is nothing.
    if isinstance(getattr(layer, "delay", None), nn.Parameter):
        nn.init.constant_(layer.delay, 1e-3)
    loss = term()
    assert loss > 0
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = zip(gradients, directions, strict=True)
    found = sum((g * d).sum().item() for g, d in pairs if g is not None)
    expected = (at(1e-6) - at(-2e-6)) / 2e-6
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_term_is_that_of_the_voltages_on_a_grid():
    spikes = SPIKES.clone()
    spikes[::2, :3] = math.inf  # Some neurons are silent in half of the samples.
    layer = LAYERS["once"]()
    with torch.no_grad():
        layer.weight.normal_(0.6, 0.2)[0] = -0.5
        layer.weight[1] = 0.1
    out = layer(spikes)
    value = snn.silent_loss(layer, max_silent=0.5).item()
    times = np.linspace(0, 0.05, 20_001)
    weight = layer.weight.detach().numpy()
    since = np.maximum(times[:, None] - spikes.numpy()[:, :, None, :], 0)  # (batch, in, T, k)
    psp = (np.exp(-since / 2e-2) - np.exp(-since / 1e-2)).sum(-1)
    peaks = np.einsum("oi,bit->bot", weight, psp).max(-1)
    # The peak of one potential of weight 1 is 1/4.
    drive = np.isfinite(spikes.numpy()).sum(-1) @ weight.T / 4
    deficit = np.where(peaks > 0, 1 - peaks, 1 - drive)
    silent = out[..., 0].isinf().numpy()
    counted = silent & (silent.mean(0) > 0.5)
    assert 0 < counted.sum() < silent.sum()
    expected = np.where(counted, deficit, 0).mean() * 7**0.5  # Of seven neurons.
    assert value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", usual(("LIF",), ("LIF", "IF")))
def test_neurons_that_a_lack_of_room_keeps_from_spiking_are_high_enough(kind):
    make = {"LIF": snn.RecurrentLIF, "IF": snn.RecurrentIF}[kind]
    layer = make(5, 7, max_spikes=1, t_max=0.05, on_overflow="truncate")
    with torch.no_grad():
        layer.weight.fill_(1.0)[0] = 20.0  # Spikes twice before the others spike at all.
    out = layer(SPIKES)
    assert out[:, 0].isfinite().all()
    assert out[:, 1:].isinf().all()
    loss = snn.silent_loss(layer)
    assert loss == 0
    assert not torch.autograd.grad(loss, layer.weight)[0].any()


def test_silent_neurons_learn_to_spike():
    layer = weakened(snn.LIF(5, 7, refractory=math.inf))
    with torch.no_grad():
        layer.weight[0] = -1.0
    optimizer = torch.optim.Adam(snn.parameter_groups(layer, 0.05))
    for _ in range(200):
        optimizer.zero_grad()
        layer(SPIKES)
        loss = snn.silent_loss(layer, max_silent=0)
        if loss == 0:
            break
        loss.backward()
        optimizer.step()
    assert layer(SPIKES)[..., 0].isfinite().all()


def test_a_forward_in_training_is_needed_and_copies_have_none():
    layer = LAYERS["once"]()
    for prepare in (lambda: None, lambda: layer.eval()(SPIKES)):
        prepare()
        with pytest.raises(ValueError, match="LIF had no forward in training mode"):
            snn.silent_loss(layer)
    layer.train()(SPIKES)
    snn.silent_loss(layer)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        with pytest.raises(ValueError, match="LIF had no forward"):
            snn.silent_loss(twin)
    with pytest.raises(ValueError, match="max_silent must lie"):
        snn.silent_loss(layer, max_silent=1)
    with pytest.raises(ValueError, match="no layers that can be silent"):
        snn.silent_loss(nn.Linear(2, 2))


def test_what_torch_func_and_evaluation_did_is_not_taken_for_a_forward_in_training():
    layer = weakened(LAYERS["once"]())
    for other in (
        lambda: torch.func.vmap(layer)(SPIKES[:, None]),
        lambda: layer.eval()(SPIKES),
        lambda: torch.no_grad()(layer)(SPIKES),
    ):
        layer.train()(SPIKES)
        assert snn.silent_loss(layer) > 0
        other()
        with pytest.raises(ValueError, match="LIF had no forward in training mode"):
            snn.silent_loss(layer.train())


@pytest.mark.parametrize("together", [False, True])
def test_neurons_on_hardware_that_are_silent_get_the_gradient_of_their_model(together):
    chip = jax_core.hardware.MockBSS2.ideal()
    options = {"refractory": math.inf, "t_max": 0.05}
    layer, readout = snn.LIF(5, 7, **options), snn.LI(7, 2, t_max=0.05)
    with torch.no_grad():
        layer.weight[0] = -0.5
        readout.weight.fill_(-0.5)
    model = nn.Sequential(layer, readout)
    model(SPIKES)
    expected = snn.silent_loss(model)
    gradient = torch.autograd.grad(expected, layer.weight)[0]
    if together:
        on_chip = snn.hardware.on_backend(model, chip)
    else:
        layer.backend = chip
        on_chip = model
    on_chip(SPIKES)
    found = snn.silent_loss(on_chip)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(torch.autograd.grad(found, layer.weight)[0], gradient)


def test_single_neurons_are_clipped_against_their_layer():
    layer = snn.LIF(5, 6, learn=("tau_mem",))
    model = nn.Sequential(nn.Linear(4, 5), layer)
    weight, tau = torch.ones(6, 5), torch.ones(6)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    layer.weight.grad, layer.get_parameter("tau_mem").grad = weight, tau
    weight[0], weight[1], tau[3] = 100.0, 0.0, -50.0
    before = weight[2:].clone()
    assert snn.clip_grad_(model, 2.0) == 2
    assert torch.equal(weight[2:], before)
    torch.testing.assert_close(weight[0], torch.full((5,), 2.0))
    assert torch.equal(weight[1], torch.zeros(5))
    assert tau[3] == -2
    assert torch.equal(model[0].weight.grad, torch.ones(5, 4))
    weight[0, 0] = math.nan
    snn.clip_grad_(model)
    assert weight[0, 0].isnan()  # For GradScaler and the eye to see.
    weight.zero_()
    assert snn.clip_grad_(layer) == 0
    assert torch.equal(weight, torch.zeros(6, 5))
    with pytest.raises(ValueError, match="factor must be finite and > 0"):
        snn.clip_grad_(model, 0)


@pytest.mark.parametrize("make", [torch.optim.Adam, lambda groups: bridge.OptaxOptimizer(groups)])
def test_learning_rates_are_relative(make):
    model = nn.Sequential(
        nn.Linear(4, 5),
        snn.LIF(5, 6, learn=("tau_mem", "v_threshold"), delay="axonal", tau_syn=5e-3),
        snn.LI(6, 2, v_leak=1.0, learn=("v_leak",)),
    )
    groups = {g["name"]: g for g in snn.parameter_groups(model, 0.1, lr_others=1e-2)}
    assert {name: len(g["params"]) for name, g in groups.items()} == {
        "1.tau_mem": 1,
        "1.v_threshold": 1,
        "1.weight": 1,
        "1.delay": 1,
        "2.v_leak": 1,
        "2.weight": 1,
        "others": 2,
    }
    rms = model[1].weight.square().mean().sqrt().item()
    for name, lr in (
        ("1.tau_mem", 2e-3),
        ("1.v_threshold", 0.1),
        ("1.weight", 0.1 * rms),
        ("1.delay", 5e-4),
        ("2.v_leak", 0.1),
        ("others", 1e-2),
    ):
        assert groups[name]["lr"] == pytest.approx(lr)
    assert sum(len(g["params"]) for g in groups.values()) == len(list(model.parameters()))


def test_neurons_of_all_kinds_and_projections_have_relative_rates_and_bounds():
    model = nn.Sequential(
        snn.AdaptiveLIF(5, 4, v_threshold=50.0, learn=("a", "b", "tau_w"), delay="axonal"),
        snn.RecurrentQIF(4, 3, learn=("current",), max_spikes=4, t_max=0.05),
        snn.Projections(
            {"exc": snn.Projection(3, delay="axonal", learn=True)}, 2, learn=("v_leak",)
        ),
    )
    groups = {g["name"]: g["lr"] for g in snn.parameter_groups(model, 0.1)}
    sizes = {
        "0.a": 1.0,
        "0.b": 50.0,
        "0.tau_w": 0.1,
        "0.delay": 1e-2,
        "1.current": 1.0,
        "2.v_leak": 1.0,
        "2.of.exc.delay": 1e-2,
        "2.of.exc.tau_syn": 1e-2,
    }
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            sizes[name] = parameter.square().mean().sqrt().item()
    assert groups == pytest.approx({name: 0.1 * size for name, size in sizes.items()})
    weight = model.get_parameter("2.of.exc.weight")
    weight.grad = torch.tensor([[1.0] * 3, [100.0] * 3])
    assert snn.clip_grad_(model, 1.0) == 1


def test_rates_without_a_size_are_refused():
    layer = snn.LI(3, 2)
    nn.init.zeros_(layer.weight)
    with pytest.raises(ValueError, match="weight is 0 throughout"):
        snn.parameter_groups(layer)
    with pytest.raises(ValueError, match="lr must be finite and > 0"):
        snn.parameter_groups(layer, 0.0)
