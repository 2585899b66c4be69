"""What silent outputs do to training on first spikes, and what helps: Yin-Yang with defaults.

    python benchmarks/silent_outputs.py                       # a minute on two cores
    python benchmarks/silent_outputs.py --seeds 0 --epochs 1  # to see that it runs

Both layers keep their own initialisation and constants; 2000 samples, batches of 100, Adam.
"""

import argparse
import math
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from timing import described, load
from torch import nn
from tqdm import tqdm

from evtorch import torch_api as snn

T_MAX, HIDDEN, BATCH_SIZE = 6e-2, 60, 100
WAYS = {
    "nothing": {},
    "`rescue_silent_`, hidden layer first": {},
    '`silent="peak"` in the output layer': {"silent": "peak"},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="(%(default)s)")
    add("--epochs", type=int, default=30, help="(%(default)s)")
    results = Path(__file__).parent / "results"
    add("--out", type=Path, default=results / "silent_outputs.md", help="(%(default)s)")
    own = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in tqdm(WAYS, file=sys.stderr):
        runs = [run(name, seed, own.epochs) for seed in own.seeds]
        accuracies = " ".join(f"{100 * accuracy:.1f}" for accuracy, _ in runs)
        medians = (100 * statistics.median(values) for values in zip(*runs, strict=True))
        rows.append(f"| {name} | {next(medians):.1f} | {accuracies} | {next(medians):.1f} |")
    command = " ".join(["python benchmarks/silent_outputs.py", *sys.argv[1:]])
    seeds = ", ".join(map(str, own.seeds))
    lines = [
        "# Silent outputs",
        "",
        f"Written by `{command}`. Yin-Yang,",
        f"5-{HIDDEN}-3 neurons that spike once, loss on first spikes, {own.epochs} epochs; test",
        f"accuracies in %. Load averages at the end {load()}.",
        f"{described()}.",
        "",
        f"| against silent outputs | median | seeds {seeds} | silent outputs in the test, % |",
        "|---|---|---|---|",
        *rows,
    ]
    own.out.write_text("\n".join(lines) + "\n")
    print(own.out.read_text())


def run(way: str, seed: int, epochs: int) -> tuple[float, float]:
    """**Returns** the test accuracy and the share of silent outputs."""
    torch.manual_seed(seed)
    data = snn.datasets.YinYang(2000, seed=seed)
    test = snn.datasets.YinYang(1000, seed=seed + 1_000_000)
    common: dict[str, Any] = {"refractory": math.inf, "t_max": T_MAX}
    hidden = snn.LIF(5, HIDDEN, **common)
    output = snn.LIF(HIDDEN, 3, **common, **WAYS[way])
    model = nn.Sequential(snn.LatencyEncoder(0.0, 2e-2, bias=0.0), hidden, output)
    loss_function = snn.TTFSCrossEntropyLoss(silent_time=T_MAX)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    steps = epochs * (len(data) // BATCH_SIZE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(data)).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss_function(model(data.values[batch]), data.classes[batch]).backward()
            optimizer.step()
            scheduler.step()
            # As in the guide.
            if "rescue" in way and not snn.rescue_silent_(hidden, max_silent=0.95):
                snn.rescue_silent_(output, max_silent=0.0, bump=5e-4)
    with torch.no_grad():
        answers = snn.first_to_spike(model(test.values))
    health = output.health()
    assert health is not None
    return (answers == test.classes).double().mean().item(), health.silent_fraction


if __name__ == "__main__":
    main()
