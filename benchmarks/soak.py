"""Ten thousand training steps in one process: memory, time, and gradients, at intervals.

    python benchmarks/soak.py               # one to three minutes on two cores
    python benchmarks/soak.py --steps 100   # to see that it runs

writes results/soak.md. Each way of training has a process of its own, on one core. Where an
interval ends, weights, optimiser and what the next step makes of them are kept, and a fresh process
then has to find the same gradients and the same weights after that step, bit by bit; the exit
status says whether it did.
"""

import argparse
import copy
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from apart import in_process, pin, seconds_of
from timing import described, load
from torch import Tensor, nn

from evtorch import bridge
from evtorch import torch_api as snn

BATCH, BATCHES, HIDDEN = 64, 100, 50
WAYS = {"loop": "torch's loop", "compiled": "`bridge.compile_step`"}


class Training(NamedTuple):
    """A network, its optimiser, and what a step and a backward pass on batch ``i`` are."""

    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    step: Callable[[int], Tensor]
    backward: Callable[[int], Tensor]


def training(way: str, seed: int = 0, dtype: torch.dtype = torch.float32) -> Training:
    """LIF and LI on Yin-Yang, from the same weights each time that the seed is the same."""
    torch.manual_seed(seed)
    data = snn.datasets.YinYang(BATCH * BATCHES, seed=seed)
    values = data.values.to(dtype).split(BATCH)
    batches = list(zip(values, data.classes.split(BATCH), strict=True))
    model = nn.Sequential(
        snn.LatencyEncoder(t_early=0.0, t_late=2e-2, bias=0.0),
        snn.LIF(5, HIDDEN, tau_mem=2e-2, tau_syn=1e-2, refractory=math.inf),
        snn.LI(HIDDEN, 3, tau_mem=2e-2, tau_syn=1e-2, readout="max"),
    ).to(dtype)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    compiled = bridge.compile_step(model, nn.functional.cross_entropy, optimizer)

    def backward(i: int) -> Tensor:
        values, classes = batches[i % BATCHES]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(values), classes)
        loss.backward()
        return loss.detach()

    def in_loop(i: int) -> Tensor:
        loss = backward(i)
        optimizer.step()
        return loss

    def at_once(i: int) -> Tensor:
        return compiled(*batches[i % BATCHES])

    return Training(model, optimizer, {"loop": in_loop, "compiled": at_once}[way], backward)


def next_step(of: Training, i: int) -> dict[str, Any]:
    """Gradients on batch ``i``, and the weights after a step on it."""
    of.backward(i)
    gradients = {
        name: p.grad.clone() for name, p in of.model.named_parameters() if p.grad is not None
    }
    of.step(i)
    return {"gradients": gradients, "weights": copy.deepcopy(of.model.state_dict())}


