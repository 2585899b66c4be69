"""The hardware worker: a process that runs a backend for an evtorch client elsewhere.

    python path/to/_worker.py --backend module:factory --socket /path/of/socket
    python path/to/_worker.py --backend path/to/file.py:factory --tcp 7000

Start it by its path: that needs Python 3.10 and NumPy, not evtorch, JAX or torch. The factory's
result has ``name``, ``weight_limit`` and ``run`` as ``evtorch.jax_core.hardware.Backend`` says;
where evtorch is not installed, ``from evtorch_worker import Observation`` (also Layer, Network,
check_input, check_weights, HardwareLimitError) works inside the worker.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import signal
import sys
import types
from pathlib import Path

SECRET_VARIABLE = "EVTORCH_WORKER_SECRET"
# What sockets and `_protocol` take, which cannot be imported before the package is made.
MOST_SECONDS = 2e6
_FEWEST_BYTES = 2**13


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
    if not text.isdecimal() or int(text) < _FEWEST_BYTES:
        raise argparse.ArgumentTypeError(f"a whole number from {_FEWEST_BYTES} on, got {text!r}")
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
        "--max-frame-bytes", type=_frame_bytes, default=2**30, help="default: 1 GiB"
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


def _as_package() -> None:
    """Make this folder importable as ``evtorch_worker``, without its ``__init__`` (needs JAX)."""
    folder = str(Path(__file__).resolve().parent)
    package = types.ModuleType("evtorch_worker", __doc__)
    package.__path__ = [folder]
    sys.modules["evtorch_worker"] = package
    contract = importlib.import_module("evtorch_worker._contract")
    for name, value in vars(contract).items():
        if not name.startswith("_"):
            setattr(package, name, value)
    # Python put this script's folder there; backends are looked up as `python -m` would.
    sys.path[0] = os.getcwd()


def main() -> None:
    arguments = _arguments()
    # Hardware is released by the backend's `atexit` functions, which SIGTERM alone would skip.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    secret = os.environ.pop(SECRET_VARIABLE, "")
    _as_package()
    importlib.import_module("evtorch_worker._worker_output").print_lossily()
    server = importlib.import_module("evtorch_worker._worker_server")
    if arguments.exit_with_parent is not None:
        server.exit_with_parent(arguments.exit_with_parent)
    backend = server.load_backend(arguments.backend, arguments.options)
    tcp = arguments.socket is None
    address = f"tcp:127.0.0.1:{arguments.tcp}" if tcp else f"unix:{arguments.socket}"
    serving = server.Server(backend, secret, arguments.max_frame_bytes, arguments.idle_timeout)
    serving.serve(address, arguments.address_file)


if __name__ == "__main__":
    main()
