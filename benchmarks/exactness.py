"""First spikes of one layer: how wrong they are, and what a step costs, beside other libraries.

    pip install 'evtorch[peers]'
    python benchmarks/exactness.py

writes `results/exactness.md` and `results/exactness.png`. Every row is a process of its own on one
core; libraries that are not installed are left out, and named.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from apart import in_process, installed, median_seconds, peak_memory, pin, seconds_of
from exactness_contenders import CONTENDERS, GRIDS
from exactness_task import BATCH, INPUTS, NEURONS, T_MAX, TAU_MEM, TAU_SYN, make_task, reference
from timing import described, load
from tqdm import tqdm

SECONDS = 2.0
"""For so long a step is repeated, at least twice."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=CONTENDERS, metavar="NAME", help="rows, by their names")
    add("--out", type=Path, default=Path(__file__).parent / "results" / "exactness.md")
    add("--probe", choices=CONTENDERS, metavar="NAME", help="one row, as JSON")
    own = parser.parse_args()
    if own.probe:
        print(json.dumps(probe(own.probe)))
        return
    before = load()
    wanted = own.only or list(CONTENDERS)
    missing = sorted({CONTENDERS[name][0] for name in wanted if not installed(CONTENDERS[name][0])})
    rows: dict[str, dict[str, float]] = {}
    for name in tqdm(wanted, file=sys.stderr):
        if CONTENDERS[name][0] not in missing:
            rows[name] = in_process(__file__, name)
    own.out.write_text(report(rows, missing, before))
    draw(rows, own.out.with_suffix(".png"))
    print(own.out.read_text())


def probe(name: str) -> dict[str, float]:
    """Seconds, MiB and errors of one row; to be called in a process of its own."""
    pin()
    torch.set_num_threads(1)
    package, make = CONTENDERS[name]
    task = make_task()
    layer = make(task)
    peak = peak_memory()
    first = seconds_of(layer.step)
    step = median_seconds(layer.step, SECONDS, least=2)
    memory = peak_memory() - peak
    return {
        "step": step,
        "compile": max(first - step, 0),
        "memory": memory,
        **errors(layer.first(), reference(task), package in GRIDS, name),
    }


def errors(found: np.ndarray, true: np.ndarray, on_grid: bool, name: str) -> dict[str, float]:
    """How far first spikes are off. What has steps gets the best of three conventions: a spike is
    at the begin, in the middle or at the end of its step."""
    both = np.isfinite(found) & np.isfinite(true)
    offsets = [0.0]
    if on_grid:
        dt = 1e-3 * float(name.split()[-2])
        offsets = [0.0, 0.5 * dt, dt]
    late = found[both] - true[both]
    apart = min((np.abs(late + o) for o in offsets), key=lambda x: float(np.median(x)))
    return {
        "median error": float(np.median(apart)),
        "largest error": float(np.max(apart)),
        "other": float(np.sum(np.isfinite(found) != np.isfinite(true))),
    }


def report(rows: dict[str, dict[str, float]], missing: list[str], before: str) -> str:
    packages = {CONTENDERS[name][0] for name in rows}
    lines = [
        "# First spikes: error and cost",
        "",
        "Written by `python benchmarks/exactness.py`. One layer of",
        f"{NEURONS} neurons (`tau_mem` {1e3 * TAU_MEM:g} ms, `tau_syn` {1e3 * TAU_SYN:g} ms, "
        f"{1e3 * T_MAX:g} ms), {INPUTS} inputs that spike once,",
        f"{BATCH} samples. Errors against a simulation in float64 with NumPy and brentq; of clock-",
        "driven libraries, a spike is at the begin, in the middle or at the end of its step,",
        "whichever suits it best. A step is forward and gradients of the weights, processor time",
        "on one core; compile time is that of the first step less a later one; memory is the",
        "growth of the peak resident set. evtorch, jaxsnn, eventax, exact-event-adjoint and",
        "exact-snn-nn have exact gradients of spike times, the others surrogate ones. Errors are",
        "those of neurons that spike in both; how many do in one of the two only is counted.",
        f"Load averages before {before}. {described(*sorted(packages - {'evtorch'}))}.",
        "",
    ]
    if missing:
        lines += [f"Not installed, so without a row: {', '.join(missing)}.", ""]
    lines += [
        "| library | median error, s | largest error, s | spike in one only | step, ms | "
        "compile, s | memory, MiB |",
        "|" + "---|" * 7,
    ]
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['median error']:.1e} | {row['largest error']:.1e} | "
            f"{row['other']:.0f} of {BATCH * NEURONS} | {1e3 * row['step']:.3g} | "
            f"{row['compile']:.2g} | {row['memory']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def draw(rows: dict[str, dict[str, float]], path: Path) -> None:
    """Error over time per step, a line for each library."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6, 4))
    for package in dict.fromkeys(CONTENDERS[name][0] for name in rows):
        own = [row for name, row in rows.items() if CONTENDERS[name][0] == package]
        ax.plot(
            [1e3 * row["step"] for row in own],
            [row["median error"] for row in own],
            marker="*" if package == "evtorch" else "o",
            markersize=12 if package == "evtorch" else 6,
            label=package,
        )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="forward and gradients, ms",
        ylabel="median error of first spikes, s",
    )
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
