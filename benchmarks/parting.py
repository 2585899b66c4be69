"""Why training by `bridge.compile_step` and by torch's loop ends with different losses.

    python benchmarks/parting.py                        # some fifteen minutes, on one core
    python benchmarks/parting.py --steps 20 --seeds 1   # to see that it runs

writes results/parting.md. The training is that of soak.py. Is it all by rounding? Then a step of
both ways from the same weights and moments is the same to rounding, however long they have been
trained; weights that are trained apart differ no more than those of two loops, one of which begins
with weights that are the next larger numbers; and over seeds neither way's losses are the lower.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from apart import pin
from soak import Training, training
from timing import described, load
from torch import Tensor

DTYPES = (torch.float64, torch.float32)
MARKS = (1, 10, 30, 100, 300, 1000)
LAST = 1000
WAYS = {
    "loop": "loop",
    "moved": "loop, next weights",
    "compiled": "compiled",
    "both": "compiled, next weights",
}


def started(way: str, seed: int, dtype: torch.dtype) -> Training:
    """One of `WAYS`."""
    own = training("loop" if way in ("loop", "moved") else "compiled", seed, dtype)
    if way in ("moved", "both"):
        move(own)
    return own


@torch.no_grad()
def move(own: Training) -> None:
    """Make weights the next larger numbers."""
    for weights in own.model.parameters():
        weights.copy_(weights.nextafter(torch.full_like(weights, torch.inf)))


def distance(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The largest difference, as a share of the largest number in the tensor that it is in."""
    pairs = zip(ones, others, strict=True)
    return max(((a - b).abs().max() / a.abs().max()).item() for a, b in pairs)


def weights_of(own: Training) -> list[Tensor]:
    return [p.detach() for p in own.model.parameters()]


def state_of(own: Training, name: str) -> list[Tensor]:
    return [own.optimizer.state[p][name] for p in own.model.parameters()]


def copy(to: Training, source: Training) -> None:
    """Give one training the weights and the optimiser's state of another, in place."""
    parts = [partial(state_of, name=name) for name in ("exp_avg", "exp_avg_sq", "step")]
    for part in (weights_of, *parts):
        for target, value in zip(part(to), part(source), strict=True):
            target.copy_(value)


def one_step(way: str, seed: int, dtype: torch.dtype, steps: int) -> dict[str, list[float]]:
    """How far losses, weights and moments are from the loop's after steps that begin where the loop
    is, or with the next weights."""
    loop, other = started("loop", seed, dtype), started(way, seed, dtype)
    found: dict[str, list[float]] = {"loss": [], "weights": [], "moments": []}
    for i in range(steps):
        ones, others = ([own.step(i).detach()] for own in (loop, other))
        found["loss"].append(distance(ones, others))
        found["weights"].append(distance(weights_of(loop), weights_of(other)))
        found["moments"].append(distance(state_of(loop, "exp_avg"), state_of(other, "exp_avg")))
        copy(other, loop)
        if way == "moved":
            move(other)
    return found


def apart(way: str, seed: int, dtype: torch.dtype, steps: int) -> dict[int, float]:
    """How far weights are from the loop's after some of the steps."""
    loop, other = started("loop", seed, dtype), started(way, seed, dtype)
    found = {}
    for i in range(steps):
        loop.step(i)
        other.step(i)
        if i + 1 in MARKS:
            found[i + 1] = distance(weights_of(loop), weights_of(other))
    return found


def last_loss(way: str, seed: int, steps: int) -> float:
    """The mean loss over the last steps, in float32."""
    own = started(way, seed, torch.float32)
    losses = [own.step(i).detach() for i in range(steps)]
    return torch.stack(losses[-LAST:]).mean().item()


def step_table(seed: int, steps: int) -> list[str]:
    """Markdown: steps from the same state."""
    lines = [
        "| dtype | step | loss, median | largest | weights, median | largest | moments, median "
        "| largest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for dtype in DTYPES:
        for way in ("compiled", "moved"):
            found = one_step(way, seed, dtype, steps)
            cells = [f"{f(row):.0e}" for row in found.values() for f in (statistics.median, max)]
            lines.append(f"| {str(dtype)[6:]} | {WAYS[way]} | {' | '.join(cells)} |")
    return lines


def apart_table(seed: int, steps: int) -> list[str]:
    """Markdown: weights of training apart."""
    marks = [mark for mark in MARKS if mark <= steps]
    lines = [
        f"| dtype | training | {' | '.join(str(mark) for mark in marks)} |",
        f"|---|---|{'---|' * len(marks)}",
    ]
    for dtype in DTYPES:
        for way in ("compiled", "moved"):
            found = apart(way, seed, dtype, marks[-1])
            cells = " | ".join(f"{found[mark]:.0e}" for mark in marks)
            lines.append(f"| {str(dtype)[6:]} | {WAYS[way]} | {cells} |")
    return lines


def loss_table(seeds: int, steps: int) -> list[str]:
    """Markdown: mean losses at the end, by seed."""
    lines = [f"| seed | {' | '.join(WAYS.values())} |", f"|---|{'---|' * len(WAYS)}"]
    rows = []
    for seed in range(seeds):
        rows.append([last_loss(way, seed, steps) for way in WAYS])
        lines.append(f"| {seed} | {' | '.join(f'{loss:.4f}' for loss in rows[-1])} |")
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    lines.append(f"| median | {' | '.join(f'{loss:.4f}' for loss in medians)} |")
    lines.append("")
    for one, other in (("loop", "compiled"), ("moved", "both"), ("loop", "moved")):
        i, j = list(WAYS).index(one), list(WAYS).index(other)
        more = sum(row[j] > row[i] for row in rows)
        size = statistics.median(abs(row[j] - row[i]) for row in rows)
        lines.append(
            f"- *{WAYS[other]}* above *{WAYS[one]}* in {more} of {seeds} seeds; the median "
            f"difference, without its sign, is {size:.3f}."
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--steps", type=int, default=10_000, help="of each training (%(default)s)")
    add("--seeds", type=int, default=8, help="of the table of losses (%(default)s)")
    results = Path(__file__).parent / "results"
    add("--out", type=Path, default=results / "parting.md", help="(%(default)s)")
    own = parser.parse_args()
    if own.steps < 1 or own.seeds < 1:
        parser.error("--steps and --seeds must be positive")
    pin()
    torch.set_num_threads(1)
    before = load()
    few = min(own.steps, 3000)
    tables = [step_table(0, few), apart_table(0, few), loss_table(own.seeds, own.steps)]
    titles = [
        f"## One step from the same state, {few} times\n\n"
        "Differences from the loop's step, as shares of the largest number in the loop's tensor.\n"
        "*Next weights*: the loop itself, with all weights one unit in the last place larger.\n",
        "## Trained apart\n\nThe same for the weights after so many steps.\n",
        f"## Mean loss over the last {min(LAST, own.steps)} of {own.steps} steps, float32\n\n"
        "Columns differ in rounding only, rows in weights and samples.\n",
    ]
    text = [
        "# Two ways of training part",
        "",
        f"Written by `{' '.join(['python benchmarks/parting.py', *sys.argv[1:]])}`: the network of",
        "[soak.md](soak.md), trained by torch's loop and by `bridge.compile_step`. Adam, 1e-3.",
        f"Load averages before {before}, after {load()}. {described()}.",
    ]
    for title, rows in zip(titles, tables, strict=True):
        text += ["", title, *rows]
    own.out.write_text("\n".join(text) + "\n")
    print(own.out.read_text())


if __name__ == "__main__":
    main()
