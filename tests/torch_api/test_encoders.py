"""Latencies, populations, changes, repetition; checks of all codes, and of settings of noise."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from evtorch import torch_api as snn

from ._networks import INF, gradient, spikes

BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
INDEX_OF_NAN = torch.tensor([[0.2, math.nan, 0.3]])


def encoders():
    return {
        "latency": snn.LatencyEncoder(0.0, 2e-2, threshold=0.2, complement=True, large_early=True),
        "population": snn.PopulationEncoder(4, 0.0, 2e-2),
        "poisson": snn.PoissonEncoder(200.0, 5e-2),
        "regular": snn.RegularEncoder(200.0, 5e-2),
        "delta": snn.DeltaEncoder(0.1, 1e-3),
    }


def is_ascending(times):
    return bool((times[..., 1:] >= times[..., :-1]).all()) and bool((times >= 0).all())


@BOTH
@pytest.mark.parametrize("large_early", [False, True])
def test_thresholds_and_complements_by_hand(dtype, large_early):
    values = torch.tensor([[0.0, 0.25, 1.0], [0.5, 0.75, 0.125]], dtype=dtype)
    encoder = snn.LatencyEncoder(
        2e-3, 6e-3, bias=1e-3, threshold=0.25, complement=True, large_early=large_early
    )
    out = encoder(values)
    assert out.shape == (2, 7, 1)
    assert out.dtype == dtype
    for row, found in zip(values.tolist(), out[..., 0].tolist(), strict=True):
        channels = row + [1 - value for value in row]
        for value, time in zip(channels, found, strict=False):
            share = 1 - value if large_early else value
            assert time == (INF if value <= 0.25 else pytest.approx(2e-3 + share * 4e-3, rel=1e-6))
        assert found[-1] == pytest.approx(1e-3)


def test_without_the_options_the_code_is_as_ever():
    values = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    out = snn.LatencyEncoder(1e-3, 5e-3)(values)
    torch.testing.assert_close(out, (1e-3 + 4e-3 * values)[..., None])
    # A threshold of 0 silences 0 itself.
    assert (snn.LatencyEncoder(0, 1, threshold=0.0)(torch.zeros(2)) == INF).all()
    assert (snn.LatencyEncoder(0, 1)(torch.zeros(2)) == 0).all()


@BOTH
def test_a_population_has_gaussian_fields(dtype):
    values = np.array([[-1.0, 2.0, 3.0], [0.1, 0.2, 2.9]])
    encoder = snn.PopulationEncoder(5, 1e-3, 2e-2, low=-1.0, high=3.0, sigma=0.8, threshold=0.2)
    out = encoder(torch.as_tensor(values, dtype=dtype))
    assert out.shape == (2, 15, 1)
    response = np.exp(-0.5 * ((values[..., None] - np.linspace(-1, 3, 5)) / 0.8) ** 2)
    expected = np.where(response <= 0.2, np.inf, 1e-3 + (1 - response) * 1.9e-2).reshape(2, 15, 1)
    torch.testing.assert_close(out, torch.as_tensor(expected, dtype=dtype), rtol=1e-5, atol=1e-9)
    assert int(out[0, :5, 0].argmin()) == 0
    assert out[0, 0, 0] == pytest.approx(1e-3)


def test_default_widths_of_populations():
    values = torch.tensor([0.3], dtype=torch.float64)
    explicit = snn.PopulationEncoder(5, 0.0, 1.0, sigma=0.25, threshold=0.0)
    assert torch.equal(snn.PopulationEncoder(5, 0.0, 1.0, threshold=0.0)(values), explicit(values))
    single = snn.PopulationEncoder(1, 0.0, 1.0)(values)
    assert single.item() == pytest.approx(1 - math.exp(-((0.2 / 0.5) ** 2) / 2))


def crossings(signal, threshold, dt):
    """Up and down crossings, one level after the other."""
    reference, up, down = signal[0], [], []
    for step, (a, b) in enumerate(itertools.pairwise(signal)):
        while b >= reference + threshold:
            reference += threshold
            up.append((step + (reference - a) / (b - a)) * dt)
        while b <= reference - threshold:
            reference -= threshold
            down.append((step + (reference - a) / (b - a)) * dt)
    return up, down


# Multiples of 1/16, whose sums and differences are exact.
STEPS = st.lists(st.integers(-40, 40), min_size=1, max_size=20)


@BOTH
@given(STEPS, STEPS)
def test_changes_are_sent_level_by_level(dtype, first, second):
    length = min(len(first), len(second))
    signals = np.array([first[:length], second[:length]]) / 16
    signals = signals if len(first) % 2 else signals.cumsum(-1)
    out = snn.DeltaEncoder(0.25, 1e-3)(torch.as_tensor(signals, dtype=dtype))
    assert is_ascending(out)
    found = [crossings(signal, 0.25, 1e-3) for signal in signals]
    for times, expected in zip(
        out.double().numpy(), [up for up, _ in found] + [down for _, down in found], strict=True
    ):
        seen = times[np.isfinite(times)]
        np.testing.assert_allclose(seen, expected, rtol=1e-6, atol=1e-9)


def test_rooms_of_changes_have_few_sizes():
    ramp = torch.arange(0.0, 60.0)[None]
    sizes = {snn.DeltaEncoder(1.0, 1e-3)(ramp[:, :n]).shape[-1] for n in range(40, 60)}
    assert sizes <= {40, 48, 56, 64}
    assert snn.DeltaEncoder(1.0, 1e-3, 100)(ramp).shape == (2, 100)
    assert snn.DeltaEncoder(1.0, 1e-3, 59)(ramp)[0, -1] == pytest.approx(59e-3)
    with pytest.raises(snn.SpikeOverflowError, match="max_spikes = 58"):
        snn.DeltaEncoder(1.0, 1e-3, 58)(ramp)
    kept = snn.DeltaEncoder(1.0, 1e-3, 58, on_overflow="truncate")(ramp)
    assert kept[0, -1] == pytest.approx(58e-3)
    transposed = snn.DeltaEncoder(1.0, 1e-3)(ramp.T.contiguous().T)
    assert torch.equal(transposed, snn.DeltaEncoder(1.0, 1e-3)(ramp))
    many = torch.stack([ramp, -ramp])
    each = torch.func.vmap(snn.DeltaEncoder(1.0, 1e-3, 64))(many)
    assert torch.equal(each, snn.DeltaEncoder(1.0, 1e-3, 64)(many))
    with pytest.raises(ValueError, match="max_spikes must be given"):
        torch.func.vmap(snn.DeltaEncoder(1.0, 1e-3))(many)


def test_codes_are_differentiable():
    values = torch.tensor([[0.33, 0.71, 0.06, 0.48]], dtype=torch.float64, requires_grad=True)
    codes = encoders()
    codes.pop("poisson")
    for code in codes.values():

        def finite(values, code=code):
            out = code(values)
            return torch.where(out < INF, out, 0)

        assert finite(values).any()
        assert gradcheck(finite, values)


@BOTH
@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(0, 99))
def test_repeated_spikes(dtype, count, neurons, room, seed):
    times = spikes(2, neurons, room, dtype=dtype, seed=seed)
    if room > 1:
        times[0, :, -1] = INF
    out = snn.Repeat(count, 3e-3)(times)
    assert out.shape == (2, neurons, room * count)
    expected = np.concatenate([times.double().numpy() + 3e-3 * n for n in range(count)], axis=-1)
    expected = torch.as_tensor(np.sort(expected, axis=-1), dtype=dtype)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-9)


def test_repeated_events():
    times = spikes(2, 3, 2)
    times[0, :, 1] = INF
    events = snn.Repeat(3, 3e-3)(snn.events_from_spike_times(times))
    assert events.time.shape == (2, 18)
    expected = snn.Repeat(3, 3e-3)(times)
    assert torch.equal(snn.spike_times_from_events(events, 3, 6), expected)


def test_gradients_of_repeated_spikes():
    times = torch.tensor([[1e-3, 2e-3, INF]], dtype=torch.float64, requires_grad=True)
    snn.Repeat(3, 5e-3)(times)[:, :6].sum().backward()
    assert gradient(times).tolist() == [[3.0, 3.0, 0.0]]


@BOTH
def test_empty_batches_and_half_precision(dtype):
    for name, encoder in encoders().items():
        out = encoder(torch.zeros(0, 2, 5, dtype=dtype))
        assert out.shape[0] == 0
        assert out.dtype == dtype
        assert out.shape[:-1] == encoder(torch.zeros(2, 2, 5, dtype=dtype))[:0].shape[:-1], name
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert encoder(torch.full((2, 5), 0.25).bfloat16()).dtype == torch.float32
    assert snn.DeltaEncoder(0.1, 1e-3)(torch.zeros(2, 3, 0)).shape == (2, 6, 1)
    assert snn.Repeat(2, 1e-3)(torch.full((2, 3, 2), INF)).isinf().all()


def test_values_are_checked():
    for name, encoder in encoders().items():
        rule = "be finite" if name == "delta" else "lie in"
        with pytest.raises(ValueError, match=f"values must {rule}.*one is nan"):
            encoder(INDEX_OF_NAN)
        with snn.validation(False):
            encoder(INDEX_OF_NAN)
        with pytest.raises(TypeError, match=r"values must be .* got torch.int64"):
            encoder(torch.ones(2, 3, dtype=torch.int64))
        with pytest.raises(TypeError, match="values must be a tensor"):
            encoder([[0.5]])
    with pytest.raises(ValueError, match=r"values must lie in \[low, high\] = \[0, 2\]"):
        snn.PopulationEncoder(3, 0, 1, 0.0, 2.0)(torch.tensor([2.1]))
    with pytest.raises(ValueError, match=r"values must have shape \(\.\.\., channels, T\)"):
        snn.DeltaEncoder(0.1, 1e-3)(torch.zeros(3))
    with pytest.raises(ValueError, match="values must be finite, but one is inf"):
        snn.DeltaEncoder(0.1, 1e-3)(torch.full((1, 2), INF))
    with pytest.raises(ValueError, match=r"spikes must not be NaN"):
        snn.Repeat(2, 1e-3)(INDEX_OF_NAN)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: snn.LatencyEncoder(0, 1, threshold=1.0), ValueError, "threshold must lie in"),
        (lambda: snn.LatencyEncoder(0, 1, threshold=math.nan), ValueError, "threshold must be fin"),
        (lambda: snn.LatencyEncoder(0, 1, threshold="a"), TypeError, "threshold must be a number"),
        (lambda: snn.LatencyEncoder(1, 0), ValueError, "t_late must be.*large_early=True"),
        (lambda: snn.PopulationEncoder(0, 0, 1), ValueError, "neurons must be >= 1"),
        (lambda: snn.PopulationEncoder(3, 1, 0), ValueError, "t_late must"),
        (lambda: snn.PopulationEncoder(3, 0, 1, 1.0, 1.0), ValueError, "high must be > low"),
        (lambda: snn.PopulationEncoder(3, 0, 1, INF), ValueError, "low must be finite"),
        (lambda: snn.PopulationEncoder(3, 0, 1, sigma=0.0), ValueError, "sigma must be > 0"),
        (lambda: snn.PopulationEncoder(3, 0, 1, threshold=None), TypeError, "threshold must"),
        (lambda: snn.PoissonEncoder(0.0, 1), ValueError, "max_rate must be > 0"),
        (lambda: snn.PoissonEncoder(1.0, INF), ValueError, "t_max must be finite"),
        (lambda: snn.PoissonEncoder(1.0, 1, 0), ValueError, "max_spikes must be >= 1"),
        (lambda: snn.PoissonEncoder(1.0, 1, on_overflow="x"), ValueError, "on_overflow must"),
        (lambda: snn.PoissonEncoder(1.0, 1, generator=3), TypeError, "generator must be a torch"),
        (lambda: snn.RegularEncoder(-1.0, 1), ValueError, "max_rate must be > 0"),
        (lambda: snn.RegularEncoder(1.0, "a"), TypeError, "t_max must be a number"),
        (lambda: snn.DeltaEncoder(0.0, 1), ValueError, "threshold must be > 0"),
        (lambda: snn.DeltaEncoder(1.0, 0), ValueError, "dt must be > 0"),
        (lambda: snn.DeltaEncoder(1.0, 1, 2.5), TypeError, "max_spikes must be an int"),
        (lambda: snn.Repeat(0, 1e-3), ValueError, "count must be >= 1"),
        (lambda: snn.Repeat(2, 0.0), ValueError, "interval must be > 0"),
        (lambda: snn.SpikeDropout(1.5), ValueError, r"p must lie in \[0, 1\]"),
        (lambda: snn.SpikeDropout(math.nan), ValueError, r"p must lie in \[0, 1\]"),
        (lambda: snn.SpikeDropout("a"), TypeError, "p must be a number"),
        (lambda: snn.SpikeJitter(-1.0), ValueError, "std must be >= 0"),
        (lambda: snn.SpikeJitter(INF), ValueError, "std must be finite"),
        (lambda: snn.SpikeJitter(1.0, below_zero="x"), ValueError, "below_zero must be"),
        (lambda: snn.SpikeShift(-1.0), ValueError, "max_shift must be >= 0"),
        (lambda: snn.SpikeShift(None), TypeError, "max_shift must be a number"),
        (lambda: snn.SpikeInsertion(-1.0, 1.0), ValueError, "rate must be >= 0"),
        (lambda: snn.SpikeInsertion(1.0, 0.0), ValueError, "t_max must be > 0"),
        (lambda: snn.SpikeInsertion(1.0, 1.0, -1), ValueError, "neurons must be >= 0"),
        (lambda: snn.SpikeInsertion(1.0, 1.0, max_inserted=0), ValueError, "max_inserted must"),
        (lambda: snn.SpikeInsertion(1.0, 1.0, on_overflow="a"), ValueError, "on_overflow must"),
        (lambda: snn.SpikeShift(1.0, generator=1), TypeError, "generator must be a torch.Gen"),
    ],
)
def test_bad_settings(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_numbers_go_into_checkpoints():
    pairs = [
        (snn.LatencyEncoder(0, 1), snn.LatencyEncoder(0, 1, threshold=0.5), "threshold=0.5"),
        (snn.PopulationEncoder(3, 0, 1), snn.PopulationEncoder(4, 0, 1), "neurons=4"),
        (snn.PoissonEncoder(5.0, 1), snn.PoissonEncoder(6.0, 1), "max_rate=6.0"),
        (snn.RegularEncoder(5.0, 1), snn.RegularEncoder(5.0, 2), "t_max=2"),
        (snn.DeltaEncoder(5.0, 1), snn.DeltaEncoder(6.0, 1), "threshold=6.0"),
        (snn.Repeat(2, 1), snn.Repeat(3, 1), "count=3"),
        (snn.SpikeCount(), snn.SpikeCount(1.0), "t_max=1.0"),
        (snn.SpikeRate(2.0), snn.SpikeRate(1.0), "t_max=1.0"),
    ]
    for one, other, setting in pairs:
        assert setting in repr(other)
        one.load_state_dict(one.state_dict())
        with pytest.warns(snn.CheckpointWarning, match=setting):
            one.load_state_dict(other.state_dict())
