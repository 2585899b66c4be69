"""The worker's side of the protocol: listens, greets clients, runs batches of one at a time."""

from __future__ import annotations

import importlib
import importlib.util
import math
import operator
import os
import queue
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from ._handshake import greet_client
from ._listener import listening
from ._messages import observation_message, run_from_message
from ._protocol import Connection, Message, ProtocolError, message

_GREETING_SECONDS = 5.0
_MAX_GREETINGS = 64
_LEAVING_SECONDS = 0.5
_MESSAGE_SECONDS = 60.0
_MAX_TRACEBACK = 20_000


def load_backend(name: str, options: dict[str, Any]) -> Any:
    """Call the factory at ``module:factory`` or ``path/to/file.py:factory`` with ``options``."""
    module_name, _, factory_name = name.rpartition(":")
    if not module_name or not factory_name:
        raise ValueError(f"backend must be module:factory or file.py:factory, got {name!r}")
    if module_name.endswith(".py"):
        path = Path(module_name)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise FileNotFoundError(f"backend: there is no file {module_name!r}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(module_name)
    return operator.attrgetter(factory_name)(module)(**options)


def exit_with_parent(folder: str) -> None:
    """Once standard input closes, so the client is gone, remove its folder and kill this process
    and its children.
    """

    def wait() -> None:
        while os.read(0, 4096):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Server:
    """Serves one client at a time; others are told that the worker is busy.

    A client that is silent for ``idle_timeout`` seconds, between runs, is hung up on: it has been
    stopped, or its machine has. Others say that they live (`keep_alive`).

    Connections are greeted beside each other, so those that stay silent keep nobody out. Backends
    run in the main thread, as some hardware libraries require.
    """

    def __init__(
        self, backend: Any, secret: str, max_frame_bytes: int, idle_timeout: float = math.inf
    ):
        self._backend = backend
        self._secret = secret
        self._max_frame_bytes = max_frame_bytes
        self._idle_timeout = idle_timeout
        self._busy = threading.Lock()
        self._greetings = threading.Semaphore(_MAX_GREETINGS)
        self._clients: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        limit = backend.weight_limit
        self._about = {
            "name": str(backend.name),
            "weight_limit": None if limit is None else int(limit),
            "idle_timeout": None if math.isinf(idle_timeout) else idle_timeout,
        }

    def serve(self, address: str, address_file: str | None = None) -> None:
        """Listen on ``unix:PATH`` or ``tcp:HOST:PORT`` and serve until the process ends."""
        if address.startswith("tcp:") and not self._secret:
            raise ValueError("a worker on TCP needs a shared secret: any local user could connect")
        with listening(address, address_file) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            while True:
                client = self._clients.get()
                try:
                    self._serve_client(client)
                finally:
                    client.close()
                    self._busy.release()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            self._greetings.acquire()
            try:
                stream, _ = listener.accept()
                threading.Thread(target=self._greet, args=(stream,), daemon=True).start()
            except (OSError, RuntimeError) as error:  # too many open files or threads, for one
                print(f"could not accept a client: {error}", file=sys.stderr, flush=True)
                self._greetings.release()
                time.sleep(_LEAVING_SECONDS)

    def _greet(self, stream: socket.socket) -> None:
        """Hand a client that proves itself over to the main thread; hang up on others."""
        admitted = False

        def admit() -> str:
            nonlocal admitted
            # The wait lets a client that has just left be noticed.
            admitted = self._busy.acquire(timeout=_LEAVING_SECONDS)
            if admitted:
                return ""
            patience = "" if math.isinf(self._idle_timeout) else f"{self._idle_timeout:g} s"
            return (
                "the worker is busy with another client: stop that one, or start another worker"
                + (patience and f"; one that does not respond loses its place after {patience}")
            )

        try:
            connection = Connection(stream, self._max_frame_bytes)
            greet_client(connection, self._secret, self._about, _GREETING_SECONDS, admit)
            self._clients.put(connection)
        except Exception as error:  # whatever a stranger sends, the next client is served
            print(f"turned a client away: {error}", file=sys.stderr, flush=True)
            stream.close()
            if admitted:
                self._busy.release()
        finally:
            self._greetings.release()

    def _serve_client(self, client: Connection) -> None:
        try:
            while True:
                received = client.receive(_MESSAGE_SECONDS, idle=self._idle_timeout)
                if received.kind == "alive":
                    continue
                if received.kind != "run":
                    raise ProtocolError(f"expected a 'run' message, got {received.kind!r}")
                try:
                    client.send(self._run(received), _MESSAGE_SECONDS)
                except (ProtocolError, TimeoutError):
                    raise
                except Exception as error:  # from the backend or the encoding; nothing was sent
                    failure = _failure(error, client.max_frame_bytes)
                    client.send(failure, _MESSAGE_SECONDS)
        except (ProtocolError, TimeoutError) as error:
            print(f"a client left: {error}", file=sys.stderr, flush=True)

    def _run(self, received: Message) -> Message:
        try:
            run = run_from_message(received)
            observation = self._backend.run(
                run.network, run.spikes, run.duration, voltage_times=run.voltage_times
            )
        except (ProtocolError, TimeoutError) as error:
            raise _BackendFailed from error
        return observation_message(observation)


class _BackendFailed(Exception):
    """Keeps a backend's own timeout apart from the connection's."""


def _failure(error: BaseException, max_frame_bytes: int) -> Message:
    if isinstance(error, _BackendFailed) and error.__cause__ is not None:
        error = error.__cause__
    # JSON may take six bytes for a character.
    length = min(_MAX_TRACEBACK, max_frame_bytes // 16)
    text = "".join(traceback.format_exception(error))[-length:]
    name = type(error).__name__[:100]
    return message("error", error=name, message=str(error)[:length], traceback=text)
