"""Files are replaced at once: there is the one before or the whole new one, nothing between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from evtorch import bridge, jax_core
from evtorch._files import whole_file


def test_errors_leave_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def interrupted() -> None:
        with whole_file(path) as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "before"


def test_links_modes_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("before")
    path.chmod(0o640)
    link.symlink_to(path)
    with whole_file(link) as unfinished:
        unfinished.write_text("after")
    assert link.is_symlink()
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o640
    with whole_file(os.devnull) as unfinished:
        unfinished.write_text("gone")
    assert not Path(os.devnull).is_file()


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*missing; create it"):
        jax_core.hardware.Replay([np.zeros((1, 1, 1))]).save(tmp_path / "missing" / "file.npz")


ENDLESS = """
import itertools, sys
import numpy as np
from evtorch.jax_core.hardware import Replay
recordings = [Replay([np.full((1, 1, 200_000), float(k))]) for k in range(2)]
for k in itertools.count():
    recordings[k % 2].save(sys.argv[1])
    if k == 0:
        print("saved", flush=True)
"""


def test_a_killed_process_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "recording.npz"
    command = [sys.executable, "-c", ENDLESS, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saved\n"
        os.kill(process.pid, signal.SIGKILL)
    (times,) = jax_core.hardware.Replay(path).spikes
    assert times.shape == (1, 1, 200_000)
    assert len(np.unique(times)) == 1


@pytest.mark.parametrize("name", ["state.npz", "state.safetensors"])
def test_parameters_are_replaced_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, module = tmp_path / name, torch.nn.Linear(2, 2)
    bridge.export_parameters(module, path)
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with torch.no_grad():
        module.weight.zero_()
    with pytest.raises(KeyboardInterrupt):
        bridge.export_parameters(module, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [name]
