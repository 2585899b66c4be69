"""A backend whose hardware lives in another process, Python environment or container."""

from __future__ import annotations

import json
import math
import numbers
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._address import check_address, open_stream
from ._contract import HardwareLimitError, Network, Observation
from ._handshake import greet_worker
from ._keepalive import keep_alive
from ._messages import Run, observation_from_message, run_message
from ._process import Launch, WorkerError, WorkerProcess, close_in_forked_children
from ._protocol import (
    MAX_FRAME_BYTES,
    MIN_FRAME_BYTES,
    MOST_SECONDS,
    Connection,
    Message,
    ProtocolError,
)


class WorkerTimeout(WorkerError, TimeoutError):
    """A worker did not answer in time."""


class WorkerBackend:
    """Runs a backend in a worker process; itself a `Backend`. Make one with `start` or `attach`.

    A worker that dies in a run, or whose answer arrives damaged, is started again (or connected to
    again) and the batch is replayed, ``max_restarts`` times at most per batch; a backend with
    random numbers starts them anew then. A timeout is not retried: the worker is given up, and the
    next run starts a fresh one. Exceptions of the backend arrive as `WorkerError` with its
    traceback (`HardwareLimitError` as itself) and leave the worker running.

    Threads may share it; their runs take turns. A forked process may not: it gets an error. Use it
    as a context manager, or call `stop`.

    **Attributes:**

    - ``name``, ``weight_limit``: the worker's backend's.
    - ``restarts``: how many times a batch had to be replayed.
    - ``sent_bytes``, ``received_bytes``: size of the last run's messages.
    """

    name: str
    weight_limit: int | None

    def __init__(
        self,
        launch: Launch | None,
        address: str,
        secret: str,
        timeout: float,
        connect_timeout: float,
        max_restarts: int,
        max_frame_bytes: int,
    ):
        """Use `start` or `attach` instead."""
        _check_limits(
            timeout=timeout,
            connect_timeout=connect_timeout,
            max_restarts=max_restarts,
            max_frame_bytes=max_frame_bytes,
        )
        self._launch, self._address, self._secret = launch, address, secret
        self._timeout, self._connect_timeout = timeout, connect_timeout
        self._max_restarts, self._max_frame_bytes = max_restarts, max_frame_bytes
        self._process: WorkerProcess | None = None
        self._connection: Connection | None = None
        # Reentrant, so that a signal handler may stop a run that it interrupts.
        self._lock = threading.RLock()
        self._in_run: set[int] = set()
        self._is_answer_due = False
        self._owner = os.getpid()
        self._stopped = False
        self.restarts = 0
        self.sent_bytes = self.received_bytes = 0
        self._connect()

    @classmethod
    def start(
        cls,
        backend: str,
        options: Mapping[str, Any] | None = None,
        *,
        python: str | Sequence[str] = sys.executable,
        environment: Mapping[str, str | None] | None = None,
        folder: str | os.PathLike[str] | None = None,
        transport: str = "unix",
        timeout: float = 60.0,
        start_timeout: float = 60.0,
        max_restarts: int = 2,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> WorkerBackend:
        """Start a worker and connect to it.

        **Arguments:**

        - ``backend``: ``module:factory`` or ``path/to/file.py:factory``, found by the worker.
        - ``options``: keyword arguments of the factory; must survive JSON.
        - ``python``: the interpreter, or a command that ends in one, such as ``["apptainer",
          "exec", "image.sif", "python3"]``. It needs NumPy and Python 3.10, not evtorch.
        - ``environment``: variables to set, or with ``None`` to remove, for the worker.
        - ``folder``: working directory of the worker, where it looks for ``module`` first.
        - ``transport``: ``"unix"`` or ``"tcp"`` (loopback; a secret is made up and passed on).
        - ``timeout``: seconds a run may take.
        - ``start_timeout``: seconds that starting the worker and making the backend may take.
        - ``max_restarts``: how often a batch may be replayed after the worker died.
        - ``max_frame_bytes``: the largest message.

        **Raises:** `WorkerError` with the worker's output if it does not start.
        """
        if transport not in ("unix", "tcp"):
            raise ValueError(f"transport must be 'unix' or 'tcp', got {transport!r}")
        try:
            encoded = json.dumps(dict(options or {}))
        except (TypeError, ValueError) as error:
            raise ValueError(f"options must be what JSON can hold, got {options!r}") from error
        launch = Launch(
            backend=backend,
            options=encoded,
            python=(python,) if isinstance(python, str) else tuple(python),
            environment=dict(environment or {}),
            folder=None if folder is None else os.fspath(folder),
            transport=transport,
            max_frame_bytes=max_frame_bytes,
            timeout=start_timeout,
        )
        return cls(launch, "", "", timeout, start_timeout, max_restarts, max_frame_bytes)

    @classmethod
    def attach(
        cls,
        address: str,
        *,
        secret: str = "",
        timeout: float = 60.0,
        connect_timeout: float = 10.0,
        max_restarts: int = 2,
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> WorkerBackend:
        """Connect to a worker that someone else started, and leave it running at the end.

        **Arguments:**

        - ``address``: ``unix:PATH`` or ``tcp:HOST:PORT``.
        - ``secret``: the ``EVTORCH_WORKER_SECRET`` of the worker's environment.
        - ``connect_timeout``: seconds to keep trying to connect, now and after the worker died.
        - the others: as in `start`.

        **Raises:** `WorkerError` if nobody answers, or the worker is busy with another client, has
        another version or another secret.
        """
        check_address(address, secret)
        return cls(None, address, secret, timeout, connect_timeout, max_restarts, max_frame_bytes)

    def run(
        self,
        network: Network,
        spikes: np.ndarray,
        duration: float,
        *,
        voltage_times: np.ndarray | None = None,
    ) -> Observation:
        """Run a batch on the worker, as `Backend.run` says.

        **Raises:** `WorkerTimeout`; `WorkerError` if the backend raised or the worker died more
        than ``max_restarts`` times; ``ValueError`` if the batch exceeds ``max_frame_bytes``.
        """
        # Before the lock, which a thread of the parent may have held when this process was forked.
        self._check_owner()
        request = run_message(Run(network, spikes, duration, voltage_times))
        thread = threading.get_ident()
        if thread in self._in_run:
            raise WorkerError(
                "this run interrupts another one of the same worker, from a signal handler:"
                " let the handler set a flag, and run when the other run is done"
            )
        self._in_run.add(thread)
        try:
            with self._lock:
                if self._stopped:
                    raise WorkerError("this worker has been stopped; start another one")
                return self._run(request)
        finally:
            self._in_run.discard(thread)

    def stop(self) -> None:
        """Disconnect, and end the worker if `start` started it. Calling it again does nothing."""
        if self._owner != os.getpid():
            return
        with self._lock:
            self._stopped = True
            self._give_up()

    def __deepcopy__(self, _: object) -> WorkerBackend:
        return self  # copies of a model run on the same hardware

    def __reduce__(self) -> str:
        raise TypeError(
            "a WorkerBackend is a connection to a running worker and cannot be pickled: save"
            " state_dict(), and give the loaded model a worker of its own"
        )

    def __enter__(self) -> WorkerBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _check_owner(self) -> None:
        if self._owner != os.getpid():
            raise WorkerError(
                "this worker belongs to the process that started it; a forked process must start"
                " or attach its own"
            )

    def _run(self, request: Message) -> Observation:
        for attempt in range(self._max_restarts + 1):
            try:
                return self._exchange(request)
            except ProtocolError as error:
                fate = self._autopsy()
                self._give_up()
                if self._stopped:
                    raise WorkerError("this worker was stopped during the run") from error
                if attempt == self._max_restarts:
                    raise WorkerError(
                        f"the worker failed {attempt + 1} times in one run (max_restarts="
                        f"{self._max_restarts}): {error}; {fate}"
                    ) from error
                self.restarts += 1
            except BaseException as error:
                if not self._is_answer_due:
                    raise
                # The answer to an interrupted run must not be taken for the next one's.
                log = "" if self._process is None else self._process.log()
                self._give_up()
                if isinstance(error, TimeoutError) and not isinstance(error, WorkerError):
                    raise WorkerTimeout(
                        f"the worker did not answer within timeout={self._timeout:g} s: pass a"
                        f" longer timeout, or smaller batches{log}"
                    ) from error
                raise
        raise AssertionError("unreachable")

    def _exchange(self, request: Message) -> Observation:
        connection = self._connection or self._connect()
        deadline = time.monotonic() + self._timeout
        before = connection.sent_bytes, connection.received_bytes
        frame = connection.frame(request)
        self._is_answer_due = True
        connection.send_frame(frame, self._timeout)
        reply = connection.receive(max(deadline - time.monotonic(), 1e-3))
        self._is_answer_due = False
        self.sent_bytes = connection.sent_bytes - before[0]
        self.received_bytes = connection.received_bytes - before[1]
        if reply.kind == "error":
            raise _backend_error(self.name, reply)
        if reply.kind != "observation":
            raise ProtocolError(f"expected an 'observation', got {reply.kind!r}")
        return observation_from_message(reply)

    def _connect(self) -> Connection:
        if self._launch is not None:
            self._process = WorkerProcess(self._launch)
            self._address, self._secret = self._process.address, self._process.secret
        stream = open_stream(self._address, self._connect_timeout)
        close_in_forked_children(stream)
        self._connection = Connection(stream, self._max_frame_bytes)
        try:
            about = greet_worker(self._connection, self._secret, self._connect_timeout)
            self.name, self.weight_limit = str(about["name"]), about["weight_limit"]
            keep_alive(self._connection, about.get("idle_timeout"), self._lock)
        except (ProtocolError, TimeoutError, KeyError) as error:
            self._give_up()
            raise WorkerError(f"no connection to the worker at {self._address}: {error}") from error
        except BaseException:
            self._give_up()
            raise
        return self._connection

    def _autopsy(self) -> str:
        if self._process is None:
            return "it was not started from here: see its own output"
        return self._process.autopsy()

    def _give_up(self) -> None:
        self._is_answer_due = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.end()
            self._process = None


def _backend_error(name: str, reply: Message) -> Exception:
    kind, text = reply.values.get("error"), reply.values.get("message")
    error = WorkerError(
        f"{name} raised {kind} in the worker: {text}\nThe worker's traceback:\n"
        f"{reply.values.get('traceback')}"
    )
    if kind != HardwareLimitError.__name__:
        return error
    limit = HardwareLimitError(str(text))
    limit.__cause__ = error
    return limit


_LOWEST = {"max_restarts": 0, "max_frame_bytes": MIN_FRAME_BYTES}


def _check_limits(**limits: float) -> None:
    for name, value in limits.items():
        is_count = name in _LOWEST
        lowest = _LOWEST.get(name, 1e-3)
        if not lowest <= value < math.inf:
            raise ValueError(f"{name} must be finite and at least {lowest:g}, got {value}")
        if is_count and not isinstance(value, numbers.Integral):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
        if not is_count and value > MOST_SECONDS:
            raise ValueError(
                f"{name} must be at most {MOST_SECONDS:g} seconds, which are 23 days, got {value}"
            )
