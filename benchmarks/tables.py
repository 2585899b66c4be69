"""Write anew the tables that README and docs quote, by the programs that measure them, in turn.

    make tables                          # all: hours; the machine should do nothing else
    make tables ONLY="scale exactness"   # some
    make tables ONLY=readme              # no timings: README's tables, of the results as they are
    make tables ARGS=--list              # which there are, and what each runs

One that fails does not stop the others; the exit status says whether all went well.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
HXTORCH_SCRIPT = "HXTORCH_YINYANG"
"""The environment variable with the path of hxtorch's own example, which is not part of evtorch."""


class Table(NamedTuple):
    """A program, and the page that it writes; ``of_page``: it prints the page instead."""

    command: str
    page: str
    of_page: bool = False


def _measured(script: str, page: str = "") -> Table:
    name = script.split(maxsplit=1)[0].removesuffix(".py")
    return Table(f"python benchmarks/{script}", f"benchmarks/results/{page or name}.md")


# README's come last, from what the others have found.
TABLES = {
    "training_step": _measured("run.py", "training_step"),
    "exactness": _measured("exactness.py"),
    "scale": _measured("scale.py"),
    "scale_peers": _measured("scale_peers.py"),
    "scale_conv": _measured("scale_conv.py"),
    "connections": _measured("connections.py"),
    "simulators": _measured("simulators.py"),
    "compiled_step": _measured("compiled_step.py"),
    "fuse": _measured("fuse.py"),
    "processes": _measured("processes.py"),
    "soak": _measured("soak.py"),
    "parting": _measured("parting.py"),
    "rounding": _measured("rounding.py"),
    "bridge": _measured("bridge.py"),
    "call_overhead": _measured("call_overhead.py"),
    "worker": _measured("worker.py"),
    "hardware": _measured("hardware.py"),
    "yinyang": _measured("yinyang.py", "yinyang_accuracy"),
    "delays": _measured("delays.py"),
    "tasks": _measured("tasks.py --seeds 0 1 2"),
    "training_knobs": _measured("training_knobs.py"),
    "training_knobs_longer": _measured(
        "training_knobs.py --epochs 50 --only 'all of it' 'no `silent_loss`' "
        "--out benchmarks/results/training_knobs_longer.md",
        "training_knobs_longer",
    ),
    "silent_outputs": _measured("silent_outputs.py"),
    "hardware_in_the_loop": _measured("hardware_in_the_loop.py"),
    "hx_yinyang": _measured("hx_yinyang.py"),
    "hx_script": _measured(f"hx_script.py ${HXTORCH_SCRIPT}"),
    "gpu": Table("sh benchmarks/gpu.sh", "benchmarks/results/gpu.md"),
    "bridge_features": Table("python benchmarks/bridge_features.py", "docs/bridge_features.md"),
    "bridge_operators": Table(
        "python -m evtorch.bridge.lower._document", "docs/bridge_operators.md", of_page=True
    ),
    "readme": Table("python benchmarks/readme_tables.py", "README.md"),
}
# Results that come from elsewhere.
ELSEWHERE = {
    "coverage.md": "make coverage",
    "compare_hxtorch.md": "the table.md of examples/compare_hxtorch.py, with words about it",
    "training_step_slower_host.md": "of another machine",
}


def hindered(name: str) -> str:
    """Why a table cannot be measured here; empty if it can."""
    if name == "hx_script" and not os.environ.get(HXTORCH_SCRIPT):
        return f"set {HXTORCH_SCRIPT}=PATH/TO/hxtorch/examples/spiking/yinyang.py"
    if name == "gpu" and not Path("/dev/nvidiactl").exists():
        return "needs an NVIDIA card"
    return ""


def write(table: Table) -> bool:
    """Run one program; **returns** whether it succeeded."""
    words = shlex.split(os.path.expandvars(table.command))
    command = [PYTHON if word == "python" else word for word in words]
    # For gpu.sh, which is no Python.
    environment = {**os.environ, "PYTHON": PYTHON}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE if table.of_page else None
    )
    if table.of_page and done.returncode == 0:
        (ROOT / table.page).write_bytes(done.stdout)
    return done.returncode == 0


def main() -> None:
    """Write the tables that the arguments name."""
    parser = argparse.ArgumentParser(description="Write tables of README and docs anew.")
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="which (default: all)")
    parser.add_argument("--list", action="store_true", help="say which there are, and run none")
    own = parser.parse_args()
    unknown = [name for name in own.tables if name not in TABLES]
    if unknown:
        parser.error(f"no table is called {', '.join(unknown)}; there are {', '.join(TABLES)}")
    if own.list:
        for name, table in TABLES.items():
            print(f"{name:<22} {table.page:<50} {table.command}")
        return
    chosen = [name for name in TABLES if name in (own.tables or TABLES)]
    missing = {}
    for number, name in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] {name}: {TABLES[name].command}", flush=True)
        begin, reason = time.monotonic(), hindered(name)
        if not reason and not write(TABLES[name]):
            reason = "failed"
        if reason:
            missing[name] = reason
        print(f"    {reason or 'wrote ' + TABLES[name].page}, {time.monotonic() - begin:.0f} s")
    for name, reason in missing.items():
        print(f"{name} is as it was: {reason}", file=sys.stderr)
    sys.exit(bool(missing))


if __name__ == "__main__":
    main()
