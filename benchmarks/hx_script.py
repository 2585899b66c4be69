"""Accuracy of hxtorch's own Yin-Yang example, unmodified, on both engines, over seeds.

    python benchmarks/hx_script.py PATH/TO/yinyang.py        # 2 minutes on two cores
    python benchmarks/hx_script.py yinyang.py --seeds 0 --epochs 1

The script, ``hxtorch/examples/spiking/yinyang.py`` of hxtorch's repository, is not part of this
one. It runs under ``hx.compat.install`` with the arguments of hxtorch's test of it (mock mode).
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from timing import described, load

from evtorch.torch_api import hx

ROOT = Path(__file__).parent.parent
ARGUMENTS = """
--mock --alpha=150 --batch-size=50 --dt=1e-6 --gamma=0.9 --lr=0.002 --n-hidden=120
--readout-scaling=1 --reg-readout=0.0004 --step-size=10 --tau-mem=6e-6 --tau-syn=6e-6
--testset-size=1000 --trainset-size=5000 --t-bias=2e-6 --t-early=2e-6 --t-late=26e-6
--t-sim=38e-6 --t-shift=0 --trace-scale=0.0147 --weight-scale=70 --weight-init-hidden-mean=0.8
--weight-init-hidden-std=0.25 --weight-init-out-mean=0 --weight-init-out-std=0.1
"""
NAMES: dict[tuple[Literal["event", "euler"], str], str] = {
    ("euler", "surrogate_gradient"): "time grid, surrogate gradient (default of `install`)",
    ("euler", "eventprop"): "time grid, hxtorch's EventProp",
    ("event", "surrogate_gradient"): 'events, exact gradient (`engine="event"`)',
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("script", type=Path, help="hxtorch's yinyang.py")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="(%(default)s)")
    add("--epochs", type=int, default=5, help="(%(default)s)")
    add(
        "--out",
        type=Path,
        default=ROOT / "benchmarks" / "results" / "hx_script.md",
        help="file to write (%(default)s)",
    )
    own = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for engine, estimator in NAMES:
        hx.compat.install(engine=engine)
        script = load_script(own.script)
        found = [run(script, estimator, seed, own.epochs) for seed in own.seeds]
        hx.compat.uninstall()
        rows.append(row(NAMES[engine, estimator], *zip(*found, strict=True)))
    own.out.parent.mkdir(parents=True, exist_ok=True)
    own.out.write_text(report(rows, own.epochs))
    print(own.out.read_text())


def load_script(path: Path) -> ModuleType:
    """The script as a module; it imports hxtorch."""
    spec = importlib.util.spec_from_file_location("yinyang", path)
    if spec is None or spec.loader is None or not path.is_file():
        sys.exit(f"script: {path} is no Python file; take hxtorch's examples/spiking/yinyang.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(script: Any, estimator: str, seed: int, epochs: int) -> tuple[float, float]:
    """Train once; **returns** the last test accuracy in per cent, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        options = [
            *ARGUMENTS.split(),
            f"--seed={seed}",
            f"--epochs={epochs}",
            f"--gradient-estimator={estimator}",
            f"--plot-path={folder}/plot.png",
        ]
        start = time.perf_counter()
        *_, accuracies = script.main(script.get_parser().parse_args(options))
    return 100 * float(accuracies[-1]), time.perf_counter() - start


def row(name: str, found: tuple[float, ...], seconds: tuple[float, ...]) -> str:
    return (
        f"| {name} | **{statistics.median(found):.1f}** | {min(found):.1f} "
        f"| {', '.join(f'{value:.1f}' for value in found)} | {statistics.median(seconds):.0f} |"
    )


def report(rows: list[str], epochs: int) -> str:
    """The table as a Markdown text."""
    lines = [
        "# hxtorch's own Yin-Yang example, unmodified",
        "",
        "Written by `python benchmarks/hx_script.py`: the script as hxtorch has it, run under",
        "`hx.compat.install(engine=...)` in mock mode with the arguments of hxtorch's own test,",
        f"which asks for more than 84 % after 5 epochs; here {epochs}. Test accuracy in per cent",
        "on 1000 samples, as the script reports it. Load averages of the machine during the last",
        f"run, which the times depend on: {load()}.",
        "",
        "| simulated on | median, % | lowest, % | by seed, % | seconds per run |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Arguments: `" + " ".join(ARGUMENTS.split()) + "`.",
        "",
        f"Machine: {described()}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
