"""Accuracy on the 8x8 digits over seeds, beside networks of torch, snnTorch and Norse.

    python benchmarks/tasks.py                       # twenty minutes on two cores
    python benchmarks/tasks.py --seeds 0 --epochs 2  # to see that it runs

All are trained and tested on the split of ``examples/digits.py``, with Adam and batches of 64: its
models for the epochs that the example takes, those of other libraries, which stand in
``tasks_peers.py``, for as many as the longest of them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tasks_peers import PEERS, train_peer
from timing import described, load

ROOT = Path(__file__).parent.parent
EPOCHS_OF_PEERS = 80
OURS = {
    "lif": "**evtorch**, `examples/digits.py`, one spike per neuron",
    "spikes": "**evtorch**, `--model spikes`, several spikes",
    "conv": "**evtorch**, `--model conv`, a spiking convolution",
    "hybrid": "**evtorch**, `--model hybrid`, behind a convolution",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="(%(default)s)")
    add("--epochs", type=int, help="(the example's for evtorch, 80 for the others)")
    add(
        "--out",
        type=Path,
        default=ROOT / "benchmarks" / "results" / "tasks.md",
        help="file to write (%(default)s)",
    )
    own = parser.parse_args()
    # In turns, so that a change of the machine's load hits all alike.
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in (*OURS, *PEERS)}
    for seed in own.seeds:
        for model in OURS:
            found[model].append(run(model, seed, own.epochs))
        for name in PEERS:
            found[name].append(train_peer(name, seed, own.epochs or EPOCHS_OF_PEERS))
            print(f"{name}, seed {seed}: {found[name][-1][0]:.2%}", flush=True)
    command = " ".join(["python benchmarks/tasks.py", *sys.argv[1:]])
    own.out.write_text(report(found, command))
    print(own.out.read_text())


def report(found: dict[str, list[tuple[float, float]]], command: str) -> str:
    """Accuracies and seconds of all runs, by network, as a Markdown text."""
    rows = []
    for name, results in found.items():
        accuracies = [100 * accuracy for accuracy, _ in results]
        seconds = statistics.median(seconds for _, seconds in results)
        title = OURS.get(name) or PEERS[name].title
        rows.append(
            f"| {title} | {statistics.median(accuracies):.1f} | {min(accuracies):.1f} "
            f"| {' '.join(f'{x:.1f}' for x in accuracies)} | {seconds:.0f} |"
        )
    lines = [
        "# 8x8 digits",
        "",
        f"Written by `{command}`. 1797 images, of which a fixed stratified quarter, 450, is for",
        "the test; accuracies of the weights after the last epoch, in %; the seconds include",
        "compilation, and for evtorch the start of a process, the figure and the files. Load",
        f"averages at the end {load()}. {described('snntorch', 'norse')}.",
        "",
        "| network | median | lowest | by seed | seconds |",
        "|---|---|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def run(model: str, seed: int, epochs: int | None) -> tuple[float, float]:
    """Train in a fresh process; **returns** test accuracy and seconds, compilation included."""
    with tempfile.TemporaryDirectory() as folder:
        example = ROOT / "examples" / "digits.py"
        options = {"model": model, "seed": seed, "out": folder}
        options |= {"epochs": epochs} if epochs else {}
        flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        subprocess.run([sys.executable, str(example), *flags], check=True)
        metrics = json.loads((Path(folder) / "metrics.json").read_text())
    return metrics["test_accuracy"], metrics["seconds"]


if __name__ == "__main__":
    main()
