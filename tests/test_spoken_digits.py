"""The example on spoken digits: what it reads, what it says, and what it writes."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

ROOM = 6
# Recordings as the published files have them: seconds in float16, channels, class.
RECORDINGS: list[tuple[list[float], list[int], int]] = [
    ([0.125, 0.25, 1.25], [699, 0, 17], 3),
    ([0.0625 * n for n in range(12)], list(range(12)), 19),
    ([], [], 0),
]


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


def main(imported: Any, patch: pytest.MonkeyPatch, *options: str) -> None:
    patch.setattr(sys, "argv", ["spoken_digits.py", *options])
    example, threads = imported("spoken_digits"), torch.get_num_threads()
    try:
        example.main()
    finally:
        # The example chooses one; what runs afterwards may want more.
        torch.set_num_threads(threads)


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
