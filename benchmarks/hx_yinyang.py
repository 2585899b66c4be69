"""Accuracy of the script in hxtorch's style over seeds: run it for each, and write a table.

    python benchmarks/hx_yinyang.py                                   # 25 minutes on two cores
    python benchmarks/hx_yinyang.py --seeds 0 --long-seeds 0 --long-epochs 5

Arguments that are not this program's own go to ``examples/hx_yinyang.py``.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from timing import described, load

ROOT = Path(__file__).parent.parent
NAMES = {"event": "events, exact gradient", "euler": "time grid of 1 µs, surrogate gradient"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="(%(default)s)")
    add("--long-seeds", type=int, nargs="+", default=[0, 1, 2], help="(%(default)s)")
    add("--epochs", type=int, default=5, help="of both engines (%(default)s)")
    add("--long-epochs", type=int, default=50, help="of the event engine (%(default)s)")
    add(
        "--out",
        type=Path,
        default=ROOT / "benchmarks" / "results" / "hx_yinyang.md",
        help="file to write (%(default)s)",
    )
    own, others = parser.parse_known_args()
    plan = [
        ("euler", own.epochs, own.seeds),
        ("event", own.epochs, own.seeds),
        ("event", own.long_epochs, own.long_seeds),
    ]
    groups = []
    with tempfile.TemporaryDirectory() as folder:
        for engine, epochs, seeds in plan:
            options = ["--engine", engine, "--epochs", str(epochs), *others]
            groups.append([run(seed, options, Path(folder)) for seed in seeds])
    command = " ".join(["python benchmarks/hx_yinyang.py", *sys.argv[1:]])
    own.out.parent.mkdir(parents=True, exist_ok=True)
    own.out.write_text(report(groups, command))
    print(own.out.read_text())


def run(seed: int, options: list[str], folder: Path) -> dict[str, Any]:
    """Train in a fresh process; **returns** its metrics."""
    example = ROOT / "examples" / "hx_yinyang.py"
    command = [sys.executable, str(example), "--seed", str(seed), "--out", str(folder), *options]
    subprocess.run(command, check=True)
    return json.loads((folder / "metrics.json").read_text())


def report(groups: list[list[dict[str, Any]]], command: str) -> str:
    """Metrics of all runs as a Markdown text."""
    rows = []
    for runs in groups:
        found = [100 * metrics["test_accuracy"] for metrics in runs]
        settings = runs[0]["settings"]
        seconds = statistics.median(metrics["seconds_per_epoch"] for metrics in runs)
        rows.append(
            f"| {NAMES[settings['engine']]} | {settings['epochs']} "
            f"| **{statistics.median(found):.1f}** | {min(found):.1f} "
            f"| {', '.join(f'{value:.1f}' for value in found)} | {seconds:.1f} |"
        )
    settings = dict(groups[0][0]["settings"])
    for name in ("engine", "epochs", "seed", "out"):
        del settings[name]
    lines = [
        "# Yin-Yang in hxtorch's style: accuracy over seeds",
        "",
        f"Written by `{command}`: `examples/hx_yinyang.py` with both engines, 5 inputs,",
        "hidden LIF neurons, the highest voltage of three leaky integrators as the answer. Test",
        "accuracy after the last epoch, on 1000 samples used for nothing else; the seed sets",
        "initial weights and the order of the samples. Settings were chosen with other seeds and",
        "other data. Load averages of the machine during the last run, which the times depend on:",
        f"{load()}.",
        "",
        "| engine | epochs | median, % | lowest, % | by seed, % | seconds per epoch |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "Settings: " + ", ".join(f"{name} {value}" for name, value in settings.items()) + ".",
        "",
        f"Machine: {described()}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
