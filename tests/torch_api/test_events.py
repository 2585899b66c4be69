"""Conversions between spike times, events and rasters."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from evtorch import torch_api as snn

from ._networks import INF, gradient, spikes

DT = 1e-4


def some(dtype=torch.float32):
    """Spike times on the grid of ``DT``, (2, 3, 2), some missing."""
    steps = torch.tensor([[[1, 4], [0, 9], [4, 7]], [[2, 3], [5, -1], [-1, -1]]])
    return torch.where(steps < 0, INF, steps.to(dtype) * DT).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trips(dtype):
    times = some(dtype)
    events = snn.events_from_spike_times(times)
    assert events.time.shape == (2, 6)
    assert events.index.dtype == torch.int32
    assert events.index[1].tolist() == [0, 0, 1, -1, -1, -1]
    assert torch.equal(snn.spike_times_from_events(events, 3, 2), times)
    raster = snn.dense_from_spike_times(times, DT, 10)
    assert raster.shape == (10, 2, 3)
    assert raster.dtype == dtype
    assert torch.equal(snn.dense_from_events(events, 3, DT, 10), raster)
    assert torch.equal(snn.spike_times_from_dense(raster, DT, 2), times)
    back = snn.events_from_dense(raster, DT, 6)
    assert torch.equal(back.time, events.time)
    assert torch.equal(back.index, events.index)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.uint8])
def test_rasters_of_other_dtypes_give_times_of_the_default_dtype(dtype):
    raster = snn.dense_from_spike_times(some(), DT, 10).to(dtype)
    assert torch.equal(snn.spike_times_from_dense(raster, DT, 2), some())


def lossy() -> dict[str, list[Callable[..., Any]]]:
    times = some()
    events = snn.events_from_spike_times(times)
    raster = snn.dense_from_spike_times(times, DT, 10)
    return {
        "max_spikes = 1": [
            lambda **o: snn.spike_times_from_events(events, 3, 1, **o),
            lambda **o: snn.spike_times_from_dense(raster, DT, 1, **o),
        ],
        "max_events = 4": [lambda **o: snn.events_from_dense(raster, DT, 4, **o)],
        "dt = 0.001": [
            lambda **o: snn.dense_from_spike_times(times, 1e-3, 10, **o),
            lambda **o: snn.dense_from_events(events, 3, 1e-3, 10, **o),
        ],
        "steps = 5": [lambda **o: snn.dense_from_spike_times(times, DT, 5, **o)],
    }


def test_no_spike_gets_lost_silently():
    for message, conversions in lossy().items():
        for convert in conversions:
            with pytest.raises(snn.SpikeOverflowError, match=message):
                convert()
            with pytest.warns(snn.SpikeOverflowWarning, match=message):
                convert(on_overflow="warn")
            convert(on_overflow="truncate")


def test_events_keep_their_graph():
    times = spikes(2, 3, 2).requires_grad_()
    events = snn.events_from_spike_times(times)
    assert events.time.requires_grad
    snn.spike_times_from_events(events, 3, 2)[0].sum().backward()
    torch.testing.assert_close(gradient(times)[0], torch.ones(3, 2, dtype=torch.float64))
    assert (gradient(times)[1] == 0).all()


@pytest.mark.parametrize(
    ("convert", "arguments", "error", "message"),
    [
        (snn.spike_times_from_dense, ([[0.0]], DT, 1), TypeError, "raster must be a tensor"),
        (snn.spike_times_from_dense, (torch.ones(3), DT, 1), ValueError, "raster must have"),
        (
            snn.spike_times_from_dense,
            (torch.full((3, 1), 2), DT, 1),
            ValueError,
            "raster must hold only 0 and 1",
        ),
        (snn.dense_from_spike_times, (some(), 0.0, 10), ValueError, "dt must be > 0"),
        (snn.dense_from_spike_times, (some(), DT, 1.5), TypeError, "steps must be an int"),
        (
            snn.spike_times_from_events,
            (snn.events_from_spike_times(some()), 2, 2),
            ValueError,
            r"events.index must be >= 0 and < 2",
        ),
    ],
)
def test_bad_arguments(convert, arguments, error, message):
    with pytest.raises(error, match=message):
        convert(*arguments)


def test_unknown_policy():
    for conversions in lossy().values():
        for convert in conversions:
            with pytest.raises(ValueError, match="on_overflow must be"):
                convert(on_overflow="ignore")
