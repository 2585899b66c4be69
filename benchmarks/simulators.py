"""Networks of excitatory and inhibitory neurons in evtorch, NEST and Brian 2: time and error.

    make pynn
    python benchmarks/simulators.py

writes results/simulators.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from apart import pin
from simulators_task import APART, STEP, T_MAX, Network, compare, network
from timing import described, load
from tqdm import tqdm

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("EVTORCH_PYNN_PYTHON", HERE.parent / ".venv-pynn/bin/python"))
OUT = HERE / "results" / "simulators.md"
SIZES = 100, 300, 1000, 2000
ROOM = 64


class Row(NamedTuple):
    """A simulator and its settings."""

    name: str
    script: str
    settings: dict[str, Any]
    on_clock: bool = False

    @property
    def python(self) -> str:
        """The interpreter whose environment has it."""
        return sys.executable if self.script == "in_evtorch.py" else str(PYTHON)

    @property
    def shifts(self) -> tuple[float, ...]:
        """Spikes on a clock may be at the begin, in the middle or at the end of their step."""
        step = self.settings.get("resolution", STEP)
        return tuple(step * x for x in (-1, -0.5, 0, 0.5, 1)) if self.on_clock else (0.0,)


def in_nest(model: str, milliseconds: float, on_clock: bool = False) -> Row:
    settings = {"model": model, "resolution": 1e-3 * milliseconds}
    return Row(f"NEST, `{model}`, {milliseconds} ms", "in_nest.py", settings, on_clock)


def in_brian2(milliseconds: float) -> Row:
    settings = {"resolution": 1e-3 * milliseconds, "target": "cython"}
    return Row(f"Brian 2, {milliseconds} ms", "in_brian2.py", settings, on_clock=True)


ROWS = [
    Row("evtorch, float64", "in_evtorch.py", {"dtype": "float64", "max_spikes": ROOM}),
    Row("evtorch, float32", "in_evtorch.py", {"dtype": "float32", "max_spikes": ROOM}),
    in_nest("iaf_psc_exp_ps_lossless", 0.1),
    in_nest("iaf_psc_exp_ps", 0.1),
    in_nest("iaf_psc_exp", 0.1, on_clock=True),
    in_nest("iaf_psc_exp", 0.01, on_clock=True),
    in_brian2(0.1),
    in_brian2(0.01),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="processes of each (default: 3)")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="neurons")
    parser.add_argument("--out", type=Path, default=OUT, help="table (results/simulators.md)")
    own = parser.parse_args()
    if not PYTHON.exists():
        parser.error(f"there is no {PYTHON}, which has NEST and Brian 2: make pynn")
    pin()
    before, tables = load(), []
    with TemporaryDirectory() as folder:
        cold = run(ROWS[-1], network(min(own.sizes)), Path(folder))
        for size in tqdm(own.sizes, file=sys.stderr):
            tables += [f"## {size} neurons", "", *table(size, own.repeats, Path(folder)), ""]
    versions = subprocess.run(
        [PYTHON, "-m", "pip", "freeze"], capture_output=True, text=True, check=True
    ).stdout.split()
    others = [x for x in versions if x.lower().startswith(("nest-", "brian2", "numpy", "cython"))]
    lines = [
        *heading(prepared(cold)),
        f"Load averages before {before}, at the end {load()}. {described()}; "
        f"NEST and Brian 2 with {', '.join(others)}.",
        "",
        *tables,
    ]
    own.out.write_text("\n".join(lines).rstrip("\n") + "\n")
    print(own.out.read_text())


def heading(cold: float) -> list[str]:
    return [
        "# Networks of excitatory and inhibitory neurons, in three simulators",
        "",
        "Written by `python benchmarks/simulators.py`.",
        f"{T_MAX} s of networks whose neurons, four fifths of them excitatory, are connected to a",
        "tenth of the others, with delays from 1 to 3 ms, and get a tenth of 200 Poisson inputs",
        "of 20 Hz. Each in a process of its own, all on one core, in turns; medians. A run is that",
        "of a network that is built and compiled. Preparing is building, and for evtorch compiling",
        f"its program; that Brian 2 has compiled code once, which took {cold:.0f} s, is not in it.",
        "",
        "Errors are those beside evtorch in float64, of spikes until rasters part: the first spike",
        f"that is {1e3 * APART:g} ms off the same one of the same neuron, or missing, or too many.",
        "These networks are chaotic, so errors grow until then. Of simulators with a clock, input",
        "spikes are moved to its nearest step, and spikes are at the begin, in the middle or",
        "at the end of theirs, whichever suits them best.",
        "",
    ]


def table(size: int, repeats: int, folder: Path) -> list[str]:
    """The lines of a table for one network."""
    task = network(size)
    found: list[list[Network]] = [[] for _ in ROWS]
    for _ in range(repeats):
        for row, runs in zip(ROWS, found, strict=True):
            runs.append(run(row, task, folder))
    lines = [
        "| simulator | run, processor s | run, wall s | prepare, s | spikes | rasters part, s | "
        "median error, s | largest error, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, runs in zip(ROWS, found, strict=True):
        wall, processor = np.median([x["run_seconds"] for x in runs], axis=0)
        errors = compare(runs[0], found[0][0], row.shifts)
        cells = [
            row.name,
            *(f"{x:.2g}" for x in (processor, wall, statistics.median(map(prepared, runs)))),
            str(len(runs[0]["time"])),
            f"{errors.part:.3f}" if errors.part < T_MAX else "never",
            *(f"{x:.1e}" if row is not ROWS[0] else "-" for x in (errors.median, errors.largest)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def prepared(found: Network) -> float:
    """Seconds of building and compiling."""
    return float(found["build_seconds"] + found.get("compile_seconds", 0.0))


def run(row: Row, task: Network, folder: Path) -> Network:
    """What a simulator finds, in a process of its own."""
    given, written = folder / "network.npz", folder / "spikes.npz"
    np.savez(given, **{**task, **row.settings, "cache": str(folder / "cython")})
    command = [row.python, str(HERE / row.script), str(given), str(written)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{row.name} failed:\n{done.stderr}")
    with np.load(written) as found:
        return dict(found)


if __name__ == "__main__":
    main()
