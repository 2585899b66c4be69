"""What a second process is worth: training steps of one process, and of two with half the batch.

    python benchmarks/processes.py           # ten minutes
    python benchmarks/processes.py --quick   # one small network, to see that it runs

writes results/processes.md.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timing import described, load
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from evtorch import torch_api as snn

WARM_UP = 5


class Case(NamedTuple):
    """A network, and the samples of a step of all processes together."""

    sizes: tuple[int, ...]
    batch: int
    kind: str
    """``once``: neurons spike once; ``several``; ``recurrent``: several, in a recurrent layer."""
    steps: int
    """That are timed, of each process in each round."""


CASES = [
    Case((5, 100, 3), 64, "once", 200),
    Case((5, 100, 3), 512, "once", 100),
    Case((100, 200, 10), 128, "several", 20),
    Case((100, 200, 10), 128, "recurrent", 10),
]
QUICK = [Case((5, 20, 3), 16, "once", 5)]
SETUPS = {
    "one process, one core": [(0,)],
    "one process, two cores": [(0, 1)],
    "two processes, one core each": [(0,), (1,)],
}
"""Which cores each process has."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one small network")
    add("--rounds", type=int, default=3, help="turns of each setup (default: 3)")
    results = Path(__file__).parent / "results"
    add("--out", type=Path, default=results / "processes.md", help="(%(default)s)")
    add("--worker", nargs=4, metavar=("CASE", "RANK", "PROCESSES", "STORE"), help="one of them")
    own = parser.parse_args()
    if own.worker:
        case, rank, processes, store = own.worker
        sizes, *others = json.loads(case)
        case = Case(tuple(sizes), *others)
        print(json.dumps(step_times(case, int(rank), int(processes), store)))
        return
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two cores are needed, one for each process")
    before = load()
    cases, rounds = (QUICK, 1) if own.quick else (CASES, own.rounds)
    rows = [row(case, rounds) for case in tqdm(cases, file=sys.stderr)]
    lines = [
        "# Two processes",
        "",
        f"Written by `{' '.join(['python benchmarks/processes.py', *sys.argv[1:]])}`:",
        "forward, backward and Adam, float32, torch with one thread;",
        f"medians over {rounds} turns, in each of which every setup has fresh processes, with",
        "quartiles, ms. Two processes are `DistributedDataParallel` over gloo with half of the",
        "batch each; how many times faster than one with one core, by medians, and by the fastest",
        "steps, which other load on the machine touches least.",
        f"Load averages before {before}, after {load()}. {described()}.",
        "",
        f"| network | batch | {' | '.join(SETUPS)} | two processes, times faster |",
        "|" + "---|" * (3 + len(SETUPS)),
        *rows,
    ]
    own.out.write_text("\n".join(lines) + "\n")
    print(own.out.read_text())


def row(case: Case, rounds: int) -> str:
    """A line of the table."""
    seconds: dict[str, list[float]] = {name: [] for name in SETUPS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            for number, (name, cores) in enumerate(SETUPS.items()):
                seconds[name] += in_processes(case, cores, Path(folder), f"{turn}-{number}")
    one, *_, two = seconds.values()
    faster = [summary(one) / summary(two) for summary in (statistics.median, min)]
    shown = " | ".join(map(described_times, seconds.values()))
    name = "-".join(map(str, case.sizes))
    kind = {"once": "", "several": ", several spikes", "recurrent": ", recurrent"}[case.kind]
    return f"| {name}{kind} | {case.batch} | {shown} | {faster[0]:.2f}, {faster[1]:.2f} |"


def described_times(seconds: list[float]) -> str:
    low, middle, high = (1e3 * x for x in statistics.quantiles(seconds, n=4))
    return f"{middle:.2f} ({low:.2f} - {high:.2f})"


def in_processes(case: Case, cores: list[tuple[int, ...]], folder: Path, name: str) -> list[float]:
    """Seconds of the first process's steps."""
    there = sorted(os.sched_getaffinity(0))
    # XLA's threads follow the cores that a process has when it begins.
    started = [
        subprocess.Popen(
            [
                *(sys.executable, __file__, "--worker", json.dumps(case), str(rank)),
                *(str(len(cores)), str(folder / name)),
            ],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")},
            preexec_fn=partial(os.sched_setaffinity, 0, [there[core] for core in own]),
        )
        for rank, own in enumerate(cores)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"a process of {case} failed")
    return json.loads(outputs[0].splitlines()[-1])


def step_times(case: Case, rank: int, processes: int, store: str) -> list[float]:
    """Seconds of each step, in one of so many processes that meet at a file."""
    torch.set_num_threads(1)
    if processes > 1:
        distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=processes)
    run = training(case, rank, processes)
    for _ in range(WARM_UP):
        run()
    seconds = []
    for _ in range(case.steps):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    if processes > 1:
        distributed.destroy_process_group()
    return seconds


def training(case: Case, rank: int, processes: int) -> Callable[[], None]:
    """A training step on a share of the batch that leaves the weights as they are."""
    torch.manual_seed(0)
    several: Any = {"max_spikes": 16, "t_max": 0.05, "on_overflow": "truncate"}
    once: Any = {"refractory": math.inf}
    first, *others = pairwise(case.sizes)
    kind = snn.RecurrentLIF if case.kind == "recurrent" else snn.LIF
    hidden = kind(*first, **(once if case.kind == "once" else several))
    model = nn.Sequential(hidden, *(snn.LIF(*sizes, **once) for sizes in others))
    spikes = (torch.rand(case.batch, case.sizes[0], 1) * 2e-2)[rank::processes]
    trained = DistributedDataParallel(model) if processes > 1 else model
    optimiser = torch.optim.Adam(model.parameters(), lr=0.0)

    def run() -> None:
        optimiser.zero_grad()
        out = trained(spikes)
        torch.where(out.isfinite(), out, 0).mean().backward()
        optimiser.step()

    return run


if __name__ == "__main__":
    main()
