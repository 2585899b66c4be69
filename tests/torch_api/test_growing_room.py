"""Room for output spikes that grows to what the data need."""

import copy

import pytest
import torch

from evtorch import torch_api as snn
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
