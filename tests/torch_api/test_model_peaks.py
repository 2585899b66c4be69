"""Silent neurons of all models: pseudo spikes, and the term that raises their peaks."""

import math

import pytest
import torch

from evtorch import torch_api as snn
from evtorch.torch_api import functional as F

from .._thorough import usual

END, F64 = 0.05, torch.float64
LAYERS = {
    "IF": snn.IF,
    "AdaptiveLIF": snn.AdaptiveLIF,
    "AlphaLIF": snn.AlphaLIF,
    "DeltaLIF": snn.DeltaLIF,
}
OPTIONS = {"max_spikes": 9, "t_max": END, "silent": "peak", "silent_time": 0.07, "dtype": F64}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def spikes_of(samples=6):
    return (torch.rand(samples, 5, 2, dtype=F64) * 2e-2).sort(dim=-1).values


def weakened(layer, size=0.35):
    with torch.no_grad():
        layer.weight.mul_(size).sub_(0.02)
        for name, delay in layer.named_parameters():
            if "delay" in name:
                delay.uniform_(1e-3, 2e-3)
    return layer


def made(kind, how):
    learn = () if kind == "DeltaLIF" else tuple(LAYERS[kind](5, 7, t_max=END).constants())[:-1]
    if how in ("recurrent", "apart"):
        delay = "axonal" if how == "recurrent" else "synaptic"
        return getattr(snn, f"Recurrent{kind}")(5, 7, recurrent_delay=delay, **OPTIONS)
    mask = torch.rand(7, 5) < 0.8
    mask[:, 0] = True
    given = {"synaptic": {"delay": "synaptic", "mask": mask}, "learned": {"learn": learn}}[how]
    return LAYERS[kind](5, 7, **given, **OPTIONS)


CASES = [(kind, how) for kind in LAYERS for how in ("learned", "synaptic", "recurrent", "apart")]


@pytest.mark.parametrize(
    ("kind", "how"),
    usual(
        [
            ("IF", "synaptic"),
            ("AlphaLIF", "recurrent"),
            ("DeltaLIF", "synaptic"),
        ],
        CASES,
    ),
)
def test_gradients_agree_with_finite_differences(kind, how):
    layer, times = weakened(made(kind, how)), spikes_of().requires_grad_()
    if how == "learned":  # All voltages rise, as the unit of those that do not is a constant.
        with torch.no_grad():
            layer.weight.abs_()
    moved = [times, *layer.parameters()]
    directions = [torch.randn_like(x) * x.detach().abs().clamp(min=1e-4) for x in moved]
    cotangent = torch.randn(6, 7, dtype=F64)

    def value():
        out = layer(times)
        return (cotangent * out[..., 0]).sum() + snn.silent_loss(layer, max_silent=0)

    pseudo, plain = layer(times).detach(), layer.last_call.output.detach()
    silent = plain[..., 0].isinf()
    assert 5 < silent.sum() < 37
    assert torch.equal(pseudo[plain.isfinite()], plain[plain.isfinite()])
    assert pseudo[..., 0].isfinite().all()

    def at(step):
        with torch.no_grad():
            for x, direction in zip(moved, directions, strict=True):
                x.add_(step * direction)
        found = value().item()
        with torch.no_grad():
            for x, direction in zip(moved, directions, strict=True):
                x.sub_(step * direction)
        return found

    gradients = torch.autograd.grad(value(), moved, allow_unused=True)
    pairs = zip(gradients, directions, strict=True)
    slope = sum((g * d).sum().item() for g, d in pairs if g is not None)
    near, far = (at(k * 1e-6) - at(-k * 1e-6) for k in (1, 2))
    assert slope == pytest.approx((8 * near - far) / 12e-6, rel=1e-6)


def test_without_adaptation_it_is_that_of_a_lif():
    spikes, lif = spikes_of(), snn.LIF(5, 7, v_leak=0.1, **OPTIONS)
    weakened(lif)
    with torch.no_grad():
        lif.weight[0] = -0.3  # A voltage that never rises.
    same = snn.AdaptiveLIF(5, 7, v_leak=0.1, a=0.0, b=0.0, **OPTIONS)
    same.weight = lif.weight
    torch.testing.assert_close(same(spikes), lif(spikes), rtol=1e-11, atol=0)
    lif.silent = same.silent = "inf"
    terms = []
    for layer in (lif, same):
        assert layer(spikes)[..., 0].isinf().sum() > 6
        terms.append(snn.silent_loss(layer))
    assert terms[0] > 0.05
    torch.testing.assert_close(terms[0], terms[1], rtol=1e-11, atol=0)
    slopes = [torch.autograd.grad(term, lif.weight)[0] for term in terms]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("kind", usual(("IF",), ("IF", "DeltaLIF")))
