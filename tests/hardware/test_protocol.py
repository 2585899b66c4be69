"""Frames: lossless, and every damage is noticed."""

import json
import socket
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest

from evtorch.jax_core.hardware.worker._protocol import (
    Connection,
    Disconnected,
    ProtocolError,
    encode,
    message,
)

PREFIX_BYTES = 20


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Connection]]:
    raw, other = socket.socketpair()
    connection = Connection(other, max_frame_bytes=2**20)
    yield raw, connection
    raw.close()
    connection.close()


def frame(header: object, body: bytes = b"", **changes: int) -> bytes:
    """A frame with a right checksum around any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    checksum = zlib.crc32(body, zlib.crc32(text))
    sizes = {"header_bytes": len(text), "body_bytes": len(body), "checksum": checksum, **changes}
    return struct.pack("<4sIQI", b"EVTW", *sizes.values()) + text + body


@pytest.mark.parametrize(
    "dtype", ["<f8", "<f4", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", ">f8"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 5), (3, 5, 7)])
def test_arrays_arrive_bit_by_bit(pair, rng, dtype, shape):
    raw, connection = pair
    count = int(np.prod(shape))
    bits = rng.integers(0, 256, count * np.dtype(dtype).itemsize, np.uint8).tobytes()
    array = np.frombuffer(bits, dtype).reshape(shape)
    raw.sendall(encode(message("run", {"a": array, "b": array.T}, note="é", count=3)))
    received = connection.receive(5)
    assert (received.kind, received.values) == ("run", {"note": "é", "count": 3})
    native = np.dtype(dtype).newbyteorder("<")
    for name, sent in (("a", array), ("b", array.T)):
        assert received.arrays[name].dtype == native
        assert received.arrays[name].shape == sent.shape
        little = sent.byteswap() if dtype[0] == ">" else sent
        assert received.arrays[name].tobytes() == little.tobytes()


def test_special_values_keep_their_payload(pair):
    raw, connection = pair
    values = np.array([np.inf, -np.inf, -0.0, 5e-324, np.nan])
    values[4:] = np.frombuffer(struct.pack("<Q", 0x7FF0DEADBEEF0001))
    raw.sendall(encode(message("run", {"a": values})))
    assert connection.receive(5).arrays["a"].tobytes() == values.tobytes()


@pytest.mark.parametrize("dtype", [object, "U3", bool, complex, "M8[s]"])
def test_other_types_have_no_encoding(dtype):
    with pytest.raises(TypeError, match="array 'a' has dtype"):
        encode(message("run", {"a": np.zeros(2, dtype)}))


def test_every_truncation_is_noticed(pair):
    complete = encode(message("run", {"a": np.arange(3.0)}))
    for length in range(len(complete)):
        raw, other = socket.socketpair()
        with raw, other:
            raw.sendall(complete[:length])
            raw.close()
            with pytest.raises(Disconnected, match="closed the connection"):
                Connection(other).receive(5)


def test_every_flipped_bit_is_noticed():
    complete = encode(message("run", {"a": np.arange(2.0)}, value=1))
    for position in range(len(complete)):
        raw, other = socket.socketpair()
        with raw, other:
            damaged = bytearray(complete)
            damaged[position] ^= 1 << position % 8
            raw.sendall(damaged)
            raw.close()
            with pytest.raises(ProtocolError):
                Connection(other).receive(5)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"\xff\xfe", b""),
        (b"[" * 5000, b""),
        ([], b""),
        ({}, b""),
        ({"kind": "run"}, b""),
        ({"kind": "run", "arrays": [["a", "|O", [1]]]}, bytes(8)),
        ({"kind": "run", "arrays": [["a", "<f8", [2]]]}, bytes(8)),
        ({"kind": "run", "arrays": [["a", "<f8", [-1]]]}, bytes(8)),
        ({"kind": "run", "arrays": [["a", "<f8", [0, 10**30]]]}, b""),
        ({"kind": "run", "arrays": [["a", "<f8", [1.0]]]}, bytes(8)),
        ({"kind": "run", "arrays": [["a", [], [1]]]}, bytes(8)),
        ({"kind": "run", "arrays": [["a", "<f8"]]}, bytes(8)),
        ({"kind": "run", "arrays": []}, bytes(8)),
    ],
)
def test_headers_that_make_no_sense_are_refused(pair, header, body):
    raw, connection = pair
    raw.sendall(frame(header, body))
    with pytest.raises(ProtocolError, match=r"cannot be read|its header says"):
        connection.receive(5)


def test_oversized_frames_are_refused_before_their_memory_is_taken(pair):
    raw, connection = pair
    raw.sendall(frame({"kind": "run", "arrays": []}, body_bytes=2**62))
    with pytest.raises(ProtocolError, match=f"exceeds the limit of {2**20}"):
        connection.receive(5)
    with pytest.raises(ValueError, match=r"max_frame_bytes=1048576: split the batch"):
        connection.send(message("run", {"a": np.zeros(2**18)}), 5)


def test_oversized_headers_are_refused():
    raw, other = socket.socketpair()
    with raw, other:
        raw.sendall(frame({"kind": "run", "arrays": []}, header_bytes=2**20 + 1))
        with pytest.raises(ProtocolError, match="header: 1048577"):
            Connection(other).receive(5)


def test_a_message_that_stops_half_way_times_out(pair):
    raw, connection = pair
    raw.sendall(encode(message("run", {"a": np.arange(3.0)}))[:-1])
    with pytest.raises(TimeoutError, match="no complete message"):
        connection.receive(0.05)


def test_waiting_for_a_message_to_begin_has_its_own_limit(pair):
    raw, connection = pair
    with pytest.raises(TimeoutError):
        connection.receive(30, idle=0.05)
    raw.sendall(encode(message("run"))[:PREFIX_BYTES])
    with pytest.raises(TimeoutError):
        connection.receive(0.05, idle=30)


def test_strangers_are_recognised(pair):
    raw, connection = pair
    raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with pytest.raises(ProtocolError, match="GET "):
        connection.receive(5)
