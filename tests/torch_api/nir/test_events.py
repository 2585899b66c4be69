"""Spikes from and to address-event arrays, tonic's arrays and NIR's data format."""

import math
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from evtorch import torch_api as snn
from evtorch.torch_api import Events

# The fields and types of tonic 1.7's ``tonic.io.events_struct``; tonic itself (with librosa and
# numba, half a gigabyte) is not among the needs of the tests.
TONIC = np.dtype([("x", np.int16), ("y", np.int16), ("t", np.int64), ("p", bool)])
SENSOR = (4, 3, 2)


def recording(events: int = 20, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    array = np.empty(events, TONIC)
    array["t"] = np.sort(draw.integers(0, 2_000_000, events))
    array["x"], array["y"] = draw.integers(0, 4, events), draw.integers(0, 3, events)
    array["p"] = draw.integers(0, 2, events)
    return array


def test_pixels_become_neurons_in_the_order_of_channels_rows_columns() -> None:
    array = recording()
    events = snn.nir.events_from_tonic(array, SENSOR)
    image = np.arange(24).reshape(2, 3, 4)
    expected = image[array["p"].astype(int), array["y"], array["x"]]
    assert events.index.dtype == torch.int32
    assert np.array_equal(events.index.numpy(), expected)
    np.testing.assert_array_equal(events.time.numpy(), (array["t"] * 1e-6).astype(np.float32))


def test_recordings_come_back() -> None:
    arrays = [recording(20), recording(7, seed=1), recording(0)]
    events = snn.nir.events_from_tonic(arrays, SENSOR)
    assert events.time.shape == (3, 20)
    assert (events.time[1, 7:] == math.inf).all()
    assert (events.index[1, 7:] == -1).all()
    for original, back in zip(arrays, snn.nir.tonic_from_events(events, SENSOR), strict=True):
        assert back.dtype == TONIC
        assert np.array_equal(original, back)


def test_recordings_of_one_dimension() -> None:
    """Cochleas have channels alone: the fields x, t, p, of one polarity, for which tonic has 1."""
    for polarity in (0, 1):
        array = np.array(
            [(3, 10, polarity), (699, 20, polarity)], [("x", "i2"), ("t", "i8"), ("p", "i1")]
        )
        for given in (array, array[["x", "t"]]):
            events = snn.nir.events_from_tonic(given, (700, 1, 1))
            assert events.index.tolist() == [3, 699]
    array["p"] = 0, 1
    with pytest.raises(ValueError, match=r"array\['p'\] must be 0 to 0"):
        snn.nir.events_from_tonic(array, (700, 1, 1))


def test_layers_take_recordings() -> None:
    layer = snn.LIF(24, 2, refractory=math.inf)
    events = snn.nir.events_from_tonic([recording(), recording(seed=1)], SENSOR)
    assert layer(events).shape == (2, 2, 1)


@pytest.mark.parametrize("plain", [True, False])
def test_address_events_come_back(plain: bool) -> None:
    array = np.array([(5, 2), (5, 0), (900, 1)], [("t", np.int64), ("address", np.int32)])
    given = np.stack([array["t"], array["address"]], -1) if plain else array
    events = snn.nir.events_from_aer(given, 3, time_unit=1e-3, dtype=torch.float64)
    assert events.index.tolist() == [2, 0, 1]
    np.testing.assert_allclose(events.time.numpy(), [5e-3, 5e-3, 0.9], rtol=1e-15)
    (back,) = snn.nir.aer_from_events(events, time_unit=1e-3)
    assert np.array_equal(back, array)


def test_spike_times_become_address_events() -> None:
    times = torch.tensor([[[2e-3, math.inf], [1e-3, 4e-3]]])
    (array,) = snn.nir.aer_from_events(times)
    assert array.tolist() == [(1000, 1), (2000, 0), (4000, 1)]


BAD: dict[str, tuple[Any, str]] = {
    "unsorted": ([[5, 0], [4, 1]], r"events must ascend in time, but event 1 of array \(4\)"),
    "address too large": ([[1, 0], [2, 3]], "from 0 to 2, but event 1 of array has 3"),
    "address negative": ([[1, -1]], "from 0 to 2, but event 0 of array has -1"),
    "address not whole": ([[1, 0.5]], "addresses must be whole numbers"),
    "time negative": ([[-1, 0]], "finite and >= 0, but event 0 of array is at -1"),
    "time NaN": ([[math.nan, 0]], "finite and >= 0, but event 0 of array is at nan"),
    "shape": ([[1, 2, 3]], r"fields t and address, or shape \(events, 2\), got \(1, 3\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_named(name: str) -> None:
    array, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        snn.nir.events_from_aer(np.array(array), 3)
    if name == "unsorted":
        events = snn.nir.events_from_aer(np.array(array), 3, sort=True)
        assert events.index.tolist() == [1, 0]
        with pytest.raises(ValueError, match=r"event 1 of array\[1\]"):
            snn.nir.events_from_aer([np.zeros((0, 2)), np.array(array)], 3)


def test_bad_recordings_are_named() -> None:
    with pytest.raises(ValueError, match=r"array\['x'\] must be 0 to 1, but array\['x'\]\["):
        snn.nir.events_from_tonic(recording(), (2, 3, 2))
    with pytest.raises(ValueError, match="must have the fields x, t, but has t, p"):
        snn.nir.events_from_tonic(recording()[["t", "p"]], SENSOR)
    for field in ("y", "p"):
        names = [name for name in ("x", "y", "t", "p") if name != field]
        with pytest.raises(ValueError, match=f"array has no field '{field}', but sensor_size"):
            snn.nir.events_from_tonic(recording()[names], SENSOR)
    with pytest.raises(ValueError, match=r"sensor_size must be \(width, height, polarities\)"):
        snn.nir.events_from_tonic(recording(), (4, 3, 0))
    with pytest.raises(ValueError, match="time_unit must be finite and > 0"):
        snn.nir.events_from_tonic(recording(), SENSOR, time_unit=0)


def test_nir_data_comes_back(tmp_path: Path) -> None:
    times = torch.tensor([[[2e-3, math.inf], [1e-3, 4e-3]], [[3e-3, 5e-3], [math.inf] * 2]])
    events = Events(torch.tensor([1e-3, math.inf]), torch.tensor([4, -1]))
    signals = {"input": times, "lif": events}
    data = snn.nir.to_nir_data(signals, 1e-2, neurons={"lif": 5}, time_unit=1e-3)
    nir.write_data(tmp_path / "a.nir", data)
    read: Any = nir.read_data(str(tmp_path / "a.nir"))
    stored = read.nodes["lif"].observables["spikes"]
    assert (stored.n_neurons, stored.t_max) == (5, 10.0)
    np.testing.assert_allclose(stored.time[0, 0], 1.0, rtol=1e-6)
    back = snn.nir.from_nir_data(read, time_unit=1e-3)
    found = snn.spike_times_from_events(back["input"], 2, 2)
    assert torch.equal(found, times)
    assert back["lif"].time.tolist() == events.time.unsqueeze(0).tolist()
    assert back["lif"].index.tolist() == [[4, -1]]


def test_nir_data_on_a_grid_is_read() -> None:
    events = nir.EventData(np.array([[1, 0, 1, -1]]), np.array([[1.0, 2, 2, np.inf]]), 2, 4.0)
    grid = nir.NIRNodeData({"spikes": events.to_time_gridded(0.5), "v": events})
    outer = nir.NIRGraphData({"sub": nir.NIRGraphData({"lif": grid})})
    back = snn.nir.from_nir_data(outer, time_unit=1e-3)["sub.lif"]
    assert back.index.tolist() == [[1, 0, 1]]
    torch.testing.assert_close(back.time, torch.tensor([[1e-3, 2e-3, 2e-3]]))


def data(index: Any, time: Any, kind: Any = nir.EventData, *more: Any) -> nir.NIRGraphData:
    observed = kind(np.array(index), np.array(time), 3, 10.0, *more)
    return nir.NIRGraphData({"a": nir.NIRNodeData({"spikes": observed})})


def test_bad_nir_data_names_the_node() -> None:
    with pytest.raises(ValueError, match=r"event \(0, 1\) of node 'a' is 3, but must be -1 or 0"):
        snn.nir.from_nir_data(data([[0, 3]], [[1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"event \(0, 0\) of node 'a' is -1.0, but must be fini"):
        snn.nir.from_nir_data(data([[0]], [[-1.0]]))
    with pytest.raises(ValueError, match="events of node 'a' must ascend in time"):
        snn.nir.from_nir_data(data([[0, 1]], [[2.0, 1.0]]))
    sorted_ = snn.nir.from_nir_data(data([[0, 1]], [[2.0, 1.0]]), sort=True)["a"]
    assert sorted_.index.tolist() == [[1, 0]]
    valued = data([[0]], [[1.0]], nir.ValuedEventData, np.array([[0.5]]))
    with pytest.raises(ValueError, match="node 'a' has events with values"):
        snn.nir.from_nir_data(valued)
    grid = nir.NIRNodeData({"spikes": nir.TimeGriddedData(np.ones((1, 2, 3)), 1.0)})
    with pytest.raises(ValueError, match="node 'a' has a grid of float64, not of bool"):
        snn.nir.from_nir_data(nir.NIRGraphData({"a": grid}))


def test_nir_data_needs_what_spikes_do_not_say() -> None:
    events = Events(torch.tensor([1e-3]), torch.tensor([4]))
    with pytest.raises(ValueError, match="neurons must say how many neurons node 'a' has"):
        snn.nir.to_nir_data({"a": events}, 1.0)
    with pytest.raises(ValueError, match=r"node 'a' has a spike at 0.001\d* s, after t_max = 0.0"):
        snn.nir.to_nir_data({"a": events}, 0.0, neurons={"a": 5})
