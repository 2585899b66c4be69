"""The hardware worker: a process that runs a backend for an evtorch client elsewhere.

    python path/to/_worker.py --backend module:factory --socket /path/of/socket
    python path/to/_worker.py --backend path/to/file.py:factory --tcp 7000

Start it by its path: that needs Python 3.10 and NumPy, not evtorch, JAX or torch. The factory's
result has ``name``, ``weight_limit`` and ``run`` as ``evtorch.jax_core.hardware.Backend`` says;
where evtorch is not installed, ``from evtorch_worker import Observation`` (also Layer, Network,
check_input, check_weights, HardwareLimitError) works inside the worker.
"""

import importlib
import os
import sys
import types
from pathlib import Path


def _as_package() -> None:
    """Make this folder importable as ``evtorch_worker``, without its ``__init__`` (needs JAX)."""
    package = types.ModuleType("evtorch_worker", __doc__)
    package.__path__ = [str(Path(__file__).resolve().parent)]
    sys.modules["evtorch_worker"] = package
    contract = importlib.import_module("evtorch_worker._contract")
    for name, value in vars(contract).items():
        if not name.startswith("_"):
            setattr(package, name, value)


if __name__ == "__main__":
    _as_package()
    command = importlib.import_module("evtorch_worker._command")
    # Python put this script's folder there; backends are looked up as `python -m` would.
    sys.path[0] = os.getcwd()
    command.main()
