"""Accuracies of the hardware-in-the-loop example: run it, and write its table.

    python benchmarks/hardware_in_the_loop.py              # about ten minutes on two cores
    python benchmarks/hardware_in_the_loop.py --chips 1 --epochs 1 --chip-epochs 1

Arguments that are not this program's own go to ``examples/hardware_in_the_loop.py``.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from timing import described, load

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--runs",
        type=Path,
        default=ROOT / "runs" / "hardware_in_the_loop",
        help="folder for what the example writes (%(default)s)",
    )
    add(
        "--out",
        type=Path,
        default=ROOT / "benchmarks" / "results" / "hardware_in_the_loop.md",
        help="file to write (%(default)s)",
    )
    own, others = parser.parse_known_args()
    example = ROOT / "examples" / "hardware_in_the_loop.py"
    before = load()
    subprocess.run([sys.executable, str(example), "--out", str(own.runs), *others], check=True)
    metrics = json.loads((own.runs / "metrics.json").read_text())
    command = " ".join(["python benchmarks/hardware_in_the_loop.py", *sys.argv[1:]])
    text = report(metrics, (own.runs / "table.md").read_text(), command, before)
    own.out.parent.mkdir(parents=True, exist_ok=True)
    own.out.write_text(text)
    print(text)


def report(metrics: dict[str, Any], table: str, command: str, load_before: str) -> str:
    """The example's table and what it depends on, as a Markdown text."""
    settings = metrics["settings"]
    spread = ", ".join(
        f"{quantity} {before:.1%} before and {after:.1%} after"
        for quantity, (before, after) in metrics["spread"].items()
    )
    lines = [
        "# In-the-loop training on mock BrainScaleS-2 chips: Yin-Yang",
        "",
        f"Written by `{command}`. Test accuracies after the last epoch:",
        f"the median over {settings['chips']} chips and, in brackets, that of each chip, on "
        f"{settings['test_size']} samples used for nothing",
        "else. Settings were chosen with another seed and other chips. No real chip was used.",
        "",
        table.rstrip(),
        "",
        f"Spread of the first network's neurons on chip 0, as measured: {spread}.",
        "",
        "Settings: " + ", ".join(f"{name} {value}" for name, value in settings.items()) + ".",
        "",
        f"It took {metrics['seconds'] / 60:.0f} minutes. Load averages of the machine before "
        f"{load_before}, after {load()}.",
        "",
        f"Machine: {described()}.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
