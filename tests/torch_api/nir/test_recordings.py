"""Recordings with clocks, forms and lengths as sensors and their readers have them."""

import math
from typing import Any

import nir
import numpy as np
import pytest
import torch

from evtorch import torch_api as snn

SENSOR = (4, 3, 2)
FIELDS = [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "i1")]


def address_events(times: Any, kind: str = "i8") -> np.ndarray:
    array = np.zeros(len(times), [("t", kind), ("address", "i4")])
    array["t"], array["address"] = times, np.arange(len(times)) % 3
    return array


@pytest.mark.parametrize("step", [37, 1])
@pytest.mark.parametrize(
    ("start", "kind"),
    [(1_600_000_000_000_000, "u8"), (2**63 + 5, "u8"), (-(2**63), "i8"), (3_600_000_000, "f8")],
)
def test_absolute_times_lose_nothing_with_an_origin(start: int, kind: str, step: int) -> None:
    passed = np.arange(1000) * step
    array = address_events([start + int(each) for each in passed], kind)
    events, origin = snn.nir.events_from_aer(array, 3, origin="first", return_origin=True)
    assert origin == start
    expected = torch.as_tensor(passed * 1e-6).float()
    assert torch.equal(events.time[:1000], expected)
    assert (events.time[1000:] == math.inf).all()
    if kind == "i8":
        (back,) = snn.nir.aer_from_events(events, origin=origin)
        assert np.array_equal(back["t"], array["t"])


def test_samples_start_at_their_own_first_event_or_at_one_origin() -> None:
    start = 1_600_000_000_000_000
    arrays = [address_events([start + 5, start + 9]), address_events([start + 7]), [], []]
    arrays[3] = address_events([start + 8, start + 6])
    events, origins = snn.nir.events_from_aer(
        arrays, 3, origin="first", return_origin=True, sort=True
    )
    assert origins == [start + 5, start + 7, 0, start + 6]
    ticks = [[round(t * 1e6) for t in row if t < math.inf] for row in events.time.tolist()]
    assert ticks == [[0, 4], [0], [], [0, 2]]
    back = snn.nir.aer_from_events(events, origin=origins)
    assert [row["t"].tolist() for row in back[:3]] == [[start + 5, start + 9], [start + 7], []]
    events = snn.nir.events_from_aer(arrays[:2], 3, origin=start)
    assert [round(t * 1e6) for t in events.time[:, 0].tolist()] == [5, 7]
    with pytest.raises(ValueError, match=f">= origin = {start + 6}, but event 0 of array\\[0\\]"):
        snn.nir.events_from_aer(arrays[:2], 3, origin=start + 6)
    with pytest.raises(ValueError, match="origin must be one number or one per sample"):
        snn.nir.aer_from_events(events, origin=[1, 2, 3])


@pytest.mark.parametrize(
    ("times", "dtype", "remedy"),
    [
        ([3_600_000_000, 3_600_000_037], torch.float32, "origin='first', or dtype=torch.float64"),
        ([2**62, 2**62 + 1], torch.float64, "pass origin='first'; or round"),
    ],
)
def test_times_that_would_become_one_are_refused(
    times: list[int], dtype: torch.dtype, remedy: str
) -> None:
    array = address_events(times)
    message = f"cannot tell all times of array apart: {times[0]} and {times[1]}.*{remedy}"
    with pytest.raises(ValueError, match=message):
        snn.nir.events_from_aer(array, 3, dtype=dtype)
    pixels = np.zeros(2, FIELDS)
    pixels["t"] = times
    with pytest.raises(ValueError, match=message):
        snn.nir.events_from_tonic(pixels, SENSOR, dtype=dtype)
    data = nir.EventData(np.array([[0, 1]]), np.array([times]), 3, times[1] + 1)
    graph = nir.NIRGraphData({"a": nir.NIRNodeData({"spikes": data})})
    with pytest.raises(ValueError, match=message.replace("array", "sample 0 of node 'a'")):
        snn.nir.from_nir_data(graph, time_unit=1e-6, dtype=dtype)
    with pytest.raises(TypeError, match="origin must be a number in units of the times, 'first'"):
        snn.nir.events_from_aer(array, 3, origin="last")  # pyright: ignore[reportArgumentType]


