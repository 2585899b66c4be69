"""Starting and ending the process of a worker. No process outlives the client that started it."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ._contract import BackendError
from ._handshake import SECRET_VARIABLE

WORKER_SCRIPT = Path(__file__).with_name("__main__.py")
_LONGEST_SOCKET_PATH = 100
_LOG_BYTES = 6000
_GRACE_SECONDS = 2.0


class Closable(Protocol):
    """A pipe, a socket."""

    def close(self) -> None:
        """Close it."""


class WorkerError(BackendError):
    """A worker failed; the message holds what it said itself."""


@dataclass(frozen=True)
class Launch:
    """How to start a worker."""

    backend: str
    options: str
    python: tuple[str, ...]
    environment: Mapping[str, str | None]
    folder: str | None
    transport: str
    max_frame_bytes: int
    timeout: float


_kept_from_children: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_in_forked_children(resource: Closable) -> None:
    """Let forked processes have no copy of a pipe or socket.

    The other end would not notice that this process has died while a copy is open somewhere.
    """
    _register_closing()
    _kept_from_children.add(resource)


@functools.cache
def _register_closing() -> None:
    os.register_at_fork(after_in_child=_close_kept)


def _close_kept() -> None:
    for resource in list(_kept_from_children):
        resource.close()


class WorkerProcess:
    """A running worker, in a session of its own so that the terminal's Ctrl-C does not reach it.

    It ends when `end` is called, when this object is garbage-collected, when the interpreter exits,
    and, as its standard input then closes, when this process dies in whatever way.

    Attributes:
        address: where it listens.
        secret: what its clients must know.
    """

    def __init__(self, launch: Launch):
        self._folder = Path(tempfile.mkdtemp(prefix="evtorch-worker-"))
        self.secret = secrets.token_hex(32)
        try:
            with open(self._folder / "log", "wb") as log:
                self._process = subprocess.Popen(
                    self._command(launch),
                    stdin=subprocess.PIPE,
                    bufsize=0,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=launch.folder,
                    env=self._environment(launch),
                    start_new_session=True,
                )
        except BaseException as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            if not isinstance(error, (OSError, ValueError)):
                raise
            command = " ".join(launch.python)
            raise WorkerError(f"a worker could not be started with {command}: {error}") from error
        assert self._process.stdin is not None
        close_in_forked_children(self._process.stdin)
        self._finalizer = weakref.finalize(self, _end, self._process, self._folder, os.getpid())
        try:
            self.address = self._wait_for_address(launch)
        except BaseException:
            self._finalizer()
            raise

    def _command(self, launch: Launch) -> list[str]:
        command = [*launch.python, str(WORKER_SCRIPT), "--backend", launch.backend]
        command += ["--options", launch.options]
        command += ["--exit-with-parent", str(self._folder)]
        # Nobody else could connect, and a worker that started anew would lose its state.
        command += ["--idle-timeout", "0"]
        command += ["--max-frame-bytes", str(launch.max_frame_bytes)]
        command += ["--address-file", str(self._folder / "address")]
        if launch.transport == "tcp":
            return [*command, "--tcp", "0"]
        path = str(self._folder / "socket")
        if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
            raise ValueError(
                f"{path} is too long for a Unix socket: set TMPDIR to a shorter folder, or pass"
                " transport='tcp'"
            )
        return [*command, "--socket", path]

    def _environment(self, launch: Launch) -> dict[str, str]:
        merged = {**os.environ, **launch.environment, SECRET_VARIABLE: self.secret}
        return {name: value for name, value in merged.items() if value is not None}

    def _wait_for_address(self, launch: Launch) -> str:
        deadline = time.monotonic() + launch.timeout
        file = self._folder / "address"
        while not file.exists():
            if self._process.poll() is not None:
                raise WorkerError(f"the worker did not start: {self._fate()}{self.log()}")
            if time.monotonic() > deadline:
                raise WorkerError(
                    f"the worker did not start in start_timeout={launch.timeout:g} s{self.log()}"
                )
            time.sleep(0.005)
        return file.read_text()

    def _fate(self) -> str:
        code = self._process.poll()
        if code is None:
            return "it is still running"
        if code < 0:
            return f"it was killed by {signal.Signals(-code).name}"
        return f"it exited with status {code}"

    def log(self) -> str:
        """The end of what the worker printed, as a paragraph for an error message."""
        with contextlib.suppress(OSError):
            text = (
                (self._folder / "log").read_bytes()[-_LOG_BYTES:].decode(errors="replace").strip()
            )
            if text:
                return f"\nThe worker's own output ends with:\n{text}"
        return "\nThe worker printed nothing."

    def autopsy(self) -> str:
        """What became of a worker that closed the connection."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        return self._fate() + self.log()

    def end(self) -> None:
        """End the worker and everything it started. Calling it again does nothing."""
        self._finalizer()


def _end(process: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    if os.getpid() != owner:  # a forked child holds a copy, but the worker is not its own
        return
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    _signal(process, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    # A process of another user's, as some containers have them, and one that hangs in a driver
    # do not end at once, or never.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    shutil.rmtree(folder, ignore_errors=True)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
