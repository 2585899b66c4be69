"""The hardware worker: a process that runs a backend for an evtorch client elsewhere.

    python path/to/worker --backend module:factory --socket /path/of/socket
    python path/to/worker --backend path/to/file.py:factory --tcp 7000

Start it by the path of its folder: that needs Python 3.10 and NumPy, not evtorch, JAX or torch.
The factory's result has ``name``, ``weight_limit`` and ``run`` as
``evtorch.jax_core.hardware.Backend`` says; where evtorch is not installed,
``from evtorch_worker import Observation`` (also Layer, Network, check_input, check_weights,
HardwareLimitError) works inside the worker.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path


def _as_package() -> None:
    """Import this folder as ``evtorch_worker``, without the packages around it, which need JAX."""
    init = Path(__file__).resolve().with_name("__init__.py")
    spec = importlib.util.spec_from_file_location("evtorch_worker", init)
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    _as_package()
    command = importlib.import_module("evtorch_worker._command")
    # Python put this folder there; backends are looked up as `python -m` would.
    sys.path[0] = os.getcwd()
    command.main()