def test_convolutions_have_them_too(kind):
    conv = getattr(snn, f"{kind}Conv1d")(2, 4, 3, groups=2, **OPTIONS)
    with torch.no_grad():
        conv.weight.mul_(0.3)
        conv.weight[0] -= 1.0
    pixels = torch.eye(14, dtype=F64).unflatten(1, (2, 7))
    matrix = torch.nn.functional.conv1d(pixels, conv.weight, groups=2).flatten(1).T
    flat = LAYERS[kind](14, 20, **OPTIONS)
    with torch.no_grad():
        flat.weight.copy_(matrix)
    spikes = (torch.rand(3, 2, 7, 2, dtype=F64) * END / 2).sort(-1).values
    torch.testing.assert_close(conv(spikes).flatten(1, 2), flat(spikes.flatten(1, 2)))
    conv.silent = flat.silent = "inf"
    conv(spikes)
    assert snn.silent_loss(conv, max_silent=0.9) > 0
    flat(spikes.flatten(1, 2))
    # All silent positions of channels that are silent anywhere count, and neurons are channels.
    of_conv, of_flat = (snn.silent_loss(layer, max_silent=0) for layer in (conv, flat))
    torch.testing.assert_close(of_conv, of_flat * (4 / 20) ** 0.5)


@pytest.mark.parametrize("kind", ["IF", "DeltaLIF"])
def test_they_go_on_from_the_grazing_spike(kind):
    layer = LAYERS[kind](1, 1, **OPTIONS)
    peak = F.spiking_peak(
        torch.tensor([[5e-3]], dtype=F64), torch.ones(1, 1, dtype=F64), layer.neuron(), t_max=END
    )
    found = []
    for share in (1 - 1e-9, 1 + 1e-9, 0.5, -1.0):
        with torch.no_grad():
            layer.weight.fill_(share / peak.height.item())
        found.append(layer(torch.tensor([[5e-3]], dtype=F64)).flatten()[0].item())
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert found[2] == pytest.approx(0.5 * peak.time.item() + 0.5 * 0.07)
    assert found[3] == 0.07


def test_under_torchs_compiler_and_in_checkpoints():
    layer = weakened(snn.IF(5, 7, **OPTIONS, on_overflow="truncate"))
    spikes = spikes_of()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    assert torch.equal(compiled(spikes), layer(spikes))
    assert "silent='peak', silent_time=0.07" in repr(layer)
    other = snn.IF(5, 7, **{**OPTIONS, "silent_time": 0.06})
    with pytest.warns(snn.CheckpointWarning, match=r"silent_time=0\.07.* this one has .*=0\.06"):
        other.load_state_dict(layer.state_dict())


def rhythm(**options):
    pytest.importorskip("diffrax")
    return snn.neuron(
        5,
        4,
        flow=lambda s, c: {"v": s["i"] - s["v"], "i": -s["i"]},
        threshold=lambda s, c: s["v"] - 1,
        jump=lambda s, c: {**s, "v": 0 * s["v"]},
        start={"v": 0.0, "i": 0.0},
        t_max=END,
        **options,
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda **o: snn.IF(5, 4, **o), "t_max of IF must be finite"),
        (lambda **o: snn.QIF(5, 4, t_max=END, **o), "not for QIF.*pseudospikes=True gives"),
        (rhythm, "not for ODELayer: no closed form says .*raise the voltages of its trace"),
    ],
)
def test_what_has_no_peaks_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(silent="peak", **({"silent_time": 0.1} if "IF must" in message else {}))
    model = torch.nn.Sequential(make(on_overflow="truncate"))
    with pytest.raises(ValueError, match="silent_loss"):
        snn.silent_loss(model)


def test_bad_options_are_named():
    for options, message in [
        ({"silent": "late"}, 'silent must be "inf" or "peak"'),
        ({"silent_time": 0.1}, "silent_time is for"),
        ({"silent": "peak", "silent_time": 0.04}, r"at least t_max = 0\.05"),
    ]:
        with pytest.raises(ValueError, match=message):
            snn.AlphaLIF(3, 2, t_max=END, **options)
    with pytest.raises(ValueError, match="needs a recurrent_delay where spikes lift"):
        snn.RecurrentDeltaLIF(3, 2, t_max=END, silent="peak")
    layer = snn.RecurrentDeltaLIF(5, 4, t_max=END, on_overflow="truncate")
    with torch.no_grad():
        layer.weight.fill_(0.01)
    layer(torch.rand(2, 5, 1) * 2e-2)
    with pytest.raises(ValueError, match="needs a recurrent_delay where spikes lift"):
        snn.silent_loss(layer)
    spikes, weight = torch.zeros(1, 1, 1), torch.ones(1, 1)
    with pytest.raises(ValueError, match="t_max must be finite"):
        F.spiking_peak(spikes, weight, layer.neuron(), t_max=math.inf)
