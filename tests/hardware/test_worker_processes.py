"""No process, folder or socket outlives its owner; nobody ends a worker that is not theirs."""

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evtorch.jax_core.hardware import WorkerError
from tests.hardware._workers import BACKENDS, assert_answers, start

PROGRAM = """
import os, signal, sys, warnings
import numpy as np
from evtorch.jax_core.hardware import Layer, Network, WorkerBackend, WorkerError

worker = WorkerBackend.start(sys.argv[1] + ":Family", {"file": sys.argv[2]})
network = Network((Layer(np.ones((1, 1)), 2e-5, 1e-5, 1.0, 0.0, 0.0, 0.0),))

def run():
    return worker.run(network, np.full((1, 1, 1), 0.25), 0.5).spikes[0].item()
"""


def run_program(ending: str, file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM + ending, str(BACKENDS), str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def is_alive(pid: int) -> bool:
    status = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return status.stdout.strip()[:1] not in ("", "Z")


def assert_gone(file: Path) -> None:
    """The worker that wrote the file, and its child, end soon."""
    pids = [int(text) for text in file.read_text().split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"one of {pids} still runs"
        time.sleep(0.02)


def test_stopping_ends_the_worker_and_its_children_after_releasing_the_hardware(tmp_path):
    worker = start("Family", options={"file": str(tmp_path / "pids")})
    assert all(is_alive(int(pid)) for pid in (tmp_path / "pids").read_text().split())
    assert worker._process is not None
    folder = worker._process._folder
    assert folder.is_dir()
    worker.stop()
    assert_gone(tmp_path / "pids")
    assert (tmp_path / "pids.released").exists()
    assert not folder.exists()


def test_a_forgotten_worker_ends_with_its_backend(tmp_path):
    worker = start("Family", options={"file": str(tmp_path / "pids")})
    assert_answers(worker)
    del worker
    gc.collect()
    assert_gone(tmp_path / "pids")


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("sys.exit(run() != 0.25)", 0),
        ("raise RuntimeError(run())", 1),
        ("run(); os.kill(os.getpid(), signal.SIGKILL)", -9),
    ],
)
def test_a_worker_ends_with_the_process_that_started_it(tmp_path, ending, status):
    ended = run_program("print(worker._process._folder, flush=True); " + ending, tmp_path / "pids")
    assert ended.returncode == status, ended.stderr
    assert_gone(tmp_path / "pids")
    assert not Path(ended.stdout.strip()).exists()


def test_a_worker_in_the_middle_of_a_run_ends_with_its_client():
    program = """
import os, sys, threading
from tests.hardware._workers import network, start, INPUT
worker = start("Slow")
print(worker._process._process.pid, flush=True)
threading.Timer(0.3, lambda: os.kill(os.getpid(), 9)).start()
worker.run(network(), INPUT, 100.0)
"""
    root = str(BACKENDS.parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == -9, ended.stderr
    deadline = time.monotonic() + 20
    while is_alive(int(ended.stdout)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_forked_process_can_neither_use_nor_end_the_worker(tmp_path):
    ended = run_program(
        """
child = os.fork()
if not child:
    try:
        run()
    except WorkerError as error:
        worker.stop()
        print(error)
        sys.stdout.flush()
        sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
assert run() == 0.25 and worker.restarts == 0
""",
        tmp_path / "pids",
    )
    assert ended.returncode == 0, ended.stderr
    assert "a forked process must start or attach its own" in ended.stdout
    assert_gone(tmp_path / "pids")


def test_a_process_forked_in_the_middle_of_a_run_is_told_so_at_once():
    program = """
import os, signal, sys, threading, time
from evtorch.jax_core.hardware import WorkerError
from tests.hardware._workers import network, start, INPUT
worker = start("Slow")
runs = threading.Thread(target=worker.run, args=(network(), INPUT, 2.0))
runs.start()
while not worker._in_run:
    time.sleep(0.01)
child = os.fork()
if not child:
    signal.alarm(20)
    try:
        worker.run(network(), INPUT, 1e-3)
    except WorkerError as error:
        os._exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
runs.join()
worker.stop()
"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=BACKENDS.parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr


def test_a_worker_ends_with_its_client_though_a_forked_process_lives_on(tmp_path):
    ended = run_program(
        """
child = os.fork()
if not child:
    os.closerange(0, 3)
    while True:
        signal.pause()
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
""",
        tmp_path / "pids",
    )
    child = int(ended.stdout)
    try:
        assert ended.returncode == -9, ended.stderr
        assert is_alive(child)
        assert_gone(tmp_path / "pids")
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_worker_that_does_not_start_leaves_no_folder(short_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(short_path))
    with pytest.raises(WorkerError, match="no_such_factory"):
        start("no_such_factory")
    assert list(short_path.iterdir()) == []


def test_a_temporary_folder_too_deep_for_a_socket_is_an_error(tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(WorkerError, match="too long for a Unix socket: set TMPDIR"):
        start("Answering")
    assert list(deep.iterdir()) == []
    with start("Answering", transport="tcp") as worker:
        assert_answers(worker)
