"""Pseudo spikes of silent neurons: continuous with spikes, and with exact gradients."""

import math

import pytest
import torch

from evtorch import torch_api as snn

from .._thorough import usual

TAUS = {"tau_mem": 2e-2, "tau_syn": 8e-3}
RISE = math.log(2e-2 / 8e-3) / (1 / 8e-3 - 1 / 2e-2)
"""From a spike to the peak of the voltage that it raises, seconds."""
HIGHEST = 8 / 12 * (math.exp(-RISE / 2e-2) - math.exp(-RISE / 8e-3))


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def single(weight, *, silent_time=None, **options):
    layer = snn.LIF(1, 1, **TAUS, t_max=0.1, silent="peak", silent_time=silent_time, **options)
    with torch.no_grad():
        layer.weight.fill_(weight)
    return layer


SPIKE = torch.tensor([[0.005]], dtype=torch.float64)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.999])
@pytest.mark.parametrize("leak", [0.0, -0.4])
def test_the_time_is_that_of_the_peak_and_the_later_the_lower(share, leak):
    layer = single(share * (1 - leak) / HIGHEST, v_leak=leak, v_reset=leak, silent_time=0.2)
    expected = share * (0.005 + RISE) + (1 - share) * 0.2
    torch.testing.assert_close(layer(SPIKE).item(), expected, rtol=1e-12, atol=0)


def test_it_goes_on_from_the_grazing_spike():
    below, above = (single(weight / HIGHEST)(SPIKE).item() for weight in (1 - 1e-12, 1 + 1e-12))
    assert above == pytest.approx(0.005 + RISE, abs=1e-7)
    assert below == pytest.approx(above, abs=1e-7)


def test_a_voltage_that_never_rises_has_the_silent_time_and_no_gradient():
    for silent_time, expected in ((None, 0.1), (0.3, 0.3)):
        layer = single(-1.0, silent_time=silent_time)
        out = layer(SPIKE)
        out.sum().backward()
        assert out.item() == expected
        assert layer.weight.grad.item() == 0


LAYERS = {
    "once": {"refractory": math.inf},
    "several": {"max_spikes": 6},
    "axonal": {"max_spikes": 6, "delay": "axonal"},
    "learned": {
        "max_spikes": 8,
        "v_leak": 0.1,
        "learn": ("v_leak", "v_threshold", "tau_mem", "tau_syn"),
    },
}


@pytest.mark.parametrize("events", usual({False}, [False, True]), ids=["times", "events"])
@pytest.mark.parametrize("kind", [*LAYERS, "recurrent"])
def test_gradients_agree_with_finite_differences(kind, events):
    options = {**TAUS, "t_max": 0.05, "silent": "peak", "silent_time": 0.07}
    if kind == "recurrent":
        layer = snn.RecurrentLIF(5, 7, max_spikes=9, recurrent_delay=1e-3, **options)
    else:
        layer = snn.LIF(5, 7, **LAYERS[kind], **options)
    with torch.no_grad():
        layer.weight.mul_(0.4).sub_(0.05)
        if kind == "axonal":
            layer.delay.uniform_(1e-3, 2e-3)
    times = (torch.rand(6, 5, 2).sort(dim=-1).values * 2e-2).requires_grad_()
    moved = [times, *layer.parameters()]
    directions = [torch.randn_like(x) * x.detach().abs().clamp(min=1e-4) for x in moved]
    cotangent = torch.randn(6, 7)

    def value():
        out = layer(snn.events_from_spike_times(times) if events else times)
        return (cotangent * out[..., 0]).sum()

    def at(step):
        with torch.no_grad():
            for x, direction in zip(moved, directions, strict=True):
                x.add_(step * direction)
            found = value().item()
            for x, direction in zip(moved, directions, strict=True):
                x.sub_(step * direction)
        return found

    found = value()
    silent = layer.health().counts.silent.sum().item()
    assert 5 < silent < 37
    found.backward()
    slope = sum((x.grad * d).sum().item() for x, d in zip(moved, directions, strict=True))
    step = 1e-5
    near, far = (at(k * step) - at(-k * step) for k in (1, 2))
    assert slope == pytest.approx((8 * near - far) / (12 * step), rel=1e-6)


def test_a_silent_output_learns_to_spike():
    """Without pseudo spikes it has no gradient and stays as it is."""
    for silent, spikes in (("inf", False), ("peak", True)):
        torch.manual_seed(1)
        layer = snn.LIF(4, 2, **TAUS, t_max=0.05, refractory=math.inf, silent=silent)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[2.0], [0.1]]).expand(2, 4))
        inputs = torch.rand(8, 4, 1) * 5e-3
        loss_function = snn.TTFSCrossEntropyLoss(tau_syn=8e-3, silent_time=0.05)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
        for _ in range(60):
            optimizer.zero_grad()
            loss_function(layer(inputs), torch.ones(8, dtype=torch.long)).backward()
            optimizer.step()
        layer.eval()
        layer(inputs)
        assert (layer.health().counts.silent[1] < 4) == spikes


def test_spikes_and_the_health_stay_as_they_are():
    layer = snn.LIF(5, 7, max_spikes=6, t_max=0.05)
    with torch.no_grad():
        layer.weight.mul_(0.4)
    inputs = torch.rand(6, 5, 2).sort(dim=-1).values * 2e-2
    plain, counts = layer(inputs), layer.health().counts
    layer.silent, layer.silent_time = "peak", 0.05
    filled = layer(inputs)
    spiking = plain.isfinite()
    assert bool(spiking.any())
    assert bool((plain[..., 0].isinf()).any())
    assert torch.equal(filled[spiking], plain[spiking])
    assert bool(filled[..., 0].isfinite().all())
    assert torch.equal(layer.health().counts.silent, counts.silent)


def test_on_hardware_the_last_layer_has_them_too():
    model = torch.nn.Sequential(
        snn.LIF(5, 6, max_spikes=12, t_max=0.05),
        snn.LIF(6, 3, max_spikes=12, t_max=0.05, silent="peak"),
    )
    inputs = torch.rand(4, 5, 1) * 2e-2
    chip = snn.hardware.on_backend(model, snn.hardware.MockBSS2.ideal())
    torch.testing.assert_close(chip(inputs), model(inputs))
    model[0].silent = "peak"
    with pytest.raises(ValueError, match=r"layer 0 .* pseudo spikes are for a loss"):
        chip(inputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"silent": "late"}, 'silent must be "inf" or "peak"'),
        ({"silent": "peak"}, "silent_time must be given"),
        ({"silent_time": 0.1}, "silent_time is for"),
        ({"silent": "peak", "silent_time": 0.04, "t_max": 0.05}, r"at least t_max = 0\.05"),
        ({"silent": "peak", "silent_time": -1.0}, "finite and >= 0"),
        ({"silent": "peak", "silent_time": math.nan}, "finite and >= 0"),
    ],
)
@pytest.mark.parametrize("kind", [snn.LIF, snn.RecurrentLIF])
def test_bad_arguments_are_named(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(3, 2, **options)


def test_a_checkpoint_knows_the_silent_time():
    saved = single(1.0, silent_time=0.2).state_dict()
    with pytest.warns(snn.CheckpointWarning, match=r"silent_time=0\.2.* this one has .*=0\.3"):
        single(1.0, silent_time=0.3).load_state_dict(saved)


def test_dendritic_delays_have_none():
    with pytest.raises(ValueError, match="choose delay='axonal'"):
        snn.LIF(3, 2, t_max=0.1, silent="peak", delay="dendritic")
