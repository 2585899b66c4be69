"""Frames between evtorch and a hardware worker.

A frame is

    magic "EVTW" | header bytes, u32 | body bytes, u64 | CRC-32 of header and body, u32

(little-endian), a UTF-8 JSON header and a body. The header is an object with a ``kind``, plain
values, and ``arrays``: a list of ``[name, dtype, shape]``; the body holds the arrays' raw bytes in
that order, C-contiguous, each padded to a multiple of 8 bytes. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import threading
import time
import weakref
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

VERSION = 1
MAX_FRAME_BYTES = 2**30
# Errors, cut to fit, must always get through.
MIN_FRAME_BYTES = 2**13
# What sockets take as a timeout.
MOST_SECONDS = 2e6
_MAX_HEADER_BYTES = 2**20
_MAGIC = b"EVTW"
_PREFIX = struct.Struct("<4sIQI")
_ALIGNMENT = 8
_DTYPES = {
    name: np.dtype(name)
    for name in ("<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1")
}


class ProtocolError(RuntimeError):
    """The other side sent something that is not a valid message."""


class Disconnected(ProtocolError):
    """The other side closed the connection."""


class Refused(ProtocolError):
    """The other side turned this one away, with the reason."""


class Message(NamedTuple):
    """One frame's content: a ``kind``, plain JSON ``values`` and named ``arrays``."""

    kind: str
    values: dict[str, Any]
    arrays: dict[str, np.ndarray]


def message(kind: str, arrays: Mapping[str, np.ndarray] | None = None, **values: Any) -> Message:
    """A message of a ``kind``, with ``arrays`` by name and other ``values`` that JSON can hold."""
    return Message(kind, values, dict(arrays or {}))


def encode(content: Message) -> bytes:
    """The frame of a message. Raises ``TypeError`` for an array of a type that has no encoding."""
    description, parts = [], []
    for name, array in content.arrays.items():
        array = np.asarray(array)
        dtype = array.dtype.newbyteorder("<").str
        if dtype not in _DTYPES:
            raise TypeError(
                f"array {name!r} has dtype {array.dtype}; messages carry {', '.join(_DTYPES)}"
            )
        description.append([name, dtype, list(array.shape)])
        parts.append(np.ascontiguousarray(array, dtype=dtype).tobytes())
        parts.append(bytes(-array.nbytes % _ALIGNMENT))
    header = {**content.values, "kind": content.kind, "arrays": description}
    encoded = json.dumps(header, allow_nan=False).encode()
    body_bytes = sum(map(len, parts))
    checksum = zlib.crc32(encoded)
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    prefix = _PREFIX.pack(_MAGIC, len(encoded), body_bytes, checksum)
    return b"".join([prefix, encoded, *parts])


def _decode(header_bytes: bytearray, body: bytearray) -> Message:
    try:
        header = json.loads(header_bytes)
        kind, description = header.pop("kind"), header.pop("arrays")
        arrays, offset = {}, 0
        for name, dtype, shape in description:
            if any(not isinstance(size, int) or size < 0 for size in shape):
                raise ValueError(f"array {name!r} cannot have shape {shape}")
            count, itemsize = math.prod(shape), _DTYPES[dtype].itemsize
            flat = (
                np.frombuffer(body, _DTYPES[dtype], count, offset) if count else np.empty(0, dtype)
            )
            arrays[str(name)] = flat.reshape(shape)
            offset += count * itemsize + -(count * itemsize) % _ALIGNMENT
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ProtocolError(f"a message header cannot be read: {error!r}") from error
    if offset != len(body):
        raise ProtocolError(f"a message has {len(body)} bytes of arrays, its header says {offset}")
    return Message(str(kind), header, arrays)


def _close(stream: socket.socket, closed: threading.Event) -> None:
    stream.close()
    closed.set()


