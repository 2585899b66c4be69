"""Losses on read-outs of leaky integrators."""

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from evtorch import torch_api as snn

from ._networks import INF, gradient

TARGET = torch.tensor([0, 2, 1, 0])


def volts(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, dtype=torch.float64, generator=generator)


def expected(voltages, target, scale, penalty, smoothing):
    """The formula, sample by sample."""
    losses = []
    for v, correct in zip(voltages.numpy(), target.tolist(), strict=True):
        share = np.exp(scale * v) / np.exp(scale * v).sum()
        wanted = np.full(len(v), smoothing / len(v))
        wanted[correct] += 1 - smoothing
        losses.append(-(wanted * np.log(share)).sum() + penalty * (v**2).mean())
    return torch.tensor(losses)


@pytest.mark.parametrize("scale", [0.3, 1.0, 7])
@pytest.mark.parametrize(("penalty", "smoothing"), [(0.0, 0.0), (0.2, 0.0), (1.5, 0.3), (0.0, 1.0)])
def test_cross_entropy_is_the_formula(scale, penalty, smoothing):
    voltages = volts(4, 3)
    settings = {"penalty": penalty, "label_smoothing": smoothing}
    loss = snn.VoltageCrossEntropyLoss(scale, **settings, reduction="none")
    wanted = expected(voltages, TARGET, scale, penalty, smoothing)
    torch.testing.assert_close(loss(voltages, TARGET), wanted, rtol=1e-12, atol=1e-15)
    functional = snn.functional.voltage_cross_entropy(voltages, TARGET, scale=scale, **settings)
    torch.testing.assert_close(functional, wanted.mean(), rtol=1e-12, atol=0)
    assert gradcheck(lambda v: loss(v, TARGET), voltages.requires_grad_())


@pytest.mark.parametrize("level", [0.0, 2.0, 5.0])
def test_maxima_that_sink_are_raised_and_others_left_alone(level):
    above = volts(4, 3).abs().requires_grad_()
    v = above.detach().numpy()
    spread = np.sqrt(np.mean((v - v.mean(axis=1, keepdims=True)) ** 2))
    sunk = np.maximum(level - v.mean(axis=1) / spread, 0)
    assert (sunk > 0).any() or level == 0
    loss = snn.VoltageCrossEntropyLoss(level=level, reduction="none")(above, TARGET)
    wanted = expected(above.detach(), TARGET, 1, 0, 0) + torch.from_numpy(0.5 * sunk**2)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=1e-15)
    loss.sum().backward()
    # The cross-entropy moves no mean.
    of_mean = gradient(above).sum(dim=1).numpy()
    np.testing.assert_allclose(of_mean, -sunk / spread, rtol=1e-10, atol=1e-14)

    below = above.detach().clone()
    below[0, 0] = -1e-6
    losses = [
        snn.VoltageCrossEntropyLoss(level=each)(v, TARGET)
        for v in (below, torch.full((4, 3), 0.1))
        for each in (0.0, level)
    ]
    assert losses[0] == losses[1]
    assert losses[2] == losses[3]


def test_readouts_do_not_sink_to_where_they_have_no_gradient():
    """The mean falls, as noise in weights makes it, but for the term."""
    torch.manual_seed(0)
    spikes = torch.rand(64, 20, 1) * 20e-3
    target = (spikes[:, :2, 0].argmin(dim=1)).long()

    def train(level: float) -> torch.Tensor:
        torch.manual_seed(1)
        layer = snn.LI(20, 2)
        snn.initialise_(layer, spikes)
        loss_function = snn.VoltageCrossEntropyLoss(level=level)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        for _ in range(150):
            optimizer.zero_grad()
            # What lowers voltages, as noise does in deeper networks.
            voltages = layer(spikes)
            (loss_function(voltages, target) + 0.05 * voltages.mean()).backward()
            optimizer.step()
        return layer(spikes).detach()

    sunk, held = train(0.0), train(2.0)
    assert (held == 0).double().mean() < (sunk == 0).double().mean()
    assert held.mean() > sunk.mean()


@pytest.mark.parametrize("batch", [(), (4,), (2, 2), (0,), (3, 0)])
def test_reductions_and_leading_shapes(batch):
    voltages = volts(*batch, 3).requires_grad_()
    target = torch.zeros(batch, dtype=torch.int32)
    none = snn.VoltageCrossEntropyLoss(penalty=0.1, reduction="none")(voltages, target)
    assert none.shape == batch
    total = snn.VoltageCrossEntropyLoss(penalty=0.1, reduction="sum")(voltages, target)
    torch.testing.assert_close(total, none.sum())
    mean = snn.VoltageCrossEntropyLoss(penalty=0.1)(voltages, target)
    torch.testing.assert_close(mean, none.mean() if none.numel() else none.new_zeros(()))
    mean.backward()
    assert gradient(voltages).shape == voltages.shape


