"""The socket that a worker listens on, and the file that names it."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def listening(address: str, address_file: str | None = None) -> Iterator[socket.socket]:
    """Listen on ``unix:PATH`` or ``tcp:HOST:PORT``; at the end, the files are removed.

    ``address_file`` gets the address, with the port that was free if ``PORT`` is 0.

    Raises:
        OSError: It cannot be listened on; the message names it.
    """
    try:
        listener, address = _listen(address)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot listen on {address}: {error.strerror or error}. Is something else listening "
            f"there, does the folder exist, and is the path shorter than 100 bytes?",
        ) from error
    own: dict[Path, tuple[int, int]] = {}
    try:
        if address.startswith("unix:"):
            _note(own, Path(address.partition(":")[2]))
        if address_file is not None:
            unfinished = Path(address_file + ".part")
            unfinished.write_text(address)
            unfinished.replace(address_file)
            _note(own, Path(address_file))
        yield listener
    finally:
        listener.close()
        for path, identity in own.items():
            # Someone else may have put a file of that name there meanwhile.
            with contextlib.suppress(OSError):
                if _identity(path) == identity:
                    path.unlink()


def _listen(address: str) -> tuple[socket.socket, str]:
    transport, _, place = address.partition(":")
    if transport == "unix":
        _remove_stale(Path(place))
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            listener.bind(place)
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(before)
    else:
        host, _, port = place.rpartition(":")
        listener = socket.create_server((host, int(port)))
        address = f"tcp:{host}:{listener.getsockname()[1]}"
    listener.listen()
    return listener, address


def _remove_stale(path: Path) -> None:
    """Remove a socket that a killed worker left; one that is listened on stays."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _note(own: dict[Path, tuple[int, int]], path: Path) -> None:
    # Absolute: the backend may change the working directory.
    own[path.absolute()] = _identity(path)


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