def train(way: str, steps: int, intervals: int, folder: Path) -> list[dict[str, Any]]:
    """Train, and keep what a fresh process is to find; **returns** a row for each interval."""
    own, rows, done = training(way), [], 0
    for k in range(1, intervals + 1):
        losses, seconds = [], []
        for i in range(done, done := steps * k // intervals):
            seconds.append(seconds_of(lambda i=i, losses=losses: losses.append(own.step(i))))
        before = copy.deepcopy((own.model.state_dict(), own.optimizer.state_dict()))
        after = next_step(own, done)
        torch.save({"before": before, "batch": done, "after": after}, folder / f"{k}.pt")
        finite = all(bool(g.isfinite().all()) for g in after["gradients"].values())
        rows.append(
            {
                "steps": done,
                "resident": resident(),
                "maps": len(Path("/proc/self/maps").read_text().splitlines()),
                "ms": 1e3 * statistics.median(seconds),
                "loss": torch.stack(losses).mean().item(),
                "finite": finite,
            }
        )
    return rows


def again(way: str, folder: Path) -> dict[str, list[str]]:
    """What is other here than it was there, by interval."""
    own, different = training(way), {}
    for path in folder.glob("*.pt"):
        kept = torch.load(path, weights_only=True)
        own.model.load_state_dict(kept["before"][0])
        own.optimizer.load_state_dict(kept["before"][1])
        found = next_step(own, kept["batch"])
        different[path.stem] = [
            f"{what} of {name}"
            for what, tensors in kept["after"].items()
            for name, tensor in tensors.items()
            if not torch.equal(tensor, found[what][name])
        ]
    return different


def resident() -> float:
    """Memory of this process, MiB."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 2**10


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Markdown, and what grew over the second half: the first one fills caches."""
    lines = [
        "| steps | resident memory, MiB | memory maps | step, ms | loss | finite | as fresh |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        yes = ["yes" if row[what] else "**no**" for what in ("finite", "same")]
        lines.append(
            f"| {row['steps']} | {row['resident']:.1f} | {row['maps']} | {row['ms']:.2f} | "
            f"{row['loss']:.4f} | {' | '.join(yes)} |"
        )
    middle, last = rows[len(rows) // 2 - 1], rows[-1]
    growth = [
        f"{last['resident'] - middle['resident']:+.1f}",
        f"{last['maps'] - middle['maps']:+d}",
    ]
    lines += [
        "",
        f"From step {middle['steps']} to {last['steps']}: {growth[0]} MiB, {growth[1]} memory "
        f"maps, step {last['ms'] / middle['ms']:.2f} times as long.",
    ]
    return lines


def measured(way: str, steps: int, intervals: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Train in one process and compare in another; **returns** rows, and what is wrong."""
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        arguments = (way, str(steps), str(intervals), folder)
        rows: Any = in_process(__file__, "train", *arguments)
        different: Any = in_process(__file__, "again", *arguments)
    for k, row in enumerate(rows, 1):
        row["same"] = not different[str(k)]
        wrong += [f"{way}, step {row['steps']}: other {name}" for name in different[str(k)]]
        if not row["finite"]:
            wrong.append(f"{way}, step {row['steps']}: gradients are not finite")
    return rows, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--steps", type=int, default=10_000, help="of each way (%(default)s)")
    add("--intervals", type=int, default=10, help="rows of a table (%(default)s)")
    results = Path(__file__).parent / "results"
    add("--out", type=Path, default=results / "soak.md", help="(%(default)s)")
    add("--probe", nargs=5, metavar="WORD", help="one process, as JSON")
    own = parser.parse_args()
    if own.probe:
        pin()
        torch.set_num_threads(1)
        what, way, steps, intervals, folder = own.probe
        if what == "train":
            print(json.dumps(train(way, int(steps), int(intervals), Path(folder))))
        else:
            print(json.dumps(again(way, Path(folder))))
        return
    if not 2 <= own.intervals <= own.steps:
        parser.error("--intervals must be from 2 to --steps")
    before, tables, wrong = load(), [], []
    for way, name in WAYS.items():
        rows, found = measured(way, own.steps, own.intervals)
        tables += ["", f"## {name}", "", *table(rows)]
        wrong += found
    head = [
        "# Many steps in one process",
        "",
        f"Written by `{' '.join(['python benchmarks/soak.py', *sys.argv[1:]])}`: Yin-Yang,",
        f"5-{HIDDEN}-3 with LIF and LI, batch {BATCH}, cross entropy, Adam, float32, on one core.",
        "Steps are medians of processor time within an interval. *Finite*: all gradients are. *As",
        "fresh*: a new process that starts from weights and optimiser of that step finds the same",
        "gradients and the same next weights, bit by bit. That the two ways'",
        "losses differ is rounding that grows: see [parting.md](parting.md).",
        f"Load averages before {before}, after {load()}. {described()}.",
    ]
    own.out.write_text("\n".join([*head, *tables]) + "\n")
    print(own.out.read_text())
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
