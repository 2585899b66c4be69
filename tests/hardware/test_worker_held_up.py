"""What could hold a worker or its client up: unread logs, stopped clients, signal handlers."""

import contextlib
import gc
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from evtorch.jax_core.hardware import WORKER_SCRIPT, WorkerBackend, WorkerError
from evtorch.jax_core.hardware.worker import _handshake as handshake
from evtorch.jax_core.hardware.worker import _process as process_module
from evtorch.jax_core.hardware.worker._keepalive import keep_alive
from evtorch.jax_core.hardware.worker._protocol import Connection, Disconnected, ProtocolError
from tests.hardware._workers import BACKENDS, INPUT, assert_answers, network, start


@contextlib.contextmanager
def by_hand(folder: Path, *options: str, backend: str = "Answering", log=subprocess.DEVNULL):
    """A worker as a user starts it; gives the process and the path of its socket."""
    command = [sys.executable, str(WORKER_SCRIPT), "--backend", f"{BACKENDS}:{backend}"]
    command += ["--socket", str(folder / "s"), *options]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not (folder / "s").exists():
            assert process.poll() is None
            time.sleep(0.01)
        yield process, folder / "s"
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_a_log_that_nobody_reads_holds_nobody_up(short_path):
    with by_hand(short_path, log=subprocess.PIPE) as (process, path):
        for _ in range(1000):  # about 100 KB of log, of which a pipe holds 64
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.settimeout(10)
                stranger.connect(str(path))
                stranger.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    while stranger.recv(4096):
                        pass
        with WorkerBackend.attach(f"unix:{path}", timeout=10) as worker:
            assert_answers(worker)
        assert process.stderr is not None
        assert b"turned a client away" in os.read(process.stderr.fileno(), 10_000)


def test_what_a_backend_prints_holds_nobody_up_either(short_path):
    with (
        by_hand(short_path, backend="Talkative", log=subprocess.PIPE) as (_, path),
        WorkerBackend.attach(f"unix:{path}", timeout=20) as worker,
    ):
        for _ in range(3):
            assert_answers(worker)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_does_not_end_a_worker(short_path):
    with open("/dev/full", "wb") as full, by_hand(short_path, log=full) as (process, path):
        for _ in range(2):
            with WorkerBackend.attach(f"unix:{path}") as worker:
                assert_answers(worker)
        assert process.poll() is None
        process.terminate()
        assert process.wait(10) == 0


def test_a_client_that_is_stopped_loses_its_place_and_one_that_lives_does_not(short_path):
    with by_hand(short_path, "--idle-timeout", "0.6") as (_, path):
        address = f"unix:{path}"
        with WorkerBackend.attach(address, max_restarts=0) as idle:
            time.sleep(1.5)
            with pytest.raises(WorkerError, match=r"busy.*loses its place after 0\.6 s"):
                WorkerBackend.attach(address)
            assert_answers(idle)
        # One that says nothing, as a stopped process does.
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(str(path))
            about = handshake.greet_worker(Connection(stream), "", 10)
            assert about["idle_timeout"] == 0.6
            time.sleep(1.0)
            with WorkerBackend.attach(address) as other:
                assert_answers(other)


def test_a_client_that_was_hung_up_on_connects_again(short_path, monkeypatch):
    monkeypatch.setattr("evtorch.jax_core.hardware.worker._client.keep_alive", lambda *_: None)
    with (
        by_hand(short_path, "--idle-timeout", "0.2") as (_, path),
        WorkerBackend.attach(f"unix:{path}") as worker,
    ):
        time.sleep(0.6)
        assert_answers(worker)
        assert worker.restarts == 1


