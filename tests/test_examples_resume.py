"""Examples survive Ctrl-C and kill -9: they save, and go on with the same result."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from evtorch import torch_api as snn

EXAMPLES = Path(__file__).parent.parent / "examples"
SHORT = ["--epochs", "12", "--hidden", "20", "--seed", "3"]


@pytest.fixture
def checkpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(EXAMPLES)
    yield importlib.import_module("_checkpoint")
    del sys.modules["_checkpoint"]


@dataclass(frozen=True)
class Settings:
    seed: int = 0
    epochs: int = 3


def two_stages(run: Any, stop_at: int | None = None) -> list[list[float]]:
    """Train two models, the second made from the first, with random numbers everywhere."""
    torch.manual_seed(0)
    model, results, count = torch.nn.Linear(2, 2), [], 0
    for stage in ("first", "second"):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        history = run.values(loss=[])
        states = {"model": model, "optimizer": optimizer, "history": history}
        for _ in run.epochs(stage, 3, states):
            optimizer.zero_grad()
            loss = model(torch.rand(4, 2)).square().sum() * torch.rand(())
            loss.backward()
            optimizer.step()
            history.loss.append(loss.item())
            count += 1
            if count == stop_at:
                raise KeyboardInterrupt
        results.append(history.loss)
        model.weight.data += torch.rand(2, 2)
    return [*results, model.weight.flatten().tolist()]


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 6])
def test_interrupted_stages_end_as_uninterrupted_ones(
    stop_at: int, checkpoint: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def run(name: str, resume: bool = False) -> Any:
        made = checkpoint.Run(tmp_path / name, Settings(), resume, 30.0)
        made.values = checkpoint.Values
        return made

    with run("whole") as whole:
        expected = two_stages(whole)
    assert not (tmp_path / "whole").exists()
    with pytest.raises(SystemExit) as ended, run("parts") as parts:
        two_stages(parts, stop_at)
    assert ended.value.code == 130
    printed = capsys.readouterr().err
    stage = "first" if stop_at <= 3 else "second"
    assert f"with {(stop_at - 1) % 3} of 3 of '{stage}'" in printed
    assert "--resume" in printed
    # Once more, at the first step that is left.
    with pytest.raises(SystemExit), run("parts", resume=True) as parts:
        two_stages(parts, 1)
    with run("parts", resume=True) as parts:
        assert two_stages(parts) == expected
    assert list((tmp_path / "parts").iterdir()) == []


class Killed(BaseException):
    """Ends a run at once, as a signal does that cannot be caught."""


@pytest.mark.parametrize("unfinished", ["half", "whole"])
def test_a_run_killed_in_any_save_goes_on_from_the_one_before(
    unfinished: str, checkpoint: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str, resume: bool = False) -> Any:
        made = checkpoint.Run(tmp_path / name, Settings(), resume, 0.0)
        made.values = checkpoint.Values
        return made

    with run("whole") as whole:
        expected = two_stages(whole)
    save = torch.save
    for last in range(2, 7):
        saved: list[Path] = []

        def save_or_die(content: Any, path: Path, last: int = last, saved: Any = saved) -> None:
            save(content, path)
            saved.append(path)
            if len(saved) == last:
                if unfinished == "half":
                    os.truncate(path, path.stat().st_size // 2)
                raise Killed

        name = f"killed in save {last}"
        with monkeypatch.context() as patched:
            patched.setattr(torch, "save", save_or_die)
            with pytest.raises(Killed), run(name) as parts:
                two_stages(parts)
        with run(name, resume=True) as parts:
            assert two_stages(parts) == expected
        assert list((tmp_path / name).iterdir()) == []


def test_checkpoints_are_written_at_intervals(checkpoint: ModuleType, tmp_path: Path) -> None:
    for every, there in ((0.0, True), (30.0, False)):
        run = checkpoint.Run(tmp_path / str(every), Settings(), False, every)
        run.values = checkpoint.Values
        with pytest.raises(KeyboardInterrupt):
            two_stages(run, 2)
        assert (tmp_path / str(every) / "checkpoint.pt").exists() == there


def test_nothing_to_go_on_from_is_said(checkpoint: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no .*checkpoint\.pt to go on from; start without"):
        checkpoint.Run(tmp_path, Settings(), True, 30.0)
    run = checkpoint.Run(tmp_path, Settings(), False, 30.0)
    run.values = checkpoint.Values
    with pytest.raises(SystemExit), run:
        two_stages(run, 1)
    with pytest.raises(SystemExit, match="of a run with epochs = 3, not 4; give the same options"):
        checkpoint.Run(tmp_path, Settings(epochs=4), True, 30.0)


def test_noise_of_a_mock_chip_goes_on_from_its_state() -> None:
    chip = snn.hardware.MockBSS2(1)
    layer = snn.LIF(5, 4, tau_mem=2e-5, tau_syn=1e-5, refractory=float("inf"), backend=chip)
    layer.t_max = 1e-4
    times = torch.rand(3, 5, 1) * 1e-5
    layer(times)
    state = json.loads(json.dumps(chip.state_dict()))
    expected = layer(times)
    assert not torch.equal(layer(times), expected)
    chip.load_state_dict(state)
    assert torch.equal(layer(times), expected)


def start(cwd: Path, *more: str, code: str = "") -> subprocess.Popen[str]:
    """Train; ``code`` runs before the example, in its process."""
    command = ["-c", code + RUN] if code else [str(EXAMPLES / "yinyang.py")]
    return subprocess.Popen(
        [sys.executable, *command, *SHORT, *more],
        cwd=cwd,
        env={**os.environ, "MPLBACKEND": "Agg"},
        text=True,
        stderr=subprocess.PIPE,
    )


def finish(cwd: Path, out: str, *more: str) -> tuple[float, float, dict[str, torch.Tensor]]:
    """Train to the end; **returns** accuracies and weights."""
    done = start(cwd, "--out", out, *more)
    _, printed = done.communicate(timeout=300)
    assert done.returncode == 0, printed
    metrics = json.loads((cwd / out / "metrics.json").read_text())
    state = torch.load(cwd / out / "model.pt", weights_only=True)["state_dict"]
    return metrics["test_accuracy"], metrics["training_accuracy"], state


@pytest.fixture
def heard_interrupts() -> Iterator[None]:
    """Where tests run in the background, the shell has them ignore Ctrl-C, and their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# What `python yinyang.py` does, after code of the test's own.
