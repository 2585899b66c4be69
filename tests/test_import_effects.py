"""Importing evtorch leaves the process as it was."""

import subprocess
import sys

CHECK = """
import os, threading
import jax, torch

def state():
    return {
        "environment": dict(os.environ),
        "JAX settings": dict(jax.config.values),
        "torch dtype": torch.get_default_dtype(),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "torch generator": torch.get_rng_state().tolist(),
        "threads": threading.active_count(),
    }

before = state()
import evtorch.bridge, evtorch.jax_core, evtorch.torch_api
after = state()
changed = [key for key in before if before[key] != after[key]]
assert not changed, changed
assert not jax._src.xla_bridge._backends, "the import started a JAX backend"
"""


def test_importing_changes_no_global_state() -> None:
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
