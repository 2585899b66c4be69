"""Spikes that vanish, move or come on top, in training only."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import vmap

from evtorch import torch_api as snn

from ._networks import INF, gradient, spikes

BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
T_MAX = 3e-2


def noises(seed=0, neurons=3):
    def generator():
        return torch.Generator().manual_seed(seed)

    return [
        snn.SpikeDropout(0.4, generator=generator()),
        snn.SpikeJitter(5e-3, generator=generator()),
        snn.SpikeJitter(5e-3, below_zero="reflect", generator=generator()),
        snn.SpikeShift(1e-2, generator=generator()),
        snn.SpikeInsertion(50.0, T_MAX, neurons, generator=generator()),
    ]


def ragged(*shape, dtype=torch.float64, seed=0):
    """Spike times of which some are missing."""
    times = spikes(*shape, dtype=dtype, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    return times.where(torch.rand(shape, generator=generator) < 0.7, INF).sort(-1).values


def events_of(times):
    """Events of spike times ``(..., n, k)``, without the library."""
    flat, order = times.flatten(-2).sort(dim=-1, stable=True)
    index = torch.where(flat < INF, order // max(times.shape[-1], 1), -1)
    return snn.Events(flat, index.to(torch.int32))


def check_valid(out, neurons=3):
    """What layers ask of their input: sorted, no NaN, padding at the end."""
    snn.functional.delay(out, 0.0)
    if isinstance(out, snn.Events):
        assert ((out.index == -1) == out.time.isinf()).all()
        assert (out.index < neurons).all()


@BOTH
@given(st.integers(0, 3), st.integers(0, 5), st.integers(0, 99))
def test_what_comes_out_is_sorted_and_finite_spikes_are_kept(dtype, batch, room, seed):
    times = ragged(batch, 3, room, dtype=dtype, seed=seed)
    before = times.clone()
    for noise in noises(seed):
        for given_ in (times, events_of(times)):
            out = noise(given_)
            check_valid(out)
            found = out.time if isinstance(out, snn.Events) else out
            assert found.dtype == dtype
            number, original = int((found < INF).sum()), int((times < INF).sum())
            if isinstance(noise, snn.SpikeDropout):
                assert number <= original
            elif isinstance(noise, snn.SpikeInsertion):
                assert number >= original
                kept = set(times[times < INF].tolist())
                assert kept <= set(found[found < INF].tolist())
            else:
                assert number == original
                assert found.shape == (out.time if isinstance(out, snn.Events) else times).shape
    assert torch.equal(times, before), "inputs stay as they are"


def test_evaluation_changes_nothing_but_checks():
    times = ragged(2, 3, 4)
    for noise in noises():
        noise.eval()
        for given_ in (times, events_of(times)):
            assert noise(given_) is given_
        for mode in (True, False):
            noise.train(mode)
            with pytest.raises(ValueError, match="spikes must not be NaN"):
                noise(torch.tensor([[0.1, math.nan, 0.2]] * 3))
            with pytest.raises(ValueError, match=r"spikes.time must not be NaN"):
                noise(snn.Events(torch.tensor([math.nan]), torch.tensor([0])))
            with pytest.raises(TypeError, match="spikes must be"):
                noise([[0.1]])
        with snn.validation(False):
            noise(torch.tensor([[0.1, math.nan, 0.2]] * 3))


def test_the_extremes_of_dropout():
    times = ragged(4, 3, 5)
    assert snn.SpikeDropout(1.0)(times).isinf().all()
    assert torch.equal(snn.SpikeDropout(0.0)(times), times)
    unsigned = snn.Events(torch.tensor([1.0, 2.0]), torch.tensor([1, 0], dtype=torch.uint8))
    assert snn.SpikeDropout(1.0)(unsigned).index.tolist() == [-1, -1]
    with pytest.raises(ValueError, match=r"hold 0 and 1 only"):
        snn.SpikeDropout(0.5)(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))


@BOTH
def test_the_share_of_dropped_spikes(dtype):
    times = spikes(100, 10, 20, dtype=dtype)
    for given_ in (times, events_of(times)):
        out = snn.SpikeDropout(0.3, generator=torch.Generator().manual_seed(1))(given_)
        found = out.time if isinstance(out, snn.Events) else out
        number = 20000
        assert abs(int(found.isinf().sum()) - 0.3 * number) < 4 * math.sqrt(number * 0.21)
        assert set(found[found < INF].tolist()) <= set(times.flatten().tolist())


@BOTH
def test_the_distribution_of_jitter(dtype):
    times = torch.full((200, 100, 1), 0.5, dtype=dtype)
    moved = snn.SpikeJitter(1e-3, generator=torch.Generator().manual_seed(1))(times) - 0.5
    assert abs(moved.mean()) < 4e-3 / math.sqrt(20000)
    assert abs(moved.std() - 1e-3) < 4e-3 / math.sqrt(40000)
    early = torch.zeros(200, 100, 1, dtype=dtype)
    clamped = snn.SpikeJitter(1e-3, generator=torch.Generator().manual_seed(1))(early)
    reflected = snn.SpikeJitter(
        1e-3, below_zero="reflect", generator=torch.Generator().manual_seed(1)
    )(early)
    assert abs(int((clamped == 0).sum()) - 10000) < 4 * math.sqrt(5000)
    assert torch.equal(reflected[clamped > 0], clamped[clamped > 0])
    assert abs(reflected.mean() - 1e-3 * math.sqrt(2 / math.pi)) < 4e-3 / math.sqrt(20000)


@BOTH
def test_shifts_keep_distances_and_end_at_zero(dtype):
    times = ragged(500, 3, 4, dtype=dtype) + 4e-3
    times[0] = INF
    for given_ in (times, events_of(times)):
        out = snn.SpikeShift(1e-2, generator=torch.Generator().manual_seed(1))(given_)
        a, b = (x.time if isinstance(x, snn.Events) else x.flatten(1) for x in (given_, out))
        assert (a.isinf() == b.isinf()).all()
        moved = torch.where(a < INF, b - a, torch.nan)[1:]
        shift = moved.nanmean(-1)
        torch.testing.assert_close(moved.nan_to_num(0), shift[:, None].where(~moved.isnan(), 0))
        first = a[1:].amin(-1)
        limited = b[1:].amin(-1) == 0
        torch.testing.assert_close(shift[limited], -first[limited], rtol=1e-5, atol=1e-9)
        assert limited.any()
        # Of those that no limit concerns, the shift is uniform.
        free = shift[first > 1e-2]
        assert (shift.abs() <= 1e-2 * (1 + 1e-6)).all()
        if len(free) > 20:
            assert abs(free.mean()) < 4 * 1e-2 / math.sqrt(3 * len(free))


@BOTH
@pytest.mark.parametrize("as_events", [False, True])
def test_inserted_spikes_are_poisson_in_each_channel(dtype, as_events):
    times = torch.full((3000, 2, 1), 5e-3, dtype=dtype)
    noise = snn.SpikeInsertion(100.0, T_MAX, 2, generator=torch.Generator().manual_seed(4))
    out = noise(events_of(times) if as_events else times)
    if as_events:
        counts = torch.stack([(out.index == n).sum(-1) for n in (0, 1)], -1).to(dtype) - 1
        found = out.time[out.time < INF]
    else:
        counts, found = (out < INF).sum(-1).to(dtype) - 1, out[out < INF]
    assert ((counts.mean(0) - 3).abs() < 4 * math.sqrt(3 / 3000)).all()
    assert ((counts.var(0) - 3).abs() < 4 * 3 * math.sqrt((2 + 1 / 3) / 3000)).all()
    assert abs(np.corrcoef(counts.numpy().T)[0, 1]) < 4 / math.sqrt(3000)
    new = found[found != times[0, 0, 0]].double().numpy()
    assert new.max() <= T_MAX
    observed, _ = np.histogram(new, bins=10, range=(0, T_MAX))
    mean = len(new) / 10
    assert ((observed - mean) ** 2 / mean).sum() < 27.9  # 0.1 % of chi-squared with 9


def test_room_for_inserted_spikes():
    times = torch.full((50, 2, 1), 1e-3)
    with pytest.raises(snn.SpikeOverflowError, match="max_inserted = 2"):
        snn.SpikeInsertion(1000.0, 1e-2, max_inserted=2)(times)
    with pytest.warns(snn.SpikeOverflowWarning, match="max_inserted = 2"):
        snn.SpikeInsertion(1000.0, 1e-2, max_inserted=2, on_overflow="warn")(times)
    few = snn.SpikeInsertion(1000.0, 1e-2, 2, max_inserted=2, on_overflow="truncate")
    assert few(times).shape == (50, 2, 3)
    assert few(events_of(times)).time.shape == (50, 4)
    assert snn.SpikeInsertion(0.0, 1e-2)(times) is times
    with pytest.raises(ValueError, match="neurons must say how many"):
        snn.SpikeInsertion(1.0, 1e-2)(events_of(times))
    with pytest.raises(ValueError, match=r"spikes .* come from 2 neurons .* but 3 are expected"):
        snn.SpikeInsertion(1.0, 1e-2, 3)(times)


def test_gradients_pass_through_the_times():
    weight = torch.arange(1.0, 7.0, dtype=torch.float64).reshape(2, 3)
    times = (torch.tensor([[1.0, 2.0, INF], [1.5, INF, INF]]).double() + 1.0).requires_grad_()
    for noise in noises(neurons=2):
        for events in (False, True):
            times.grad = None
            out = noise(events_of(times) if events else times)
            found = out.time if isinstance(out, snn.Events) else out
            torch.where(found < INF, found, 0).sum().backward()
            expected = (times.detach() < INF).double()
            if isinstance(noise, snn.SpikeDropout):
                assert ((gradient(times) == 0) | (gradient(times) == expected)).all()
                assert gradient(times).sum() == (found < INF).sum()
            else:
                assert torch.equal(gradient(times), expected)
    # Weighted sums show that each gradient goes to its own spike.
    times.grad = None
    jitter = snn.SpikeJitter(1e-3)
    (torch.where(times < INF, jitter(times), 0) * weight).sum().backward()
    assert torch.equal(gradient(times), torch.where(times < INF, weight, 0))


def test_gradients_at_the_limits():
    times = torch.tensor([[0.1], [0.3]], dtype=torch.float64, requires_grad=True)
    torch.manual_seed(3)
    shift = snn.SpikeShift(1e6)
    while (out := shift(times))[0] > 0:
        pass
    assert out.flatten().tolist() == [0.0, pytest.approx(0.2)]
    out[1].sum().backward()
    assert gradient(times).flatten().tolist() == [-1.0, 1.0]
    for below_zero, slope in (("clamp", 0.0), ("reflect", -1.0)):
        start = torch.full((500, 1), 0.1, dtype=torch.float64, requires_grad=True)
        out = snn.SpikeJitter(
            1e6, below_zero=below_zero, generator=torch.Generator().manual_seed(1)
        )(start)
        out.sum().backward()
        assert set(gradient(start).flatten().tolist()) == {slope, 1.0}


def test_noise_of_no_size_changes_nothing():
    times = torch.tensor([[0.0, 0.0, 0.2, INF]], dtype=torch.float64)
    for noise in (
        snn.SpikeDropout(0.0),
        snn.SpikeJitter(0.0),
        snn.SpikeJitter(0.0, below_zero="reflect"),
        snn.SpikeShift(0.0),
        snn.SpikeInsertion(0.0, 1.0),
    ):
        start = times.clone().requires_grad_()
        out = noise(start)
        assert torch.equal(out, times)
        out[:, :3].sum().backward()
        assert gradient(start).tolist() == [[1.0, 1.0, 1.0, 0.0]]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_samples_differ_under_vmap_and_compile():
    torch._dynamo.reset()
    times = spikes(3, 8, dtype=torch.float32).expand(4, 3, 8) + 1e-2
    torch.manual_seed(0)
    for noise in noises():
        for given_ in (times, events_of(times)):
            out = vmap(noise, randomness="different")(given_)
            check_valid(out)
            found = out.time if isinstance(out, snn.Events) else out
            assert len({str(row) for row in found}) == 4
    model = torch.nn.Sequential(
        snn.SpikeDropout(0.3), snn.SpikeJitter(1e-3), snn.SpikeShift(1e-3)
    ).append(snn.SpikeInsertion(50.0, T_MAX))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    times = times.requires_grad_()
    out = compiled(times)
    check_valid(out)
    assert not torch.equal(compiled(times), out)
    torch.where(out < INF, out, 0).sum().backward()
    assert set(gradient(times).flatten().tolist()) == {0.0, 1.0}
    model.eval()
    assert torch.equal(compiled(times), times)


def test_generators_decide():
    times = ragged(3, 3, 4)
    for one, same, other in zip(noises(1), noises(1), noises(2), strict=True):
        torch.manual_seed(int(times.numel()))
        copied = copy.deepcopy(one)
        first = one(times)
        assert torch.equal(same(times), first)
        assert torch.equal(copied(times), first)
        assert not torch.equal(other(times), first)
        assert not torch.equal(one(times), first)
    torch.manual_seed(7)
    first = snn.SpikeJitter(1e-3)(times)
    torch.manual_seed(7)
    assert torch.equal(snn.SpikeJitter(1e-3)(times), first)
    assert not snn.SpikeJitter(1e-3).state_dict()