RUN = f"""
import runpy
sys.argv[0] = {str(EXAMPLES / "yinyang.py")!r}
sys.path.insert(0, {str(EXAMPLES)!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""
KILLED_IN_ITS_SECOND_EPOCH = """
import os, signal, sys
import torch
steps, step = [], torch.optim.Adam.step
def step_or_die(*arguments, **options):
    steps.append(1)
    if len(steps) == 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments, **options)
torch.optim.Adam.step = step_or_die
"""
KILLED_HALFWAY_THROUGH_ITS_SECOND_CHECKPOINT = """
import os, signal, sys
import torch
saved, save = [], torch.save
def save_and_die(content, path):
    save(content, path)
    saved.append(path)
    if len(saved) == 2:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = save_and_die
"""


@pytest.mark.usefixtures("heard_interrupts")
def test_ctrl_c_and_kill_9_in_an_example_lose_one_epoch_at_most(tmp_path: Path) -> None:
    out = tmp_path / "parts"
    more = ("--out", "parts", "--save-every", "0")

    def saved() -> int:
        stages = torch.load(out / "checkpoint.pt", weights_only=True)["stages"]
        return stages["training"]["done"]

    interrupted = start(tmp_path, *more)
    limit = time.monotonic() + 120
    while not (out / "checkpoint.pt").exists() and time.monotonic() < limit:
        assert interrupted.poll() is None
        time.sleep(0.02)
    interrupted.send_signal(signal.SIGINT)
    _, printed = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130, printed
    assert "Traceback" not in printed
    assert "saved parts/checkpoint.pt" in printed
    for code in (KILLED_IN_ITS_SECOND_EPOCH, KILLED_HALFWAY_THROUGH_ITS_SECOND_CHECKPOINT):
        done = saved()
        killed = start(tmp_path, *more, "--resume", code=code)
        _, printed = killed.communicate(timeout=120)
        assert killed.returncode == -signal.SIGKILL, printed
        assert saved() == done + 1
    assert (out / "checkpoint.new").exists()
    *found, weights = finish(tmp_path, "parts", "--resume")
    *expected, others = finish(tmp_path, "whole")
    assert found == expected
    assert all(torch.equal(weights[name], others[name]) for name in others)
    assert not list(out.glob("checkpoint.*"))
