"""Rate codes: regular and Poisson spike trains."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evtorch import torch_api as snn

from ._networks import INF, gradient

BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def is_ascending(times):
    return bool((times[..., 1:] >= times[..., :-1]).all()) and bool((times >= 0).all())


@BOTH
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=4), st.floats(10, 900))
def test_regular_trains_round_the_number_of_spikes(dtype, values, max_rate):
    t_max = 1e-2
    out = snn.RegularEncoder(max_rate, t_max)(torch.tensor(values, dtype=dtype))
    assert out.shape[-1] == max(math.ceil(max_rate * t_max), 1)
    assert is_ascending(out)
    for value, times in zip(values, out.double().numpy(), strict=True):
        seen = times[np.isfinite(times)]
        expected = value * max_rate * t_max
        near_a_half = abs(expected % 1 - 0.5) < 1e-4
        assert near_a_half or len(seen) == math.floor(expected + 0.5)
        if len(seen):
            reference = (np.arange(len(seen)) + 0.5) / (value * max_rate)
            np.testing.assert_allclose(seen, reference, rtol=1e-5)


def test_gradients_of_rates_are_those_of_the_intervals():
    values = torch.tensor([0.0, 1e-30, 0.3, 1.0], dtype=torch.float64, requires_grad=True)
    for encoder in (snn.RegularEncoder(300.0, 3e-2), snn.PoissonEncoder(300.0, 3e-2)):
        values.grad = None
        out = encoder(values)
        torch.where(out < INF, out, 0).sum().backward()
        # d (phase / v) / dv = -time / v
        present = torch.where(out < INF, out, 0).sum(-1).detach()
        torch.testing.assert_close(
            gradient(values)[2:], -present[2:] / values.detach()[2:], rtol=1e-9, atol=0
        )
        assert (gradient(values)[:2] == 0).all()


@BOTH
def test_poisson_trains_have_poisson_numbers_at_uniform_times(dtype):
    values = torch.tensor([0.0, 0.25, 1.0], dtype=dtype).expand(4000, 3)
    encoder = snn.PoissonEncoder(400.0, 2e-2, generator=torch.Generator().manual_seed(3))
    out = encoder(values)
    assert out.dtype == dtype
    assert is_ascending(out)
    counts = snn.SpikeCount()(out)
    expected = torch.tensor([0.0, 2.0, 8.0], dtype=dtype)
    # Within four standard deviations of a mean over 4000, and of a variance.
    assert ((counts.mean(0) - expected).abs() <= 4 * (expected / 4000).sqrt()).all()
    spread = expected * ((2 + 1 / expected.clamp(min=1)) / 4000).sqrt()
    assert ((counts.var(0) - expected).abs() <= 4 * spread).all()
    for channel in (1, 2):
        times = out[:, channel][out[:, channel] < INF].double().numpy()
        assert times.max() <= 2e-2
        observed, _ = np.histogram(times, bins=10, range=(0, 2e-2))
        mean = len(times) / 10
        assert ((observed - mean) ** 2 / mean).sum() < 27.9  # 0.1 % of chi-squared with 9


def test_the_generator_decides_and_rooms_are_constant():
    values = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))

    def draw(seed):
        return snn.PoissonEncoder(99.0, 0.1, generator=torch.Generator().manual_seed(seed))(values)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    torch.manual_seed(5)
    first = snn.PoissonEncoder(99.0, 0.1)(values)
    torch.manual_seed(5)
    assert torch.equal(snn.PoissonEncoder(99.0, 0.1)(values), first)
    assert first.shape == draw(1).shape
    assert snn.PoissonEncoder(98.0, 0.1)(values).shape == first.shape


def test_poisson_spikes_without_room():
    ones = torch.ones(50, 2)
    with pytest.raises(snn.SpikeOverflowError, match="max_spikes = 3"):
        snn.PoissonEncoder(1000.0, 0.01, 3)(ones)
    with pytest.warns(snn.SpikeOverflowWarning, match="max_spikes = 3"):
        snn.PoissonEncoder(1000.0, 0.01, 3, on_overflow="warn")(ones)
    assert snn.PoissonEncoder(1000.0, 0.01, 3, on_overflow="truncate")(ones).shape == (50, 2, 3)
    assert snn.PoissonEncoder(1000.0, 0.01, 60)(ones).shape == (50, 2, 60)
    vmapped = torch.func.vmap(snn.PoissonEncoder(1000.0, 0.01, 3), randomness="different")
    with pytest.raises(snn.SpikeOverflowError, match="max_spikes = 3"):
        vmapped(ones)