def test_undefined_readouts_give_undefined_losses():
    voltages = volts(4, 3)
    voltages[1, 0] = math.nan
    loss = snn.VoltageCrossEntropyLoss(penalty=0.1, reduction="none")(voltages, TARGET)
    assert loss.isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize("factor", [1e-3, 1.0, 50.0])
def test_the_scale_found_is_one_over_the_spread_between_classes(factor):
    voltages = volts(4, 3, scale=factor) + volts(4, 1, seed=1, scale=100 * factor)
    spread = (voltages - voltages.mean(dim=-1, keepdim=True)).square().mean().sqrt().item()
    loss = snn.VoltageCrossEntropyLoss("auto", reduction="none")
    plain = snn.VoltageCrossEntropyLoss(1 / spread, reduction="none")
    for seed in range(2):
        # What comes later does not change it.
        given = voltages if seed == 0 else volts(4, 3, seed=seed)
        torch.testing.assert_close(loss(given, TARGET), plain(given, TARGET), rtol=1e-5, atol=1e-6)
    other = snn.VoltageCrossEntropyLoss("auto", reduction="none")
    other.load_state_dict(loss.state_dict())
    assert torch.equal(other(volts(4, 3), TARGET), loss(volts(4, 3), TARGET))
    inputs = volts(4, 3, seed=3).requires_grad_()
    assert gradcheck(lambda v: loss(v, TARGET), inputs), "the scale is a constant"


@pytest.mark.parametrize("useless", [torch.zeros(4, 3), torch.full((4, 3), math.nan)])
def test_no_scale_is_found_where_readouts_do_not_differ(useless):
    loss = snn.VoltageCrossEntropyLoss("auto")
    first = loss(useless, TARGET)
    assert first.isnan() == useless.isnan().any()
    assert loss.found_scale is not None
    assert loss.found_scale.isnan()
    loss(useless[:0], TARGET[:0])
    loss(volts(4, 3), TARGET)
    assert loss.found_scale.isfinite()


def test_a_scale_is_not_sought_inside_of_a_transformation():
    loss = snn.VoltageCrossEntropyLoss("auto")
    voltages = volts(4, 3)
    each = torch.func.vmap(torch.func.grad(loss))
    with pytest.raises(RuntimeError, match=r"must see a batch outside of torch\.func first"):
        each(voltages, TARGET)
    loss(voltages, TARGET)
    inputs = voltages.clone().requires_grad_()
    loss(inputs, TARGET).backward()
    torch.testing.assert_close(each(voltages, TARGET) / 4, gradient(inputs))


GOOD = volts(4, 3)


@pytest.mark.parametrize(
    ("voltages", "target", "error", "message"),
    [
        (GOOD, TARGET + 1, ValueError, "target must hold classes >= 0 and < 3 .* from 1 to 3"),
        (GOOD, TARGET - 1, ValueError, "target must hold classes >= 0 and"),
        (GOOD, TARGET[:2], ValueError, r"target must hold one class .*\(4,\), got \(2,\)"),
        (GOOD, TARGET.double(), TypeError, "target must be an integer tensor of class indices"),
        (GOOD, [0, 1, 2, 0], TypeError, "target must be an integer tensor of class indices"),
        (GOOD.long(), TARGET, TypeError, "voltages must be float32 or float64"),
        (GOOD.half(), TARGET, TypeError, r"voltages must be float32 or float64, .*\.float\(\)"),
        (GOOD[:, :0], TARGET, ValueError, r"voltages must have shape \(\.\.\., classes\)"),
        (GOOD[0, 0], TARGET[0], ValueError, r"voltages must have shape \(\.\.\., classes\)"),
        (GOOD.tolist(), TARGET, TypeError, "voltages must be a tensor of read-outs"),
    ],
)
@pytest.mark.parametrize("scale", [1.0, "auto"])
def test_bad_input(scale, voltages, target, error, message):
    with pytest.raises(error, match=message):
        snn.VoltageCrossEntropyLoss(scale)(voltages, target)


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ({"scale": 0.0}, ValueError),
        ({"scale": INF}, ValueError),
        ({"scale": math.nan}, ValueError),
        ({"scale": "mean"}, ValueError),
        ({"scale": None}, TypeError),
        ({"penalty": -1.0}, ValueError),
        ({"level": -1.0}, ValueError),
        ({"label_smoothing": 1.1}, ValueError),
        ({"reduction": "average"}, ValueError),
    ],
)
def test_bad_settings(setting, error):
    with pytest.raises(error, match=f"{next(iter(setting))} must"):
        snn.VoltageCrossEntropyLoss(**setting)