@pytest.mark.parametrize("idle_timeout", [0.2, None])
def test_only_a_worker_that_waits_no_longer_gets_signs_of_life(idle_timeout):
    ours, theirs = socket.socketpair()
    client, worker = Connection(ours), Connection(theirs)
    lock = threading.RLock()
    keep_alive(client, idle_timeout, lock)
    if idle_timeout is None:
        with pytest.raises(TimeoutError):
            worker.receive(0.3)
    else:
        assert worker.receive(5).kind == "alive"
        # A run is a sign itself.
        with lock:
            time.sleep(0.1)
            while select.select([theirs], [], [], 0)[0]:
                worker.receive(5)
            with pytest.raises(TimeoutError):
                worker.receive(0.3)
    # Nothing holds the connection.
    del client, ours
    gc.collect()
    with theirs, pytest.raises(Disconnected):
        assert [worker.receive(5) for _ in range(10)] == []
    for wrong in ("1", -1.0):
        with pytest.raises(ProtocolError, match="idle_timeout must be seconds > 0"):
            keep_alive(worker, wrong, lock)


@contextlib.contextmanager
def handling(handler):
    """Calls ``handler`` after a fifth of a second, in the main thread."""
    before = signal.signal(signal.SIGALRM, lambda *_: handler())
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_that_runs_the_worker_is_told_so_and_mixes_no_answers():
    refused = []

    def run_too():
        with pytest.raises(WorkerError, match="from a signal handler: let the handler set a flag"):
            worker.run(network(), INPUT, 1e-3)
        refused.append(True)

    def fail():
        raise ValueError("of the handler")

    late = np.full((1, 2, 1), 7.0)
    with start("Slow", timeout=20.0) as worker:
        with handling(run_too):
            (spikes,) = worker.run(network(), late, 0.6).spikes
        assert spikes[0, 0, 0] == 7.0
        assert refused
        # Its answer would be the next run's.
        with handling(fail), pytest.raises(ValueError, match="of the handler"):
            worker.run(network(), late, 0.6)
        (spikes,) = worker.run(network(), INPUT, 1e-3).spikes
        assert spikes[0, 0, 0] == 0.25
        with handling(worker.stop), pytest.raises(WorkerError, match="stopped during the run"):
            worker.run(network(), late, 0.6)


def test_a_worker_that_cannot_be_signalled_is_not_waited_for(monkeypatch):
    """Such as one of another user's; it ends by itself, as its standard input closes."""
    monkeypatch.setattr(process_module, "_signal", lambda *_: None)
    monkeypatch.setattr(process_module, "_GRACE_SECONDS", 0.3)
    worker = start("Answering")
    process = worker._process
    assert process is not None
    began = time.monotonic()
    worker.stop()
    assert time.monotonic() - began < 5
    assert process._process.wait(10) is not None


def test_a_worker_takes_its_files_along(short_path):
    address_file = short_path / "address"
    with by_hand(short_path, "--address-file", str(address_file)) as (process, path):
        while not address_file.exists():
            time.sleep(0.01)
        process.terminate()
        assert process.wait(10) == 0
        assert not path.exists()
        assert not address_file.exists()


def test_addresses_that_cannot_be_are_named(short_path):
    for port in (0, 65536, 99999):
        with pytest.raises(ValueError, match=f"from 1 to 65535, got {port}"):
            WorkerBackend.attach(f"tcp:127.0.0.1:{port}", secret="s")
    with pytest.raises(ValueError, match="address must be unix:PATH or tcp:HOST:PORT"):
        WorkerBackend.attach("unix:a\0b")
    with pytest.raises(TypeError, match="address must be unix:PATH or tcp:HOST:PORT, got 7000"):
        WorkerBackend.attach(7000)  # pyright: ignore[reportArgumentType]
    command = [sys.executable, str(WORKER_SCRIPT), "--backend", f"{BACKENDS}:Answering"]
    for arguments, expected in (
        (["--tcp", "99999"], "a port is a number from 0 to 65535, got '99999'"),
        (["--socket", str(short_path / "no" / "s")], "cannot listen on unix:.*does the folder"),
        (["--socket", "s", "--options", "[1]"], "a JSON object of names and values"),
        (["--socket", "s", "--idle-timeout", "1e9"], "seconds from 0 to 2e[+]06, got '1e9'"),
    ):
        ended = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60)
        assert ended.returncode != 0
        assert re.search(expected, ended.stderr)
