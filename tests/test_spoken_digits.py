"""The example on spoken digits: what it generates, what it reads, and what it says and writes."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

EXAMPLES = Path(__file__).parent.parent / "examples"
FAR = 5.0
"""Standard errors: beyond, no statistic of the hundreds below lies by chance."""
ROOM = 6
# Recordings as the published files have them: seconds in float16, channels, class.
RECORDINGS: list[tuple[list[float], list[int], int]] = [
    ([0.125, 0.25, 1.25], [699, 0, 17], 3),
    ([0.0625 * n for n in range(12)], list(range(12)), 19),
    ([], [], 0),
]


@pytest.fixture(scope="module")
def imported() -> Iterator[Any]:
    """To import modules of the examples, which are not left behind for other tests."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == EXAMPLES:
            del sys.modules[name]


@pytest.fixture(scope="module")
def draw(imported: Any) -> Any:
    return imported("_spoken_events").draw_spoken_events


@pytest.fixture(scope="module")
def data(draw: Any) -> Any:
    return draw(4000, 1, 100)


def test_samples_are_sorted_events_of_700_channels_over_half_a_second_to_one(data: Any) -> None:
    time, index = data.events
    assert time.shape == index.shape == (4000, 140)
    there = time.isfinite()
    assert (time[:, 1:] >= time[:, :-1]).all()
    assert time[there].min() >= 0
    assert index[there].min() == 0
    assert index[there].max() == 699
    assert (index[~there] == -1).all()
    ends = torch.where(there, time, 0).max(1).values
    assert 0.4 < ends.min() < 0.55
    assert 0.95 < ends.max() <= data.t_max == 1.0
    assert data.classes.unique().tolist() == list(range(20))


@pytest.mark.parametrize("events", [100, 8000])
def test_numbers_of_events_have_the_mean_that_was_asked_for(draw: Any, events: int) -> None:
    numbers = draw(200, 0, events).events.time.isfinite().sum(1) / events
    assert 0.6 <= numbers.min() < 0.65
    assert 1.35 < numbers.max() <= 1.4
    assert abs(numbers.mean() - 1) < FAR * 0.4 / 3**0.5 / 200**0.5


def test_one_seed_gives_the_same_samples(draw: Any) -> None:
    first, second, other = (draw(20, seed, 50) for seed in (3, 3, 4))
    assert torch.equal(first.classes, second.classes)
    assert all(map(torch.equal, first.events, second.events))
    assert not torch.equal(first.events.index, other.events.index)


def in_thirds(data: Any) -> Tensor:
    """Counts of bands of ten channels in each third of a sample."""
    time, index = data.events
    there = time.isfinite()
    third = 3 * time / torch.where(there, time, 0).max(1, keepdim=True).values
    cell = torch.where(there, third.clamp(max=2).floor() * 70 + index // 10, 0).long()
    return torch.zeros(len(data), 210).scatter_add(1, cell, there.float())


def test_a_word_and_the_same_word_backwards_have_the_same_counts_of_each_channel(data: Any) -> None:
    counts = data.counts(10)
    assert torch.equal(counts, data.counts().reshape(4000, 70, 10).sum(2))
    assert torch.equal(counts.sum(1), data.events.time.isfinite().sum(1).float())
    for forward in range(0, 20, 2):
        one, other = (counts[data.classes == label] for label in (forward, forward + 1))
        error = (one.var(0) / len(one) + other.var(0) / len(other)).sqrt()
        assert ((one.mean(0) - other.mean(0)).abs() < FAR * error).all()


def test_counts_tell_the_word_and_only_order_tells_its_direction(draw: Any, data: Any) -> None:
    test = draw(1000, 2, 100)

    def accuracy(features: Tensor, of_test: Tensor) -> float:
        means = torch.stack([features[data.classes == label].mean(0) for label in range(20)])
        right = torch.cdist(of_test, means).argmin(1) == test.classes
        return right.double().mean().item()

    assert 0.35 < accuracy(data.counts(10), test.counts(10)) < 0.55
    assert accuracy(in_thirds(data), in_thirds(test)) > 0.8


class StandIn:
    """What the example uses of tonic's class, which downloads where archives are missing."""

    sensor_size = (700, 1, 1)

    def __init__(self, save_to: str, train: bool) -> None:
        part = "train" if train else "test"
        self.file = Path(save_to) / type(self).__name__ / f"shd_{part}.h5"
        if not self.file.with_suffix(".h5.zip").exists():
            self.download()

    def download(self) -> None:
        raise AssertionError("a download was started")

    def __len__(self) -> int:
        return len(self._all()["labels"])

    def __getitem__(self, place: int) -> tuple[np.ndarray, Any]:
        times, units, labels = (self._all()[n] for n in ("spikes/times", "spikes/units", "labels"))
        columns = [times[place].astype(float) * 1e6, units[place], np.ones(len(units[place]))]
        dtype = np.dtype([("t", int), ("x", int), ("p", int)])
        return np.array(list(zip(*columns, strict=True)), dtype), labels[place]

    def _all(self) -> Any:
        return pytest.importorskip("h5py").File(self.file)


@pytest.fixture(params=["stand-in", "tonic"])
def tonic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "tonic":
        pytest.importorskip("tonic", reason="tonic is not installed: pip install 'tonic>=1.7'")
        return
    module = ModuleType("tonic.datasets")
    module.SHD = type("SHD", (StandIn,), {})  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "tonic", ModuleType("tonic"))
    monkeypatch.setitem(sys.modules, "tonic.datasets", module)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with files as published, without the archives that they came in."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "SHD").mkdir()
    for part, recordings in (("train", RECORDINGS), ("test", RECORDINGS[:1])):
        with h5py.File(tmp_path / "SHD" / f"shd_{part}.h5", "w") as file:
            times, units, labels = zip(*recordings, strict=True)
            for name, values, dtype in (("times", times, "f2"), ("units", units, "u2")):
                shape = (len(values),)
                stored = file.create_dataset(f"spikes/{name}", shape, h5py.vlen_dtype(dtype))
                for place, one in enumerate(values):
                    stored[place] = np.array(one, dtype)
            file["labels"] = np.array(labels, "u2")
            file["extra/keys"] = np.array([b"zero", b"one"])
            file["extra/speaker"] = np.zeros(len(labels), "u2")
    return tmp_path


