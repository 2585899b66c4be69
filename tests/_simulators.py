"""The environment of simulators, which need an older NumPy: `make pynn` creates it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = Path(os.environ.get("EVTORCH_PYNN_PYTHON", ROOT / ".venv-pynn/bin/python"))
_NEST = any(PYTHON.parents[1].glob("lib/python*/site-packages/nest"))
needed = pytest.mark.skipif(not PYTHON.exists(), reason="simulators are not installed: make pynn")
nest_needed = pytest.mark.skipif(not _NEST, reason="NEST is not installed: make pynn")
