"""What a worker prints: never worth waiting for, nor failing for."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from typing import Any

_PATIENCE_MS = 200


class LossyOutput(io.RawIOBase):
    """Writes to a file descriptor, and drops what it does not take.

    A pipe that nobody reads is full after some 64 KB and would block whoever prints, a full disk
    raises. How much was lost is noted once there is room again.
    """

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any, /) -> int:
        whole = bytes(data)
        if self._lost and self._send(b"... %d bytes of output were lost ...\n" % self._lost):
            self._lost = 0
        # A pipe that can be written to has room for one such piece.
        for start in range(0, len(whole), select.PIPE_BUF):
            if not self._send(whole[start : start + select.PIPE_BUF]):
                self._lost += len(whole) - start
                break
        return len(whole)

    def _send(self, piece: bytes) -> bool:
        """Whether the descriptor took it; a slow reader is waited for once, not each time."""
        with contextlib.suppress(OSError):
            if self._poll.poll(0 if self._lost else _PATIENCE_MS):
                os.write(self._descriptor, piece)
                return True
        return False


def print_lossily() -> None:
    """From now on, whatever Python prints in this process neither blocks nor raises."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:  # it is, where the process was started without
            raw = LossyOutput(stream.fileno())
            text = io.TextIOWrapper(
                io.BufferedWriter(raw),
                encoding=stream.encoding,
                errors="backslashreplace",
                line_buffering=True,
            )
            setattr(sys, name, text)
