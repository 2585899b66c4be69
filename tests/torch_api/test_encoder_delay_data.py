"""Encoder, delays and the Yin-Yang data set."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from evtorch import torch_api as snn

from ._networks import INF, spikes


def test_larger_values_spike_later():
    values = torch.tensor([[0.0, 0.25, 1.0]])
    out = snn.LatencyEncoder(1e-3, 5e-3)(values)
    torch.testing.assert_close(out, torch.tensor([[[1e-3], [2e-3], [5e-3]]]))


def test_the_bias_spike_is_the_last_input():
    values = torch.rand(2, 4, 3, dtype=torch.float64)
    out = snn.LatencyEncoder(0, 2e-2, bias=9e-3)(values)
    assert out.shape == (2, 4, 4, 1)
    assert out.dtype == torch.float64
    assert (out[..., -1, 0] == 9e-3).all()
    assert snn.LatencyEncoder(0, 1)(values[:0]).shape == (0, 4, 3, 1)


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, INF])
def test_values_outside_of_the_range(bad):
    values = torch.tensor([0.5, bad])
    with pytest.raises(ValueError, match=r"values must lie in \[0, 1\], but one is"):
        snn.LatencyEncoder(0, 1)(values)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ((-1.0, 1.0), "t_early"),
        ((0.0, INF), "t_late"),
        ((1.0, 0.5), "t_late"),
        ((0.0, 1.0, -1.0), "bias"),
        ((0.0, 1.0, math.nan), "bias"),
    ],
)
def test_bad_latencies(settings, name):
    with pytest.raises(ValueError, match=f"{name} must"):
        snn.LatencyEncoder(*settings)


def test_values_of_other_dtypes():
    encoder = snn.LatencyEncoder(0, 1)
    with pytest.raises(TypeError, match=r"got torch.uint8; .* values.float\(\) / 255"):
        encoder(torch.tensor([0, 1], dtype=torch.uint8))
    half = torch.tensor([0.25, 1.0], dtype=torch.bfloat16)
    with pytest.raises(TypeError, match=r"values must be float32 or float64, got torch\.bfloat16"):
        encoder(half)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(encoder(half), torch.tensor([[0.25], [1.0]]))
        assert encoder(half.double()).dtype == torch.float64


def test_times_of_the_encoder_are_numbers():
    for name, settings in (("t_early", ("a", 1)), ("t_late", (0, None)), ("bias", (0, 1, "a"))):
        with pytest.raises(TypeError, match=f"{name} must be a number"):
            snn.LatencyEncoder(*settings)


def test_delay_leaves_missing_spikes_missing():
    delay = snn.Delay(2, torch.tensor([1.0, 2.0]))
    inputs = torch.tensor([[[1.0, INF], [3.0, 4.0]]], requires_grad=True)
    out = delay(inputs)
    torch.testing.assert_close(out, torch.tensor([[[2.0, INF], [5.0, 6.0]]]))
    out.sum().backward()
    torch.testing.assert_close(inputs.grad, torch.tensor([[[1.0, 0.0], [1.0, 1.0]]]))
    torch.testing.assert_close(delay.delay.grad, torch.tensor([1.0, 2.0]))


INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_delay_of_events_sorts_them_anew(dtype):
    events = snn.Events(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0, 1, 0]], dtype=dtype))
    delay = snn.Delay(2, torch.tensor([1.5, 0.0]))
    out = delay(events)
    torch.testing.assert_close(out.time, torch.tensor([[2.0, 2.5, 4.5]]))
    assert out.index.tolist() == [[1, 0, 0]]
    if dtype.is_signed:
        padded = snn.Events(*(nn.functional.pad(x, (0, 1), value=-1) for x in events))
        padded.time[0, -1] = INF
        out = delay(padded)
        torch.testing.assert_close(out.time, torch.tensor([[2.0, 2.5, 4.5, INF]]))
        assert out.index.tolist() == [[1, 0, 0, -1]]
    padding = snn.Events(torch.full((2, 3), INF), torch.full((2, 3), -1, dtype=torch.int32))
    assert snn.Delay(0)(padding) is padding


def test_delay_stays_nonnegative_and_can_return():
    delay = snn.Delay(3)
    with torch.no_grad():
        delay.delay.copy_(torch.tensor([-0.5, -0.5, 0.0]))
    inputs = torch.tensor([[1.0], [1.0], [1.0]])
    out = delay(inputs)
    assert torch.equal(out, inputs)
    (out[0] - out[1] + out[2]).sum().backward()
    # Descent would lower the first further below 0, and raise the second.
    torch.testing.assert_close(delay.delay.grad, torch.tensor([0.0, -1.0, 1.0]))


def test_delays_are_learned():
    target = torch.tensor([[3e-3], [0.0]])
    delay = snn.Delay(2, init=1e-3)
    optimiser = torch.optim.Adam(delay.parameters(), 2e-4)
    for _ in range(200):
        optimiser.zero_grad()
        snn.SpikeTimeMSELoss(time_unit=1e-3)(delay(torch.zeros(2, 1)), target).backward()
        optimiser.step()
    torch.testing.assert_close(delay(torch.zeros(2, 1)), target, rtol=0, atol=1e-4)


@pytest.mark.parametrize("init", [-1.0, math.nan, INF, torch.ones(3)])
def test_bad_initial_delays(init):
    with pytest.raises(ValueError, match="init must"):
        snn.Delay(2, init)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ((-1,), ValueError, "features must be >= 0"),
        ((2.5,), TypeError, "features must be an int, got float"),
        (("a",), TypeError, "features must be an int, got str"),
        ((True,), TypeError, "features must be an int, got bool"),
        ((2, "x"), TypeError, "init must be a number or a tensor"),
    ],
)
def test_bad_settings_of_delays(settings, error, message):
    with pytest.raises(error, match=message):
        snn.Delay(*settings)


@pytest.mark.parametrize("bad", [-1.0, math.nan, INF])
def test_bad_delays(bad):
    with pytest.raises(ValueError, match="delay must be finite and >= 0"):
        snn.functional.delay(spikes(2, 1), torch.tensor([0.0, bad], dtype=torch.float64))


def test_yin_yang_equals_the_published_data():
    data = snn.datasets.YinYang(size=8, seed=42)
    # First samples of the code that came with the paper, for its default seed.
    torch.testing.assert_close(
        data.values[:2],
        torch.tensor(
            [
                [0.6803075671, 0.4504992664, 0.3196924327, 0.5495007634],
                [0.0976721129, 0.6842330098, 0.9023278952, 0.3157669664],
            ]
        ),
    )
    assert data.classes.tolist() == [2, 1, 2, 1, 1, 1, 0, 2]


def test_yin_yang_items_and_attributes():
    data = snn.datasets.YinYang(300, seed=3)
    value, label = data[5]
    assert len(data) == 300
    assert isinstance(label, int)
    assert value.dtype == torch.float32
    assert torch.equal(value, data.values[5])
    assert label == data.classes[5]
    assert data.classes.bincount().min() > 70
    torch.testing.assert_close(data.values[:, :2] + data.values[:, 2:], torch.ones(300, 2))
    radius = (data.values[:, :2] - 0.5).norm(dim=-1)
    assert (radius <= 0.5 + 1e-6).all()
    points = data.values[:, :2].double().T
    assert (data.class_of(*points) == data.classes).float().mean() > 0.99
    batch, labels = next(iter(DataLoader(data, batch_size=7)))
    assert batch.shape == (7, 4)
    assert labels.dtype == torch.int64


def test_yin_yang_follows_its_seed_alone():
    a, b, c = (snn.datasets.YinYang(20, seed) for seed in (1, 1, 2))
    assert torch.equal(a.values, b.values)
    assert not torch.equal(a.values, c.values)
    assert len(snn.datasets.YinYang(0, 1)) == 0


@pytest.mark.parametrize("seed", [None, "a"])
def test_yin_yang_needs_a_seed(seed):
    with pytest.raises(TypeError, match="seed must be an int"):
        snn.datasets.YinYang(2, seed)


def test_yin_yang_has_the_default_dtype_of_layers():
    single = snn.datasets.YinYang(5, 1).values
    torch.set_default_dtype(torch.float64)
    try:
        double = snn.datasets.YinYang(5, 1).values
    finally:
        torch.set_default_dtype(torch.float32)
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    assert torch.equal(double.float(), single)
    assert torch.equal(snn.datasets.YinYang(5, 1, dtype=torch.float64).values, double)


def test_yin_yang_classes_lie_where_they_should():
    data = snn.datasets.YinYang(1, 1)
    points = {(0.25, 0.5): 2, (0.75, 0.5): 2, (0.25, 0.65): 1, (0.75, 0.65): 0, (0.5, 0.9): 1}
    for (x, y), label in points.items():
        assert data.class_of(x, y) == label
        # The symbol is symmetric under a half turn that swaps yin and yang.
        assert data.class_of(1 - x, 1 - y) == {0: 1, 1: 0, 2: 2}[label]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"size": -1}, "size"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
        ({"r_small": 0.0}, "r_small"),
        ({"r_small": 0.3}, "r_small"),
        ({"r_big": 0.6}, "r_big"),
    ],
)
def test_yin_yang_bad_settings(settings, name):
    with pytest.raises(ValueError, match=f"{name} must"):
        snn.datasets.YinYang(**{"size": 1, "seed": 1, **settings})