class Connection:
    """Messages over a connected stream socket.

    ``max_frame_bytes`` bounds what either direction accepts, so a wrong length cannot exhaust the
    memory. A ``TimeoutError`` or ``ProtocolError`` leaves the stream at an unknown place: ``close``
    it. Garbage collection closes it as well; ``closed`` is set then. ``sent_bytes`` and
    ``received_bytes`` count frames.
    """

    def __init__(self, stream: socket.socket, max_frame_bytes: int = MAX_FRAME_BYTES):
        if stream.family != socket.AF_UNIX:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = stream
        self.sent_bytes = 0
        self.received_bytes = 0
        self.closed = threading.Event()
        self.close = weakref.finalize(self, _close, stream, self.closed)
        self._max_frame_bytes = max_frame_bytes

    @property
    def max_frame_bytes(self) -> int:
        """The largest frame to send or accept, bytes."""
        return self._max_frame_bytes

    def lower_limit(self, other: object) -> None:
        """Accept and send no larger frames than the other side."""
        if not isinstance(other, int) or other < MIN_FRAME_BYTES:
            raise ProtocolError(
                f"max_frame_bytes must be an integer >= {MIN_FRAME_BYTES}, got {other!r}"
            )
        self._max_frame_bytes = min(self._max_frame_bytes, other)

    def frame(self, content: Message) -> bytes:
        """A message as it is sent.

        Raises:
            ValueError: It would exceed ``max_frame_bytes``.
            TypeError: An array has a type that has no encoding.
        """
        frame = encode(content)
        if len(frame) > self._max_frame_bytes:
            raise ValueError(
                f"a {content.kind!r} message of {len(frame)} bytes exceeds max_frame_bytes="
                f"{self._max_frame_bytes}: split the batch, or raise the limit on both sides"
            )
        return frame

    def send(self, content: Message, timeout: float | None = None) -> None:
        """Send one message.

        Raises:
            ValueError, TypeError: as `frame`; nothing was sent.
            Disconnected, TimeoutError: as `send_frame`.
        """
        self.send_frame(self.frame(content), timeout)

    def send_frame(self, frame: bytes, timeout: float | None = None) -> None:
        """Send what `frame` made.

        Raises:
            Disconnected: The other side is gone.
            TimeoutError: The other side did not take the message in ``timeout`` seconds.
        """
        try:
            self._stream.settimeout(timeout)
            self._stream.sendall(frame)
        except TimeoutError:
            raise
        except OSError as error:
            raise Disconnected(f"the other side closed the connection ({error})") from error
        self.sent_bytes += len(frame)

    def receive(
        self,
        timeout: float | None = None,
        *,
        idle: float | None = None,
        max_bytes: int | None = None,
    ) -> Message:
        """Wait for one message.

        Args:
            timeout: seconds in which the whole message must arrive; None waits for ever.
            idle: if given, seconds to wait for a message to begin, before ``timeout`` counts
                (``inf``: for ever).
            max_bytes: a smaller frame limit for this message.
        """
        limit = self._max_frame_bytes if max_bytes is None else max_bytes
        first = b""
        if idle is not None:
            first = bytes(self._read(1, None if math.isinf(idle) else time.monotonic() + idle))
        deadline = None if timeout is None else time.monotonic() + timeout
        prefix = first + self._read(_PREFIX.size - len(first), deadline)
        magic, header_bytes, body_bytes, checksum = _PREFIX.unpack(prefix)
        if magic != _MAGIC:
            raise ProtocolError(f"expected a message, got bytes that start with {bytes(magic)!r}")
        total = _PREFIX.size + header_bytes + body_bytes
        if total > limit or header_bytes > _MAX_HEADER_BYTES:
            raise ProtocolError(
                f"a message of {total} bytes (header: {header_bytes}) exceeds the limit of {limit}"
                f" (header: {_MAX_HEADER_BYTES}); both sides' max_frame_bytes set it"
            )
        header = self._read(header_bytes, deadline)
        body = self._read(body_bytes, deadline)
        if zlib.crc32(body, zlib.crc32(header)) != checksum:
            raise ProtocolError("a message arrived corrupted: its checksum does not match")
        self.received_bytes += total
        return _decode(header, body)

    def _read(self, count: int, deadline: float | None) -> bytearray:
        buffer = bytearray(count)
        view, filled = memoryview(buffer), 0
        while filled < count:
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                raise TimeoutError("no complete message arrived in time")
            try:
                self._stream.settimeout(remaining)
                received = self._stream.recv_into(view[filled:])
            except TimeoutError:
                raise TimeoutError("no complete message arrived in time") from None
            except OSError as error:
                raise Disconnected(f"the connection broke ({error})") from error
            if received == 0:
                raise Disconnected("the other side closed the connection")
            filled += received
        return buffer
