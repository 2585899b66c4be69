"""Clients that meet something else than a well-behaved worker, and the other way round."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from evtorch.jax_core.hardware import WORKER_SCRIPT, WorkerBackend, WorkerError
from evtorch.jax_core.hardware.worker import _handshake as handshake
from evtorch.jax_core.hardware.worker._protocol import Connection, Disconnected, encode, message
from tests.hardware._workers import BACKENDS, INPUT, assert_answers, network

ABOUT = {"name": "fake", "weight_limit": None}
ANSWER = encode(
    message(
        "observation",
        {"spikes.0": np.broadcast_to([0.25, 1.25], (1, 3, 2))},
        counts={"spikes": 1, "voltages": None, "overflow": None},
        lost={},
    )
)
Script = Callable[[socket.socket], None]


@pytest.fixture
def fake_worker(short_path) -> Iterator[Callable[..., str]]:
    """Listens, and treats each connection by the next script."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(short_path / "s"))
    listener.listen()
    threads = []

    def serve(*scripts: Script) -> str:
        def accept() -> None:
            for script in scripts:
                stream, _ = listener.accept()
                with stream:
                    script(stream)

        threads.append(threading.Thread(target=accept, daemon=True))
        threads[0].start()
        return f"unix:{short_path / 's'}"

    yield serve
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    listener.close()


def replying(reply: bytes) -> Script:
    """Greet properly, then answer one run with these bytes and hang up."""

    def script(stream: socket.socket) -> None:
        connection = Connection(stream)
        handshake.greet_client(connection, "", ABOUT, 10)
        assert connection.receive(10).kind == "run"
        stream.sendall(reply)

    return script


DAMAGED = {
    "nothing": b"",
    "truncated": ANSWER[:-3],
    "header only": ANSWER[:20],
    "corrupted": ANSWER[:-3] + b"\x55" + ANSWER[-2:],
    "oversized": ANSWER[:8] + (2**40).to_bytes(8, "little") + ANSWER[16:],
    "not a frame": b"Segmentation fault (core dumped)\n",
    "another kind": encode(message("hello")),
    "no counts": encode(message("observation")),
    "missing layer": encode(
        message("observation", counts={"spikes": 1, "voltages": None, "overflow": None}, lost={})
    ),
}


@pytest.mark.parametrize("reply", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_answer_is_noticed_and_the_batch_replayed(fake_worker, reply):
    with WorkerBackend.attach(fake_worker(replying(reply), replying(ANSWER))) as worker:
        assert_answers(worker)
        assert worker.restarts == 1


def test_replays_are_bounded(fake_worker):
    address = fake_worker(*[replying(DAMAGED["corrupted"])] * 2)
    with (
        WorkerBackend.attach(address, max_restarts=1) as worker,
        pytest.raises(WorkerError, match=r"failed 2 times in one run .*checksum does not"),
    ):
        worker.run(network(), INPUT, 0.5)


def saying_hello(**changes: object) -> Script:
    def script(stream: socket.socket) -> None:
        hello = {"version": 1, "challenge": "00", "max_frame_bytes": 10**6, **changes}
        connection = Connection(stream)
        connection.send(message("hello", **hello), 10)
        with contextlib.suppress(Disconnected):
            connection.receive(10)
            connection.send(message("ready", answer="00" * 32, **ABOUT), 10)

    return script


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (saying_hello(version=2), "worker speaks protocol version 2, this side version 1"),
        (saying_hello(version=None), "protocol version None"),
        (saying_hello(challenge=7), "lacks the text 'challenge'"),
        (saying_hello(), "did not prove that it knows the shared secret"),
        (lambda stream: stream.sendall(encode(message("ready"))), "expected the worker's 'hello'"),
        (lambda stream: stream.sendall(encode(message("hello", x="x" * 5000))), "limit of 4096"),
        (lambda stream: stream.sendall(b"220 mail.example ESMTP\r\n" + bytes(9)), "220 "),
        (lambda stream: None, "closed the connection"),
    ],
)
def test_a_client_turns_away_from_strange_workers(fake_worker, script, expected):
    with pytest.raises(WorkerError, match=expected):
        WorkerBackend.attach(fake_worker(script), secret="s")


def test_a_silent_worker_times_out(fake_worker):
    done = threading.Event()
    with pytest.raises(WorkerError, match="no complete message arrived in time"):
        WorkerBackend.attach(fake_worker(lambda _: done.wait(10)), connect_timeout=0.2)
    done.set()


class TCPWorker(NamedTuple):
    port: int
    log: Path


@pytest.fixture(scope="module")
def tcp_worker(tmp_path_factory) -> Iterator[TCPWorker]:
    """A worker on TCP with the secret "right", started by hand."""
    folder = tmp_path_factory.mktemp("worker")
    command = [sys.executable, str(WORKER_SCRIPT), "--backend", f"{BACKENDS}:Answering"]
    command += ["--tcp", "0", "--max-frame-bytes", "20000"]
    command += ["--address-file", str(folder / "address")]
    environment = {**os.environ, "EVTORCH_WORKER_SECRET": "right"}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, env=environment, stderr=log)
    try:
        for _ in range(3000):
            if (folder / "address").exists():
                break
            assert process.poll() is None
            threading.Event().wait(0.01)
        port = int((folder / "address").read_text().rpartition(":")[2])
        yield TCPWorker(port, folder / "log")
    finally:
        process.kill()
        process.wait(30)


