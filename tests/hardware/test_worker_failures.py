"""Workers that die, hang or talk nonsense."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from evtorch.jax_core.hardware import (
    WORKER_SCRIPT,
    BackendError,
    WorkerBackend,
    WorkerError,
    WorkerTimeout,
)
from tests.hardware._workers import BACKENDS, INPUT, assert_answers, network, start


def by_hand(socket_path: Path, backend: str = "Answering") -> subprocess.Popen[bytes]:
    """Start a worker as a user would on the command line."""
    command = [sys.executable, str(WORKER_SCRIPT), "--backend", f"{BACKENDS}:{backend}"]
    return subprocess.Popen([*command, "--socket", str(socket_path)], stderr=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> bytes:
    process.kill()
    return process.communicate(timeout=30)[1]


def test_a_worker_killed_in_a_run_is_started_again_and_the_batch_replayed(tmp_path):
    with start("Dying", options={"marks": str(tmp_path), "lives": 2}) as worker:
        assert_answers(worker)
        assert worker.restarts == 2
        assert_answers(worker)
        assert worker.restarts == 2


def test_restarts_are_bounded_and_the_error_shows_the_workers_output(tmp_path):
    options = {"marks": str(tmp_path), "lives": 2}
    with start("Dying", options=options, max_restarts=1) as worker:
        with pytest.raises(WorkerError, match="failed 2 times") as caught:
            worker.run(network(), INPUT, 0.5)
        assert "killed by SIGKILL" in str(caught.value)
        assert "smoke from the power supply" in str(caught.value)
        assert_answers(worker)


def test_a_worker_killed_between_runs_is_replaced(tmp_path):
    with start("Family", options={"file": str(tmp_path / "pids")}) as worker:
        assert_answers(worker)
        os.kill(int((tmp_path / "pids").read_text().split()[0]), signal.SIGKILL)
        assert_answers(worker)
        assert worker.restarts == 1


def test_a_slow_worker_times_out_and_is_replaced():
    with start("Slow", timeout=0.3) as worker:
        began = time.monotonic()
        with pytest.raises(WorkerTimeout, match=r"within timeout=0\.3 s") as caught:
            worker.run(network(), INPUT, 60.0)
        assert time.monotonic() - began < 30
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, BackendError)
        (spikes,) = worker.run(network(), INPUT, 1e-3).spikes
        assert spikes[0, 0, 0] == 0.25


def test_an_interrupted_run_does_not_answer_the_next_one():
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with start("Slow") as worker:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(KeyboardInterrupt):
                worker.run(network(), np.full((1, 2, 1), 7.0), 1.0)
            (spikes,) = worker.run(network(), INPUT, 1e-3).spikes
            assert spikes[0, 0, 0] == 0.25
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_backend_that_takes_too_long_to_start_is_ended():
    with pytest.raises(WorkerError, match=r"did not start in start_timeout=0\.3 s"):
        start("Answering", python=["sh", "-c", "sleep 100", "sh"], start_timeout=0.3)


def test_a_second_client_is_refused_until_the_first_leaves(short_path):
    process = by_hand(short_path / "s")
    try:
        address = f"unix:{short_path / 's'}"
        with WorkerBackend.attach(address) as first:
            with pytest.raises(WorkerError, match="busy with another client"):
                WorkerBackend.attach(address)
            assert_answers(first)
        for _ in range(3):
            with WorkerBackend.attach(address) as later:
                assert_answers(later)
    finally:
        end(process)


def test_an_attached_worker_may_be_restarted_by_someone_else(short_path):
    process = by_hand(short_path / "s")
    try:
        with WorkerBackend.attach(f"unix:{short_path / 's'}") as worker:
            assert_answers(worker)
            end(process)
            process = by_hand(short_path / "s")
            assert_answers(worker)
            assert worker.restarts == 1
        assert process.poll() is None
    finally:
        end(process)


def test_an_attached_worker_that_stays_away_is_an_error(short_path):
    process = by_hand(short_path / "s")
    worker = WorkerBackend.attach(f"unix:{short_path / 's'}")
    worker._connect_timeout = 0.2
    end(process)
    with worker, pytest.raises(WorkerError, match="nobody answers at unix:"):
        worker.run(network(), INPUT, 0.5)


def test_two_workers_cannot_share_a_socket(short_path):
    process = by_hand(short_path / "s")
    try:
        with WorkerBackend.attach(f"unix:{short_path / 's'}") as worker:
            second = by_hand(short_path / "s")
            assert b"already in use" in second.communicate(timeout=30)[1]
            assert_answers(worker)
    finally:
        end(process)


def test_only_the_owner_can_use_the_socket(short_path):
    process = by_hand(short_path / "s")
    try:
        WorkerBackend.attach(f"unix:{short_path / 's'}").stop()
        assert (short_path / "s").stat().st_mode & 0o777 == 0o600
    finally:
        end(process)
