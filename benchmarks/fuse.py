"""What `snn.fuse` is worth: training steps of stacks of layers, with and without it.

    python benchmarks/fuse.py

writes results/fuse.md.
"""

import argparse
import math
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from timing import Timing, described, load, measure
from torch import nn
from tqdm import tqdm

from evtorch import torch_api as snn

OUT = Path(__file__).parent / "results" / "fuse.md"
CASES = [((5, 100, 3), 64), ((5, 20, 3), 8), ((5, 20, 20, 20, 3), 8), ((5, 100, 100, 100, 3), 64)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="turns of each (default: 30)")
    parser.add_argument("--out", type=Path, default=OUT, help="table (default: results/fuse.md)")
    own = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for sizes, batch in tqdm(CASES, file=sys.stderr):
        plain, fused = compare(sizes, batch, own.rounds)
        name = "-".join(map(str, sizes))
        rows.append(
            f"| {name} | {batch} | {shown(plain)} | {shown(fused)} | "
            f"{fused.median / plain.median:.2f} |"
        )
    lines = [
        "# Layers in a row as one function",
        "",
        "Written by `python benchmarks/fuse.py`: forward, backward and Adam, layers of neurons",
        "that spike once, float32, in turns in one process; medians with quartiles, ms.",
        f"Load averages at the end {load()}. {described()}.",
        "",
        "| network | batch | layers | fused | fused / layers |",
        "|---|---|---|---|---|",
        *rows,
    ]
    own.out.write_text("\n".join(lines) + "\n")
    print(own.out.read_text())


def compare(sizes: tuple[int, ...], batch: int, rounds: int) -> tuple[Timing, Timing]:
    """**Returns** the times of a step without and with `snn.fuse`."""
    torch.manual_seed(0)
    layers = [snn.LIF(i, o, refractory=math.inf) for i, o in pairwise(sizes)]
    model = nn.Sequential(*layers)
    spikes = torch.rand(batch, sizes[0], 1) * 2e-2
    snn.initialise_(model, spikes)
    runs = {"layers": step(model, spikes), "fused": step(snn.fuse(model), spikes)}
    found = measure(runs, 1, rounds)
    return found["layers"], found["fused"]


def step(model: nn.Module, spikes: torch.Tensor) -> Callable[[int], object]:
    """A training step that leaves the weights as they are."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.0)

    def run(_: int) -> None:
        optimiser.zero_grad()
        out = model(spikes)
        torch.where(out.isfinite(), out, 0).sum().backward()
        optimiser.step()

    return run


def shown(timing: Timing) -> str:
    low, middle, high = (
        1e3 * x for x in (timing.lower_quartile, timing.median, timing.upper_quartile)
    )
    return f"{middle:.2f} ({low:.2f} - {high:.2f})"


if __name__ == "__main__":
    main()