def attach(worker: TCPWorker, secret: str = "right", **options: float) -> WorkerBackend:
    return WorkerBackend.attach(f"tcp:127.0.0.1:{worker.port}", secret=secret, **options)


def test_a_wrong_secret_is_refused(tcp_worker):
    with pytest.raises(WorkerError, match="the shared secret is wrong"):
        attach(tcp_worker, "wrong")
    with attach(tcp_worker) as worker:
        assert_answers(worker)


def test_a_worker_refuses_another_version(tcp_worker):
    with socket.create_connection(("127.0.0.1", tcp_worker.port), 10) as stream:
        connection = Connection(stream)
        assert connection.receive(10).values["version"] == 1
        hello = {"version": 9, "challenge": "00", "max_frame_bytes": 1, "answer": "00"}
        connection.send(message("hello", **hello), 10)
        refusal = connection.receive(10)
        assert re.match("the client speaks protocol version 9", refusal.values["message"])
        with pytest.raises(Disconnected):
            connection.receive(10)


@pytest.mark.parametrize(
    ("sent", "noted"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "starts? with b'GET '"),
        (encode(message("hello", x="x" * 5000)), "exceeds the limit of 4096"),
        (encode(message("run")), "expected the client's 'hello', got 'run'"),
    ],
    ids=["http", "oversized", "run"],
)
def test_a_worker_hangs_up_on_strangers_and_serves_on(tcp_worker, sent, noted):
    with socket.create_connection(("127.0.0.1", tcp_worker.port), 10) as stream:
        connection = Connection(stream)
        connection.receive(10)
        stream.sendall(sent)
        with pytest.raises(Disconnected):
            connection.receive(10)
    with attach(tcp_worker) as worker:
        assert_answers(worker)
    assert re.search(noted, tcp_worker.log.read_text())


@pytest.mark.parametrize(
    "sent",
    [b"garbage" * 10, encode(message("dance")), ANSWER[:30]],
    ids=["garbage", "another kind", "truncated"],
)
def test_a_worker_gives_up_a_client_that_talks_nonsense_and_serves_on(tcp_worker, sent):
    with socket.create_connection(("127.0.0.1", tcp_worker.port), 10) as stream:
        connection = Connection(stream)
        handshake.greet_worker(connection, "right", 10)
        stream.sendall(sent)
    with attach(tcp_worker) as worker:
        assert_answers(worker)


def test_an_answer_in_no_ascii_is_a_wrong_secret(tcp_worker):
    with socket.create_connection(("127.0.0.1", tcp_worker.port), 10) as stream:
        connection = Connection(stream)
        connection.receive(10)
        hello = {"version": 1, "challenge": "ö", "max_frame_bytes": 2**20, "answer": "ö"}
        connection.send(message("hello", **hello), 10)
        assert "secret is wrong" in connection.receive(10).values["message"]
    with attach(tcp_worker) as worker:
        assert_answers(worker)


@pytest.mark.parametrize("key", ["challenge", "answer"])
def test_half_a_character_is_no_text_and_the_worker_serves_on(tcp_worker, key):
    with socket.create_connection(("127.0.0.1", tcp_worker.port), 10) as stream:
        connection = Connection(stream)
        connection.receive(10)
        hello = {"version": 1, "challenge": "00", "max_frame_bytes": 2**20, "answer": "00"}
        connection.send(message("hello", **{**hello, key: "\ud800"}), 10)
        with pytest.raises(Disconnected):
            connection.receive(10)
    with attach(tcp_worker) as worker:
        assert_answers(worker)
    assert f"'{key}' of a 'hello' message is no Unicode text" in tcp_worker.log.read_text()


def test_silent_strangers_keep_nobody_out(tcp_worker):
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(socket.create_connection(("127.0.0.1", tcp_worker.port), 10))
        # Less than the 5 s after which the worker hangs up on one of them.
        with attach(tcp_worker, connect_timeout=3.0) as worker:
            assert_answers(worker)
            with pytest.raises(WorkerError, match="the shared secret is wrong"):
                attach(tcp_worker, "wrong")


def test_a_run_that_cannot_be_read_is_answered_with_the_reason(tcp_worker):
    with socket.create_connection(("127.0.0.1", tcp_worker.port), 10) as stream:
        connection = Connection(stream)
        handshake.greet_worker(connection, "right", 10)
        connection.send(message("run", layers=[{"max_spikes": 1}]), 10)
        answer = connection.receive(10)
        assert answer.kind == "error"
        assert "cannot be read" in answer.values["message"]


def test_the_smaller_frame_limit_holds(tcp_worker):
    with attach(tcp_worker) as worker:
        with pytest.raises(ValueError, match="max_frame_bytes=20000"):
            worker.run(network(), np.zeros((2000, 2, 1)), 1.0)
        with pytest.raises(WorkerError, match="max_frame_bytes=20000"):
            worker.run(network(100, 50), INPUT, 1.0)
        assert_answers(worker)
