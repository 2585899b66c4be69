"""The command line of a worker."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys

from ._handshake import SECRET_VARIABLE
from ._output import print_lossily
from ._protocol import MAX_FRAME_BYTES, MIN_FRAME_BYTES, MOST_SECONDS
from ._server import Server, exit_with_parent, load_backend


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, got {text!r}")
    return int(text)


def _idle_timeout(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"seconds from 0 to {MOST_SECONDS:g}, got {text!r}")
    return seconds or math.inf


def _frame_bytes(text: str) -> int:
    if not text.isdecimal() or int(text) < MIN_FRAME_BYTES:
        raise argparse.ArgumentTypeError(f"a whole number from {MIN_FRAME_BYTES} on, got {text!r}")
    return int(text)


def _options(text: str) -> dict[str, object]:
    options = json.loads(text)
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError(f"a JSON object of names and values, got {text!r}")
    return options


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run a hardware backend for evtorch.")
    parser.add_argument(
        "--backend", required=True, help="module:factory or path/to/file.py:factory"
    )
    address = parser.add_mutually_exclusive_group(required=True)
    address.add_argument("--socket", metavar="PATH", help="listen on this Unix socket")
    address.add_argument(
        "--tcp",
        type=_port,
        metavar="PORT",
        help=f"listen on 127.0.0.1, 0: a free port; needs the environment's {SECRET_VARIABLE}",
    )
    parser.add_argument(
        "--options", type=_options, default={}, metavar="JSON", help="arguments of the factory"
    )
    parser.add_argument(
        "--max-frame-bytes", type=_frame_bytes, default=MAX_FRAME_BYTES, help="default: 1 GiB"
    )
    parser.add_argument(
        "--idle-timeout",
        type=_idle_timeout,
        default=30.0,
        metavar="SECONDS",
        help="hang up on a client that is silent so long between runs (%(default)s; 0: never)",
    )
    parser.add_argument("--address-file", help="write the address here once it is listened on")
    parser.add_argument(
        "--exit-with-parent",
        metavar="FOLDER",
        help="when standard input closes, remove this temporary folder and exit",
    )
    return parser.parse_args()


def main() -> None:
    """Run the backend that the command names, until the process ends."""
    arguments = _arguments()
    # Hardware is released by the backend's `atexit` functions, which SIGTERM alone would skip.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    secret = os.environ.pop(SECRET_VARIABLE, "")
    print_lossily()
    if arguments.exit_with_parent is not None:
        exit_with_parent(arguments.exit_with_parent)
    backend = load_backend(arguments.backend, arguments.options)
    tcp = arguments.socket is None
    address = f"tcp:127.0.0.1:{arguments.tcp}" if tcp else f"unix:{arguments.socket}"
    serving = Server(backend, secret, arguments.max_frame_bytes, arguments.idle_timeout)
    serving.serve(address, arguments.address_file)
