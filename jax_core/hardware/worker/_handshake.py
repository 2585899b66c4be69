"""How client and worker make sure of each other.

The handshake, frames of at most 4 KiB:

    worker -> client   hello   version, challenge, max_frame_bytes
    client -> worker   hello   version, challenge, max_frame_bytes, answer
    worker -> client   ready   answer, and what the worker says about itself
                    or error   message

An answer proves knowledge of the shared secret: HMAC-SHA256 over the role and both challenges. Both
sides check the other's, so neither a stranger's client nor a stranger's worker gets through. On a
Unix socket, which the file system protects, the secret may be empty. From then on the smaller of
both ``max_frame_bytes`` holds.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from ._protocol import VERSION, Connection, Message, ProtocolError, Refused, message

SECRET_VARIABLE = "EVTORCH_WORKER_SECRET"
_MAX_HANDSHAKE_BYTES = 4096


def _answer(secret: str, role: str, of_worker: str, of_client: str) -> str:
    text = "\n".join((role, of_worker, of_client))
    return hmac.new(secret.encode(), text.encode(), "sha256").hexdigest()


def _proves(received: Message, expected: str) -> bool:
    return hmac.compare_digest(_text(received, "answer").encode(), expected.encode())


def _text(received: Message, key: str) -> str:
    value = received.values.get(key)
    if not isinstance(value, str):
        raise ProtocolError(f"a {received.kind!r} message lacks the text {key!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can name halves of characters
        raise ProtocolError(
            f"{key!r} of a {received.kind!r} message is no Unicode text: {error}"
        ) from error
    return value


def _version_mismatch(other: str, version: object) -> str:
    return (
        f"the {other} speaks protocol version {version}, this side version {VERSION}:"
        " use the worker files of the same evtorch release on both sides"
    )


def _hello(connection: Connection, **values: str) -> Message:
    limit = connection.max_frame_bytes
    return Message("hello", {"version": VERSION, "max_frame_bytes": limit, **values}, {})


def greet_worker(connection: Connection, secret: str, timeout: float) -> dict[str, Any]:
    """The client's side of the handshake. Returns what the worker says about itself.

    Raises:
        Refused: The worker is busy, or its version or secret differs.
    """
    hello = connection.receive(timeout, max_bytes=_MAX_HANDSHAKE_BYTES)
    if hello.kind == "error":
        raise Refused(_text(hello, "message"))
    if hello.kind != "hello":
        raise ProtocolError(f"expected the worker's 'hello', got {hello.kind!r}")
    if hello.values.get("version") != VERSION:
        raise Refused(_version_mismatch("worker", hello.values.get("version")))
    challenges = _text(hello, "challenge"), secrets.token_hex(32)
    answer = _answer(secret, "client", *challenges)
    connection.send(_hello(connection, challenge=challenges[1], answer=answer), timeout)
    ready = connection.receive(timeout, max_bytes=_MAX_HANDSHAKE_BYTES)
    if ready.kind == "error":
        raise Refused(_text(ready, "message"))
    expected = _answer(secret, "worker", *challenges)
    if ready.kind != "ready" or not _proves(ready, expected):
        raise Refused("the worker did not prove that it knows the shared secret")
    connection.lower_limit(hello.values.get("max_frame_bytes"))
    return ready.values


def greet_client(
    connection: Connection,
    secret: str,
    about: Mapping[str, Any],
    timeout: float,
    admit: Callable[[], str] = lambda: "",
) -> None:
    """The worker's side of the handshake; ``about`` is what it tells a client it accepts.

    ``admit`` is asked once the client has proved itself, and says why it is turned away, or "".

    Raises:
        Refused: The client's version or secret differs, or ``admit`` refused; it has been told.
    """
    ours = secrets.token_hex(32)
    connection.send(_hello(connection, challenge=ours), timeout)
    hello = connection.receive(timeout, max_bytes=_MAX_HANDSHAKE_BYTES)
    if hello.kind != "hello":
        raise ProtocolError(f"expected the client's 'hello', got {hello.kind!r}")
    reason = ""
    if hello.values.get("version") != VERSION:
        reason = _version_mismatch("client", hello.values.get("version"))
    challenges = ours, _text(hello, "challenge")
    expected = _answer(secret, "client", *challenges)
    if not reason and not _proves(hello, expected):
        reason = "the shared secret is wrong: give client and worker the same one"
    reason = reason or admit()
    if reason:
        connection.send(message("error", message=reason), timeout)
        raise Refused(reason)
    answer = _answer(secret, "worker", *challenges)
    connection.send(message("ready", answer=answer, **about), timeout)
    connection.lower_limit(hello.values.get("max_frame_bytes"))