def test_nodes_of_a_graph_keep_their_common_clock() -> None:
    start = 1_600_000_000_000_000
    nodes = {}
    for name, times in {"a": [start + 7, start + 9], "b": [start + 5, start + 6]}.items():
        data = nir.EventData(np.array([[0, 1]]), np.array([times]), 3, start + 10)
        nodes[name] = nir.NIRNodeData({"spikes": data})
    found, origin = snn.nir.from_nir_data(
        nir.NIRGraphData(nodes), time_unit=1e-6, origin="first", return_origin=True
    )
    assert origin == start + 5
    np.testing.assert_allclose(found["a"].time, [[2e-6, 4e-6]], rtol=1e-6)
    np.testing.assert_allclose(found["b"].time, [[0, 1e-6]], rtol=1e-6)
    written = snn.nir.to_nir_data(
        found, 5e-6, neurons={"a": 3, "b": 3}, time_unit=1e-6, origin=origin
    )
    stored = written.nodes["a"].observables["spikes"]
    assert (stored.time[0, 0], stored.t_max) == (start + 7, start + 10)


@pytest.mark.parametrize(
    "array",
    [
        [[5, 1], [9, 2]],
        ((5, 1), (9.0, 2)),
        torch.tensor([[5, 1], [9, 2]]),
        [np.array([5, 1]), np.array([9, 2])],
        list(np.array([(5, 1), (9, 2)], [("t", "u8"), ("address", "i4")])),
    ],
)
def test_one_sample_in_the_forms_of_python_and_torch(array: Any) -> None:
    events = snn.nir.events_from_aer(array, 3)
    np.testing.assert_allclose(events.time.numpy(), [5e-6, 9e-6], rtol=1e-6)
    assert events.index.tolist() == [1, 2]
    both = snn.nir.events_from_aer([array, []], 3)
    assert both.index.tolist() == [[1, 2], [-1, -1]]


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        ([1, 2], TypeError, r"array\[0\] must be an array of events, got int"),
        ([[1, 2], [3]], ValueError, "array must have one time and one address for each event"),
        ({"t": 1}, TypeError, "array must be an array of events or a list of such arrays"),
        ([["a", 1]], TypeError, "times of array must be whole or floating-point numbers, got <U"),
        (np.zeros((1, 2), "M8[us]"), TypeError, "got datetime64"),
    ],
)
def test_what_is_no_recording_is_named(array: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        snn.nir.events_from_aer(array, 3)


def test_fields_are_known_by_their_titles() -> None:
    """Readers of AEDAT 4 give the polarity the name ``on`` and the title ``p``."""
    array = np.zeros(2, [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), (("p", "on"), "?")])
    array["on"], array["t"] = [False, True], 1_600_000_000_000_000
    events = snn.nir.events_from_tonic(array, SENSOR, origin="first")
    assert events.index.tolist() == [0, 12]


@pytest.mark.parametrize("kind", ["i1", "f4"])
def test_polarities_may_be_signs(kind: str) -> None:
    array = np.zeros(3, [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", kind)])
    array["p"] = [-1, 1, 1]
    assert snn.nir.events_from_tonic(array, SENSOR).index.tolist() == [0, 12, 12]
    for bad in ([-1, 0, 1], [-1, 1, 2]):
        array["p"] = bad
        with pytest.raises(ValueError, match=r"array\['p'\] must be 0 to 1, .*or -1 and \+1"):
            snn.nir.events_from_tonic(array, SENSOR)


@pytest.mark.parametrize("field", ["x", "y", "p"])
@pytest.mark.parametrize("value", [0.5, math.nan])
def test_pixels_must_be_whole(field: str, value: float) -> None:
    array = np.zeros(2, [(name, "f8") for name in "xytp"])
    array[field][1] = value
    with pytest.raises(ValueError, match=rf"array\['{field}'\] must be whole, .*\[1\] = {value}"):
        snn.nir.events_from_tonic(array, SENSOR)


def test_rooms_come_in_few_sizes_or_as_given() -> None:
    rooms = {}
    for count in range(2000):
        events = snn.nir.events_from_aer(np.zeros((count, 2)), 1)
        rooms.setdefault(events.time.shape[-1], []).append(count)
    assert len(rooms) < 50
    assert all(counts[-1] == room for room, counts in list(rooms.items())[:-1])
    assert all(room <= 1.25 * max(counts[0], 4) for room, counts in rooms.items())
    batch = snn.nir.events_from_aer([np.zeros((3, 2)), np.zeros((1001, 2))], 1)
    assert batch.time.shape == (2, 1024)
    assert (batch.index[1] == 0).sum() == 1001
    assert snn.nir.events_from_aer([np.zeros((3, 2))], 1, max_events=7).time.shape == (1, 7)
    with pytest.raises(snn.SpikeOverflowError, match=r"array\[0\] has 3 events, more than max_ev"):
        snn.nir.events_from_aer([np.zeros((3, 2))], 1, max_events=2)
