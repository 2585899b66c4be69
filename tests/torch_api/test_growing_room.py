"""Room for output spikes that grows to what the data need."""

import copy

import pytest
import torch

from evtorch import jax_core
from evtorch import torch_api as snn
from evtorch.torch_api import functional as F
from evtorch.torch_api.layers import _room

END = 0.1


def spikes(count=6):
    torch.manual_seed(0)
    return torch.sort(torch.rand(4, 5, count), dim=-1).values * END


def layers(**options):
    torch.manual_seed(1)
    return [
        snn.LIF(5, 3, t_max=END, **options),
        snn.RecurrentLIF(5, 3, t_max=END, **options),
    ]


def test_room_grows_to_a_power_of_two_and_stays():
    for growing, fixed in zip(layers(max_spikes="auto"), layers(max_spikes=64), strict=True):
        fixed.load_state_dict(growing.state_dict())
        whole = fixed(spikes())
        most = int(whole.isfinite().sum(dim=-1).max())
        assert most > 4
        out = growing(spikes())
        room = out.shape[-1]
        assert room == 1 << (most - 1).bit_length()
        assert torch.equal(out, whole[..., :room])
        assert growing(spikes(1)).shape[-1] == room
        out[out.isfinite()].sum().backward()
        whole[whole.isfinite()].sum().backward()
        torch.testing.assert_close(growing.weight.grad, fixed.weight.grad)
        assert "max_spikes=auto" in repr(growing)
        assert copy.deepcopy(growing)(spikes()).shape == out.shape


def test_voltages_have_room_too():
    times = torch.linspace(0, END, 7)
    for growing, fixed in zip(layers(max_spikes="auto"), layers(max_spikes=64), strict=True):
        fixed.load_state_dict(growing.state_dict())
        torch.testing.assert_close(
            growing.trace(spikes(), times), fixed.trace(spikes(), times), rtol=1e-5, atol=1e-6
        )


def test_neurons_that_spike_once_have_one_slot():
    assert snn.LIF(5, 3, max_spikes="auto", refractory=float("inf"))(spikes()).shape == (4, 3, 1)


def test_functions_grow_in_each_call():
    """Also with spikes of several kinds, and layers of these keep their room."""
    given, weight = spikes(), torch.full((3, 5), 0.9, requires_grad=True)
    found = {}
    for room in (64, "auto"):
        options = {"max_spikes": room, "t_max": END}
        out, health = F.lif(given, weight, **options, return_health=True)
        assert not health.overflow.any()
        neuron = jax_core.AlphaLIF()
        kinds = {"exc": jax_core.Projection(given, weight)}
        found[room] = [
            out,
            F.recurrent_lif(given, weight, -torch.eye(3), **options),
            F.spiking(given, weight, neuron, **options, return_state=True)[0],
            F.lif_projections(kinds, **options),
        ]
    for grown, whole in zip(found["auto"], found[64], strict=True):
        most = int(whole.isfinite().sum(dim=-1).max())
        assert most > 4
        assert grown.shape[-1] == 1 << (most - 1).bit_length()
        assert torch.equal(grown, whole[..., : grown.shape[-1]])
    layer = snn.Projections({"exc": snn.Projection(5)}, 3, t_max=END, max_spikes="auto")
    layer.of["exc"].weight.data.fill_(0.9)
    assert torch.equal(layer({"exc": given}), F.lif(given, weight, max_spikes="auto", t_max=END))
    assert layer.max_spikes > 4
    assert "max_spikes=auto" in repr(layer)
    assert F.lif(given, weight, max_spikes="auto", refractory=torch.inf).shape[-1] == 1
    with pytest.raises(ValueError, match='max_spikes must be an integer >= 1 or "auto"'):
        F.lif(given, weight, max_spikes="all")


@pytest.mark.thorough
def test_convolutions_grow():
    layer = snn.LIFConv1d(2, 3, 3, t_max=END, max_spikes="auto")
    out = layer(torch.sort(torch.rand(2, 2, 8, 5), dim=-1).values * END)
    assert out.shape[:-1] == (2, 3, 6)
    assert layer.max_spikes == out.shape[-1]


def test_growth_has_an_end(monkeypatch):
    monkeypatch.setattr(_room, "_MOST", 8)
    with pytest.raises(snn.SpikeOverflowError, match="more than 8 spikes in one run"):
        snn.LIF(5, 3, v_leak=2.0, t_max=10.0, max_spikes="auto")(spikes())


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r'max_spikes must be an integer >= 1 or "auto"'):
        snn.LIF(5, 3, max_spikes="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="max_spikes='auto' is for simulations"):
        snn.LIF(5, 3, max_spikes="auto", backend=snn.hardware.MockBSS2())
