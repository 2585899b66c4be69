"""What delays are worth in small networks: Yin-Yang, with none, of neurons, and of connections.

    python benchmarks/delays.py                       # a quarter of an hour on two cores
    python benchmarks/delays.py --seeds 0 --epochs 1  # to see that it runs

Each row is `examples/delays.py` with other options; the published figures are DelGrad's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import described, load
from tqdm import tqdm

# Kind of delays, hidden neurons, and the published test accuracy in %.
ROWS = [
    ("none", 30, "96.7"),
    ("axonal", 30, "97.5"),
    ("synaptic", 30, "98.2"),
    ("synaptic", 5, "95.4"),
]
EXAMPLE = Path(__file__).parents[1] / "examples" / "delays.py"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="(%(default)s)")
    add("--epochs", type=int, help="those of the example by default")
    results = Path(__file__).parent / "results"
    add("--out", type=Path, default=results / "delays.md", help="(%(default)s)")
    own = parser.parse_args()
    rows = []
    for kind, hidden, published in tqdm(ROWS, file=sys.stderr):
        found = [run(kind, hidden, seed, own.epochs) for seed in own.seeds]
        accuracies = [100 * one["test_accuracy"] for one in found]
        listed = " ".join(f"{accuracy:.1f}" for accuracy in accuracies)
        seconds = statistics.median(one["seconds"] for one in found)
        rows.append(
            f"| {kind} | {hidden} | {statistics.median(accuracies):.1f} | {listed} | "
            f"{seconds:.0f} | {published} |"
        )
    command = " ".join(["python benchmarks/delays.py", *sys.argv[1:]])
    lines = [
        "# Delays in small networks",
        "",
        f"Written by `{command}`: `examples/delays.py`, Yin-Yang, 5 inputs, 3 outputs, loss on",
        "first spikes; test accuracies after the last epoch in %, of 1000 unseen samples.",
        "Published: Göltz et al. 2025, DelGrad, networks of the same size in simulation.",
        f"Load averages at the end {load()}. {described()}.",
        "",
        f"| delays | hidden | median | seeds {', '.join(map(str, own.seeds))} | s | published |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    own.out.write_text("\n".join(lines) + "\n")
    print(own.out.read_text())


def run(kind: str, hidden: int, seed: int, epochs: int | None) -> dict[str, float]:
    """**Returns** the metrics of one run of the example."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--delays", kind, "--hidden", str(hidden), "--seed", str(seed), "--out", folder]
        if epochs is not None:
            options += ["--epochs", str(epochs)]
        subprocess.run([sys.executable, EXAMPLE, *options], check=True, capture_output=True)
        return json.loads((Path(folder) / "metrics.json").read_text())


if __name__ == "__main__":
    main()
