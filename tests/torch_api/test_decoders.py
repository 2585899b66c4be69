"""Decisions, counts and rates of spikes; codes in front of layers and in compiled graphs."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import vmap

from evtorch import torch_api as snn

from ._networks import INF, spikes

TIMES = [[[0.2, 0.4, INF], [0.1, INF, INF]], [[INF] * 3, [INF] * 3], [[0.3, 0.5, 0.6]] * 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decisions_counts_and_rates(dtype):
    times = torch.tensor(TIMES, dtype=dtype)
    # The tie goes to the lowest index, silence is -1.
    assert snn.FirstSpike()(times).tolist() == [1, -1, 0]
    assert torch.equal(snn.FirstSpike()(times), snn.first_to_spike(times))
    numbers = np.array(TIMES)
    for t_max in (INF, 0.5, 0.35, 0.0):
        expected = torch.as_tensor((np.isfinite(numbers) & (numbers <= t_max)).sum(-1)).to(dtype)
        assert torch.equal(snn.SpikeCount(t_max)(times), expected)
        if 0 < t_max < INF:
            torch.testing.assert_close(snn.SpikeRate(t_max)(times), expected / t_max)
    assert snn.SpikeCount()(times).dtype == dtype


def test_empty_batches_and_no_room():
    for decoder, shape in (
        (snn.FirstSpike(), ()),
        (snn.SpikeCount(), (3,)),
        (snn.SpikeRate(1), (3,)),
    ):
        assert decoder(torch.zeros(0, 3, 2)).shape == (0, *shape)
        silent = decoder(torch.zeros(2, 3, 0))
        assert silent.shape == (2, *shape)
        assert (silent == (0 if shape else -1)).all()


def test_no_gradient_is_no_gradient_of_zero():
    times = spikes(2, 3, 2).requires_grad_()
    assert not snn.SpikeCount()(times).requires_grad
    assert not snn.SpikeRate(1.0)(times).requires_grad


@pytest.mark.parametrize("decoder", [snn.FirstSpike(), snn.SpikeCount(), snn.SpikeRate(1.0)])
def test_bad_spikes(decoder):
    bad = torch.tensor([[[0.1], [math.nan]]])
    with pytest.raises(ValueError, match=r"spikes must not be NaN"):
        decoder(bad)
    with snn.validation(False):
        decoder(bad)
    with pytest.raises(TypeError, match=r"got Events; convert them with snn\.spike_times"):
        decoder(snn.Events(torch.tensor([0.1]), torch.tensor([0])))
    with pytest.raises(TypeError, match="spikes must be"):
        decoder([[0.1]])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: snn.SpikeCount(-1.0), ValueError, "t_max must be >= 0"),
        (lambda: snn.SpikeRate(0.0), ValueError, "t_max must be > 0"),
        (lambda: snn.SpikeRate(INF), ValueError, "t_max must be finite"),
        (lambda: snn.SpikeRate("a"), TypeError, "t_max must be a number"),
    ],
)
def test_bad_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_codes_under_vmap_and_in_one_graph():
    values = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    for make in (
        lambda x: snn.LatencyEncoder(
            0, x * 1e-2, threshold=x / 10, complement=True, large_early=True
        ),
        lambda x: snn.PopulationEncoder(3, 0, x * 1e-2, high=x, sigma=x / 2),
        lambda x: snn.RegularEncoder(x * 300, 1e-2),
        lambda x: snn.DeltaEncoder(x / 8, x * 1e-3, 4, on_overflow="truncate"),
    ):
        torch._dynamo.reset()
        # At other numbers than the first the compiler leaves their values open.
        for scale in (1.0, 2.0):
            model = nn.Sequential(make(scale), snn.Repeat(2, scale * 1e-3), snn.SpikeCount(scale))
            expected = model(values)
            assert expected.any()
            if not isinstance(model[0], snn.DeltaEncoder):
                assert torch.equal(vmap(model)(values), expected)
            compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
            assert torch.equal(compiled(values), expected)
    torch._dynamo.reset()
    random = nn.Sequential(snn.PoissonEncoder(900.0, 1e-2), nn.Flatten())
    compiled = torch.compile(random, backend="aot_eager", fullgraph=True)
    first = compiled(torch.ones(4, 3))
    assert first.shape == random(torch.ones(4, 3)).shape
    assert not torch.equal(compiled(torch.ones(4, 3)), first)
    each = vmap(random[0], randomness="different")(torch.ones(4, 3))
    assert len({row.tolist()[0][0] for row in each}) == 4


def test_codes_noise_and_layers_train_together():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 3),
        nn.Sigmoid(),
        snn.LatencyEncoder(0, 1e-2, threshold=0.05, complement=True, large_early=True),
        snn.SpikeDropout(0.1),
        snn.SpikeJitter(1e-3),
        snn.LIF(6, 4, refractory=INF),
        snn.LI(4, 2, readout="max"),
    )
    out = model(torch.rand(8, 3))
    nn.functional.cross_entropy(out, torch.zeros(8, dtype=torch.long)).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert model[0].weight.grad.any()
    model.eval()
    assert torch.equal(model(torch.ones(2, 3)), model(torch.ones(2, 3)))
