"""Tells a worker that an idle client lives."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from ._protocol import Connection, ProtocolError, message

_PER_TIMEOUT = 4
_SHORTEST_PERIOD, _LONGEST_PERIOD = 0.05, 600.0
_SEND_SECONDS = 1.0


def keep_alive(connection: Connection, idle_timeout: object, lock: Any) -> None:
    """Send "alive" several times per ``idle_timeout`` seconds, while ``lock`` is free.

    Whoever else uses the connection holds the lock. It ends with the connection, and keeps no
    reference to it meanwhile. A worker that waits for ever, as those did that know no "alive", has
    no timeout, ``None``.
    """
    if idle_timeout is None:
        return
    if not isinstance(idle_timeout, int | float) or not idle_timeout > 0:
        raise ProtocolError(f"idle_timeout must be seconds > 0, got {idle_timeout!r}")
    period = min(max(idle_timeout / _PER_TIMEOUT, _SHORTEST_PERIOD), _LONGEST_PERIOD)
    arguments = weakref.ref(connection), connection.closed, period, lock
    threading.Thread(target=_send, args=arguments, name="evtorch-alive", daemon=True).start()


def _send(
    reference: weakref.ref[Connection], closed: threading.Event, period: float, lock: Any
) -> None:
    while not closed.wait(period):
        if not lock.acquire(blocking=False):  # a run, which shows as much
            continue
        connection = reference()
        try:
            if connection is not None and not closed.is_set():
                connection.send(message("alive"), _SEND_SECONDS)
        except (ProtocolError, TimeoutError):  # half a message may have been sent
            if connection is not None:
                connection.close()
        finally:
            connection = None
            lock.release()
