"""Time a Yin-Yang training step of evtorch and of jaxsnn, in one run; write the results to files.

README.md beside this file says what is measured and how.
"""

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import task as t
import torch
from contender import Contender
from evtorch_contenders import compiled_contender, jax_contender, torch_contender
from jaxsnn_contenders import jaxsnn_contender
from report import write_report
from timing import load, machine, measure

CONTENDERS: dict[str, Callable[[t.Task], Contender]] = {
    "evtorch": torch_contender,
    "evtorch_compiled": compiled_contender,
    "evtorch_jax": jax_contender,
    "evtorch_repeated": lambda task: torch_contender(task, t.DUPLICATION),
    "jaxsnn": jaxsnn_contender,
    "jaxsnn_single": lambda task: jaxsnn_contender(task, 1),
}
SCALED = ("evtorch", "evtorch_jax", "jaxsnn")
HIDDEN_SIZES = (50, 100, 200, 400, 800)


def main() -> None:
    arguments = _parser().parse_args()
    # What docs/torch_api.md recommends for small layers; jaxsnn does without torch.
    torch.set_num_threads(1)
    if arguments.probe:
        print(json.dumps(_probe(arguments.probe, arguments.hidden)))
        return
    rounds, scaling_rounds = (3, 1) if arguments.quick else (30, 7)
    results: dict[str, Any] = {"machine": machine(), "load before": load()}
    print("training step and forward pass, hidden size 100")
    results["steps"] = _compare(list(CONTENDERS), 100, rounds)
    print("compile time and memory, in fresh processes")
    results["fresh processes"] = {name: _probe_in_process(name, 100) for name in CONTENDERS}
    results["scaling"] = {}
    for hidden in HIDDEN_SIZES:
        print(f"scaling, hidden size {hidden}")
        results["scaling"][hidden] = _compare(list(SCALED), hidden, scaling_rounds)
    results["load after"] = load()
    print(write_report(results, arguments.out))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few repeats: see that it runs")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "results",
        help="folder for training_step.md and training_step.json (default: %(default)s)",
    )
    parser.add_argument("--probe", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--hidden", type=int, default=100, help=argparse.SUPPRESS)
    return parser


def _compare(names: list[str], hidden: int, rounds: int) -> dict[str, Any]:
    """Time forward and training step of the named contenders on one task."""
    task = t.make_task(hidden)
    contenders = {name: CONTENDERS[name](task) for name in names}
    first_spikes = {name: contender.forward(0) for name, contender in contenders.items()}
    forward = measure({n: c.forward for n, c in contenders.items()}, task.batches, rounds)
    train = measure({n: c.train_step for n, c in contenders.items()}, task.batches, rounds)
    return {
        name: {
            "name": contender.name,
            "train step": train[name]._asdict(),
            "forward": forward[name]._asdict(),
            "agreement": _agreement(first_spikes[name], first_spikes[names[0]]),
        }
        for name, contender in contenders.items()
    }


def _agreement(times: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """Compare first spike times of two contenders that simulate the same network."""
    both = np.isfinite(times) & np.isfinite(reference)
    apart = np.abs(times - reference, where=both, out=np.zeros_like(times))
    return {
        "spikes only one has": int((np.isfinite(times) != np.isfinite(reference)).sum()),
        "largest difference in tau_syn": float(apart.max() / t.TAU_SYN),
    }


def _probe_in_process(name: str, hidden: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--probe", name, "--hidden", str(hidden)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _probe(name: str, hidden: int) -> dict[str, float]:
    """Take the first training steps of this process; memory in MiB is that above the imports'."""
    contender = CONTENDERS[name](t.make_task(hidden))
    memory_before = _peak_memory()
    seconds = []
    for i in range(6):
        begin = time.perf_counter()
        contender.train_step(i)
        seconds.append(time.perf_counter() - begin)
    return {
        "compile seconds": seconds[0] - float(np.median(seconds[2:])),
        "second step seconds": seconds[1],
        "memory": _peak_memory() - memory_before,
    }


def _peak_memory() -> float:
    """Peak resident set of this process in MiB; NaN where the system does not tell."""
    # Not getrusage: its peak is that of the parent process when the child is started.
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 2**10 for line in lines if "VmHWM" in line), math.nan)


if __name__ == "__main__":
    main()