@pytest.mark.usefixtures("tonic")
def test_recordings_are_read_into_one_size(imported: Any, root: Path) -> None:
    load = imported("_heidelberg_digits").load_heidelberg_digits
    data = load(root, train=True, size=9, seed=0, events=ROOM)
    assert data.events.time.shape == (3, ROOM)
    assert sorted(data.classes.tolist()) == [0, 3, 19]
    found = {}
    for label, time, index in zip(data.classes.tolist(), *data.events, strict=True):
        there = time.isfinite()
        found[label] = (time[there].tolist(), index[there].tolist())
    # Every second of the twelve.
    assert found[19] == ([0.125 * n for n in range(6)], [0, 2, 4, 6, 8, 10])
    assert found[3] == (RECORDINGS[0][0], RECORDINGS[0][1])
    assert found[0] == ([], [])
    assert len(load(root, train=False, size=9, seed=0, events=ROOM)) == 1
    chosen = [load(root, train=True, size=1, seed=n, events=ROOM).classes.item() for n in range(9)]
    assert set(chosen) == {0, 3, 19}


def main(imported: Any, patch: pytest.MonkeyPatch, *options: str) -> Any:
    patch.setattr(sys, "argv", ["spoken_digits.py", *options])
    # The example chooses one thread for torch; what runs afterwards may want more.
    patch.setattr(torch, "set_num_threads", lambda _: None)
    example = imported("spoken_digits")
    example.main()


@pytest.mark.usefixtures("tonic")
def test_what_is_missing_is_said(
    imported: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match=r"--data shd needs --root FOLDER"):
        main(imported, monkeypatch, "--data", "shd")
    shd = ["--data", "shd", "--root", str(root)]
    with pytest.raises(SystemExit, match=r"has 3 recordings to train with, fewer than a batch"):
        main(imported, monkeypatch, *shd)
    (root / "SHD" / "shd_test.h5").unlink()
    with pytest.raises(SystemExit) as ended:
        main(imported, monkeypatch, *shd)
    message = str(ended.value)
    assert f"there is no {root}/SHD/shd_test.h5. " in message
    assert "https://zenkelab.org/resources/spiking-heidelberg-datasets-shd/" in message
    assert "--data generated" in message


def test_missing_tonic_is_said(imported: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tonic", None)
    monkeypatch.delitem(sys.modules, "tonic.datasets", raising=False)
    with pytest.raises(SystemExit, match=r"^tonic is missing: .*'\.\[shd\]'.*--data generated"):
        main(imported, monkeypatch, "--data", "shd", "--root", "anywhere")


def test_example_writes_what_it_promises_and_goes_on_after_ctrl_c(
    imported: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = imported("spoken_digits")
    short = ["--epochs", "2", "--hidden", "6", "--events", "40", "--train-size", "64"]

    def run(out: str, *more: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
        options = [*short, "--test-size", "32", *more, "--out", str(tmp_path / out)]
        main(imported, monkeypatch, *options)
        metrics = json.loads((tmp_path / out / "metrics.json").read_text())
        state = torch.load(tmp_path / out / "model.pt", weights_only=True)["state_dict"]
        return metrics, state

    metrics, state = run("whole")
    assert 0 <= metrics["test_accuracy"] <= 1
    assert 0 < metrics["counts_accuracy"] < 0.8
    assert metrics["seconds"] > metrics["compile_seconds"] > 0
    assert 30 < metrics["events_per_sample"] < 50
    assert metrics["settings"]["data"] == "generated"
    assert state["0.weight"].shape == (6, 700)
    assert (tmp_path / "whole" / "figure.png").stat().st_size > 10_000

    measured, calls = example.accuracy, []

    def interrupted(*arguments: Any) -> float:
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measured(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(example, "accuracy", interrupted)
        with pytest.raises(SystemExit):
            run("parts")
    resumed, other = run("parts", "--resume")
    assert resumed["test_accuracy"] == metrics["test_accuracy"]
    assert state.keys() == other.keys()
    assert all(torch.equal(one, other[name]) for name, one in state.items())
