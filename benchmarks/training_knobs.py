r"""What each step of docs/training.md is worth: train the digits example with one of them changed.

    python benchmarks/training_knobs.py                       # a quarter of an hour on two cores
    python benchmarks/training_knobs.py --seeds 0 --epochs 1  # to see that it runs
    python benchmarks/training_knobs.py --epochs 50 --only "all of it" "no \`silent_loss\`"

The network, the data and the split are those of ``examples/digits.py``, one spike per neuron, but
for its dropout of spikes, which takes more epochs to pay.
"""

import argparse
import statistics
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from timing import described, load
from torch import Tensor, nn
from tqdm import tqdm

from evtorch import torch_api as snn

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "examples"))
import digits  # noqa: E402  # pyright: ignore[reportMissingImports]

MS = 1e-3


@dataclass(frozen=True)
class Recipe:
    """The settings of a run; the defaults are the example's."""

    initialise: dict[str, Any] | None = field(default_factory=dict)
    learning_rate: float = 0.1
    silent: str = "silent_loss"
    clip: bool = True
    complement: bool = True
    jitter: float = 2 * MS
    label_smoothing: float = 0.1
    scale: float | str = 2.0
    readout: dict[str, Any] = field(default_factory=dict)


ALL = Recipe()
KNOBS = {
    "all of it": ALL,
    "`reset_parameters` instead of `initialise_`": replace(ALL, initialise=None),
    "`initialise_(margin=1)`": replace(ALL, initialise={"margin": 1.0}),
    "`initialise_(spread=0.4)`": replace(ALL, initialise={"spread": 0.4}),
    "learning rate 0.03": replace(ALL, learning_rate=0.03),
    "no `silent_loss`": replace(ALL, silent="nothing"),
    "no `silent_loss`, learning rate 0.03": replace(ALL, silent="nothing", learning_rate=0.03),
    "`rescue_silent_` instead of `silent_loss`": replace(ALL, silent="rescue_silent_"),
    "no `clip_grad_`": replace(ALL, clip=False),
    "no complement": replace(ALL, complement=False),
    "no jitter": replace(ALL, jitter=0.0),
    "no label smoothing": replace(ALL, label_smoothing=0.0),
    'integral over 60 ms, `scale="auto"`': replace(
        ALL, scale="auto", readout={"readout": "integral", "t_max": 60 * MS}
    ),
    'integral with `tau_weight` 10 ms, `scale="auto"`': replace(
        ALL, scale="auto", readout={"readout": "integral", "tau_weight": 10 * MS}
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1], help="(%(default)s)")
    add("--epochs", type=int, default=20, help="(%(default)s)")
    add("--only", nargs="+", choices=KNOBS, default=list(KNOBS), metavar="ROW", help="rows (all)")
    add(
        "--out",
        type=Path,
        default=ROOT / "benchmarks" / "results" / "training_knobs.md",
        help="file to write (%(default)s)",
    )
    own = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in tqdm(own.only, file=sys.stderr):
        runs = [run(KNOBS[name], seed, own.epochs) for seed in own.seeds]
        accuracies = " ".join(f"{100 * accuracy:.1f}" for accuracy, _ in runs)
        median = 100 * statistics.median(accuracy for accuracy, _ in runs)
        silent = 100 * statistics.median(silent for _, silent in runs)
        rows.append(f"| {name} | {median:.1f} | {accuracies} | {silent:.1f} |")
    command = " ".join(["python benchmarks/training_knobs.py", *sys.argv[1:]])
    lines = [
        "# What each step of training is worth",
        "",
        f"Written by `{command}`. 8x8 digits, 64 pixels, 300 hidden neurons that spike once, 10",
        f"read-outs, {own.epochs} epochs; test accuracies of the weights after the last one on 450",
        f"images, in %. Load averages at the end {load()}.",
        f"{described()}.",
        "",
        f"| changed | median | seeds {', '.join(map(str, own.seeds))} | silent, % of pairs |",
        "|---|---|---|---|",
        *rows,
    ]
    own.out.write_text("\n".join(lines) + "\n")
    print(own.out.read_text())


def run(recipe: Recipe, seed: int, epochs: int) -> tuple[float, float]:
    """Train; **returns** the test accuracy, and the share of hidden neurons silent in the test."""
    torch.manual_seed(seed)
    data, test = digits.load()
    hidden = snn.LIF(
        128 if recipe.complement else 64, 300, **digits.CONSTANTS, refractory=torch.inf
    )
    model = nn.Sequential(
        snn.LatencyEncoder(0, digits.T_LATE, complement=recipe.complement, large_early=True),
        snn.SpikeJitter(recipe.jitter),
        hidden,
        snn.LI(300, 10, **digits.CONSTANTS, **recipe.readout),
    )
    if recipe.initialise is not None:
        snn.initialise_(model, data.values[:256], **recipe.initialise)
    scale: Any = recipe.scale
    loss_function = snn.VoltageCrossEntropyLoss(scale, label_smoothing=recipe.label_smoothing)
    optimizer = torch.optim.Adam(snn.parameter_groups(model, recipe.learning_rate))
    steps = len(data.values) // digits.BATCH_SIZE
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)

    def loss_of(batch: Tensor) -> Tensor:
        loss = loss_function(model(data.values[batch]), data.classes[batch])
        return loss + snn.silent_loss(model) if recipe.silent == "silent_loss" else loss

    for _ in range(epochs):
        for batch in torch.randperm(len(data.values)).split(digits.BATCH_SIZE)[:steps]:
            optimizer.zero_grad()
            loss_of(batch).backward()
            if recipe.clip:
                snn.clip_grad_(model)
            optimizer.step()
            scheduler.step()
            if recipe.silent == "rescue_silent_":
                snn.rescue_silent_(model)
    accuracy = digits.accuracy(model, test)
    health = hidden.health()
    return accuracy, health.silent_fraction if health else 0.0


if __name__ == "__main__":
    main()
