"""Accuracy of the Yin-Yang example over seeds: run it for each, and write a table.

    python benchmarks/yinyang.py                       # ten minutes on two cores
    python benchmarks/yinyang.py --seeds 0 --epochs 5  # to see that it runs

Arguments that are not this program's own go to ``examples/yinyang.py``.
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="(%(default)s)")
    add(
        "--out",
        type=Path,
        default=ROOT / "benchmarks" / "results" / "yinyang_accuracy.md",
        help="file to write (%(default)s)",
    )
    own, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [run(seed, others, Path(folder)) for seed in own.seeds]
    command = " ".join(["python benchmarks/yinyang.py", *sys.argv[1:]])
    own.out.parent.mkdir(parents=True, exist_ok=True)
    own.out.write_text(report(runs, command))
    print(own.out.read_text())


def run(seed: int, options: list[str], folder: Path) -> dict[str, Any]:
    """Train in a fresh process; **returns** its metrics."""
    example = ROOT / "examples" / "yinyang.py"
    command = [sys.executable, str(example), "--seed", str(seed), "--out", str(folder), *options]
    subprocess.run(command, check=True)
    return json.loads((folder / "metrics.json").read_text())


def report(runs: list[dict[str, Any]], command: str) -> str:
    """Metrics of all runs as a Markdown text."""
    tests = [100 * metrics["test_accuracy"] for metrics in runs]
    settings = dict(runs[0]["settings"])
    del settings["seed"]
    rows = [
        f"| {metrics['settings']['seed']} | {100 * metrics['test_accuracy']:.1f} "
        f"| {100 * metrics['training_accuracy']:.2f} | {metrics['seconds_per_epoch']:.2f} "
        f"| {metrics['compile_seconds']:.1f} |"
        for metrics in runs
    ]
    lines = [
        "# Yin-Yang: accuracy over seeds",
        "",
        f"Written by `{command}`. The seed sets training and test data, initial weights, and the",
        "order of the samples. The accuracy is that of the weights after the last epoch; settings",
        "were chosen with other seeds. Load averages of the machine during the last run, which the",
        f"times depend on: {load()}.",
        "",
        f"**Test accuracy: median {statistics.median(tests):.1f} %, lowest {min(tests):.1f} %, "
        f"highest {max(tests):.1f} %.**",
        "",
        "| seed | test accuracy, % | training accuracy, % | seconds per epoch | compilation, s |",
        "| --- | --- | --- | --- | --- |",
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
