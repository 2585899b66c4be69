"""Layers on a GPU find what they find on the CPU."""

import copy
from collections.abc import Callable

import jax
import pytest
import torch
from torch import Tensor, nn

from evtorch import torch_api as snn
from evtorch.bridge import compile_step

from .._card import CARD, marks
from ._networks import strong

pytestmark = marks

ONCE = float("inf")


def _lif(**options) -> snn.LIF:
    return strong(snn.LIF(20, 30, t_max=4e-2, dtype=torch.float64, **options))


def _recurrent(**options) -> snn.RecurrentLIF:
    layer = snn.RecurrentLIF(20, 30, t_max=4e-2, dtype=torch.float64, **options)
    with torch.no_grad():
        layer.weight.mul_(3)
    return layer


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "once": lambda: _lif(refractory=ONCE),
    "fast and deep": lambda: _lif(refractory=ONCE, gradient="fast_and_deep"),
    "several, lockstep": lambda: _lif(max_spikes=16, solver="lockstep", on_overflow="truncate"),
    "several, chunked": lambda: _lif(max_spikes=16, solver="chunked", on_overflow="truncate"),
    "refractory": lambda: _lif(max_spikes=16, refractory=1e-3, on_overflow="truncate"),
    "own constants": lambda: _lif(
        max_spikes=16,
        tau_mem=torch.linspace(1e-2, 3e-2, 30),
        learn=("tau_mem", "v_threshold"),
        on_overflow="truncate",
    ),
    "delays": lambda: _lif(max_spikes=16, delay="synaptic", on_overflow="truncate"),
    "mask": lambda: snn.LIF(
        20,
        30,
        mask=torch.arange(600).reshape(30, 20) % 3 == 0,
        max_spikes=16,
        t_max=4e-2,
        dtype=torch.float64,
    ),
    "recurrent": lambda: _recurrent(max_spikes=32, on_overflow="truncate"),
    "recurrent, delayed": lambda: _recurrent(
        max_spikes=32, recurrent_delay=2e-3, on_overflow="truncate"
    ),
    "maximum": lambda: snn.LI(20, 5, readout="max", t_max=4e-2, dtype=torch.float64),
    "integral": lambda: snn.LI(20, 5, readout="integral", t_max=4e-2, dtype=torch.float64),
}


def _loss(out: Tensor) -> Tensor:
    finite = out.isfinite()
    return torch.where(finite, (70 * torch.where(finite, out, 0)).sin(), 0).sum()


def _run(layer: nn.Module, times: Tensor) -> tuple[Tensor, ...]:
    times = times.clone().requires_grad_()
    out = layer(times)
    _loss(out).backward()
    assert times.grad is not None
    grads = [p.grad for p in layer.parameters()]
    assert all(g is not None and g.device == times.device for g in grads)
    return tuple(x.detach().cpu() for x in (out, times.grad, *grads) if x is not None)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree(name):
    torch.manual_seed(0)
    layer = LAYERS[name]()
    times = (torch.rand(8, 20, 2, dtype=torch.float64) * 2e-2).sort(dim=-1).values
    on_card = copy.deepcopy(layer).to(CARD)
    expected = _run(layer, times)
    found = _run(on_card, times.to(CARD))
    assert torch.equal(found[0].isfinite(), expected[0].isfinite())
    assert expected[0].isfinite().any()
    torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=1e-12)
    for a, b in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9 * float(b.abs().max()))


def test_convolutions_agree():
    torch.manual_seed(0)
    layer = snn.LIFConv2d(2, 4, 3, padding=1, max_spikes=4, t_max=4e-2, on_overflow="truncate")
    layer = layer.double()
    times = torch.rand(3, 2, 8, 8, 1, dtype=torch.float64) * 2e-2
    on_card = copy.deepcopy(layer).to(CARD)
    expected, found = _run(layer, times), _run(on_card, times.to(CARD))
    assert expected[0].isfinite().any()
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_address_events_agree():
    torch.manual_seed(0)
    layer = _lif(max_spikes=64, on_overflow="truncate")
    time = (torch.rand(4, 500, dtype=torch.float64) * 4e-2).sort(dim=-1).values
    index = torch.randint(20, (4, 500))
    on_card = copy.deepcopy(layer).to(CARD)
    expected = layer(snn.Events(time, index))
    found = on_card(snn.Events(time.to(CARD), index.to(CARD)))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-9, atol=1e-12)


def test_float32_on_the_card_is_float32():
    # Products rounded to 10 bits, which JAX allows itself on a GPU, would be off by 1e-3.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 20), snn.LI(20, 5, readout="max", t_max=4e-2))
    x = torch.rand(64, 256)
    wide = copy.deepcopy(model).double()
    narrow = model.to(CARD)

    def out(net: nn.Sequential, x: Tensor) -> Tensor:
        times = net[0](x).sigmoid().unsqueeze(-1) * 2e-2
        return net[1](times)

    torch.testing.assert_close(
        out(narrow, x.to(CARD)).cpu().double(), out(wide, x.double()), rtol=2e-5, atol=2e-6
    )


def test_spikes_lost_on_the_card_are_reported():
    layer = _lif().to(CARD)
    times = torch.zeros(2, 20, 4, dtype=torch.float64, device=CARD)
    with pytest.raises(snn.SpikeOverflowError, match="max_spikes"):
        layer(times)


def test_mixed_devices_are_named():
    with pytest.raises(ValueError, match="is on cpu"):
        _lif().to(CARD)(torch.zeros(2, 20, 1, dtype=torch.float64))


def test_compiled_steps_train_spiking_networks():
    def trained(device: str) -> list[Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(_lif(refractory=ONCE), snn.LI(30, 3, dtype=torch.float64))
        model = model.to(device)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        step = compile_step(model, nn.functional.cross_entropy, optimizer)
        data = torch.Generator().manual_seed(1)
        for _ in range(10):
            times = torch.rand(16, 20, 1, dtype=torch.float64, generator=data) * 2e-2
            target = torch.randint(3, (16,), generator=data)
            with jax.numpy_dtype_promotion("standard"):  # optax relies on it
                step(times.to(device), target.to(device))
        return [p.detach().cpu() for p in model.parameters()]

    for found, wanted in zip(trained(CARD), trained("cpu"), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9)
