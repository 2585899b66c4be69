"""Addresses of workers: ``unix:PATH`` and, on this machine only, ``tcp:HOST:PORT``."""

from __future__ import annotations

import socket
import time

from ._process import WorkerError


def open_stream(address: str, timeout: float) -> socket.socket:
    """Connect, trying again while nobody listens."""
    transport, _, place = address.partition(":")
    host, _, port = place.rpartition(":")
    deadline = time.monotonic() + timeout
    while True:
        stream = socket.socket(socket.AF_UNIX if transport == "unix" else socket.AF_INET)
        stream.settimeout(timeout)
        try:
            stream.connect(place if transport == "unix" else (host, int(port)))
            return stream
        except OSError as error:
            stream.close()
            # BlockingIOError: a Unix socket with too many clients before this one.
            absent = isinstance(error, (FileNotFoundError, ConnectionRefusedError, BlockingIOError))
            if not absent or time.monotonic() > deadline:
                raise WorkerError(
                    f"nobody answers at {address} (tried for {timeout:g} s): {error}"
                ) from error
        time.sleep(0.02)


def check_address(address: str, secret: str) -> None:
    """Check an address to attach to.

    Raises:
        ValueError: It is malformed or on another machine, or is TCP and there is no secret.
    """
    if not isinstance(address, str):
        raise TypeError(f"address must be unix:PATH or tcp:HOST:PORT, got {address!r}")
    transport, _, place = address.partition(":")
    host, _, port = place.rpartition(":")
    if transport == "unix" and place and "\0" not in place:
        return
    if transport != "tcp" or not port.isdecimal():
        raise ValueError(f"address must be unix:PATH or tcp:HOST:PORT, got {address!r}")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"address {address!r}: a port is a number from 1 to 65535, got {port}")
    if host not in ("127.0.0.1", "localhost"):
        raise ValueError(
            f"address {address!r} is not on this machine: messages are not encrypted, so reach"
            " other machines through a tunnel (ssh -L) to 127.0.0.1"
        )
    if not secret:
        raise ValueError("secret must be given for TCP: the worker's EVTORCH_WORKER_SECRET")
