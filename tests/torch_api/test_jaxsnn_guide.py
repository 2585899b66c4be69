"""The code in the guide for users of jaxsnn runs, and the names in it exist."""

import re
import subprocess
import sys
from pathlib import Path

import evtorch.jax_core.hardware  # noqa: F401
from evtorch import bridge, jax_core
from evtorch import torch_api as snn

GUIDE = Path(__file__).parents[2] / "docs" / "jaxsnn.md"

CHECKS = """
assert all(bool((abs(gradient) > 0).any()) for gradient in gradients)
assert all(bool((p.grad != 0).any()) for p in network.parameters())
assert spikes.shape == (5, 1)
assert float(spikes[0, 0]) == float(jnp.float32(3e-6))
"""


def test_the_guide_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    # In a process of its own, as jaxsnn configures logging where it is imported.
    code = "\n".join([*blocks, CHECKS])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_its_table_names_what_exists() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for package, prefix in ((snn, "snn"), (bridge, "bridge"), (jax_core, "jax_core")):
        for dotted in set(re.findall(rf"\b{prefix}\.(?!md)([A-Za-z_.]*[A-Za-z_])", text)):
            found = package
            for name in dotted.split("."):
                found = getattr(found, name)
