"""Layers with few of all connections: what lists of them cost beside a matrix with zeros.

    python benchmarks/connections.py           # ten minutes
    python benchmarks/connections.py --quick   # a tiny layer, to see that it runs

writes `results/connections.md`. Both have the same connections, weights and events, so the same
spikes. Every row is a process of its own on one core.
"""

import json
import sys
from typing import Any, NamedTuple

import torch
from apart import in_process, median_seconds, options, pin
from timing import described, load
from tqdm import tqdm

from evtorch import torch_api as snn

BATCH, DURATION, SHARE = 4, 1.0, 0.01
SECONDS = 1.0
"""For so long a program is repeated, at least once."""


class Case(NamedTuple):
    """A layer with as many inputs as neurons."""

    kind: str
    neurons: int
    events: int
    """So many in a sample."""

    def __str__(self) -> str:
        return f"{self.kind}, {self.neurons} inputs and neurons, {self.events} events"


CASES = [
    Case("feed-forward", 1000, 4000),
    Case("feed-forward", 1000, 40_000),
    Case("recurrent", 1000, 4000),
    Case("recurrent", 4000, 4000),
]
QUICK = [Case("feed-forward", 100, 200), Case("recurrent", 100, 200)]
FORMS = "matrix", "list"


def main() -> None:
    own = options(__doc__, "connections.md", ("CASE", "FORM"), "a tiny layer")
    if own.probe:
        case, form = own.probe
        print(json.dumps(probe(Case(*json.loads(case)), form)))
        return
    before = load()
    command = " ".join(["python benchmarks/connections.py", *sys.argv[1:]])
    wanted = [(case, form) for case in (QUICK if own.quick else CASES) for form in FORMS]
    found = {
        row: in_process(__file__, json.dumps(row[0]), row[1])
        for row in tqdm(wanted, file=sys.stderr)
    }
    own.out.write_text(report(found, command, before))
    print(own.out.read_text())


def probe(case: Case, form: str) -> dict[str, float]:
    """Seconds and spikes of one row; to be called in a process of its own."""
    pin()
    torch.set_num_threads(1)
    made = layer(case, form)
    torch.manual_seed(1)
    times = torch.rand(BATCH, case.neurons, case.events // case.neurons).sort().values * DURATION

    def step() -> None:
        out = made(times)
        torch.autograd.grad(torch.where(out.isfinite(), out, 0).sum(), list(made.parameters()))

    step_seconds = median_seconds(step, SECONDS)
    with torch.no_grad():
        forward = median_seconds(lambda: made(times), SECONDS)
        spikes = made(times).isfinite().sum() / (BATCH * case.neurons)
    return {"forward": forward, "step": step_seconds, "spikes": float(spikes)}


def layer(case: Case, form: str) -> Any:
    """The layer, with a matrix of weights or with one for each connection."""
    torch.manual_seed(0)
    size = case.neurons
    options: dict[str, Any] = {"tau_mem": 2e-2, "tau_syn": 5e-3, "t_max": DURATION}
    options |= {"max_spikes": 64, "on_overflow": "truncate"}
    masks: dict[str, Any] = {"mask": drawn(size)}
    if case.kind == "recurrent":
        masks["recurrent_mask"] = drawn(size)
    # As many spikes with more events or connections.
    of_each = size * SHARE
    mean = 100.0 * size / case.events / of_each
    weights = {"mask": torch.randn(size, size) * mean**0.5 + mean}
    weights["recurrent_mask"] = torch.randn(size, size) * (0.9 / of_each) ** 0.5
    kind: Any = snn.RecurrentLIF if case.kind == "recurrent" else snn.LIF
    made = kind(size, size, **options, **(masks if form == "list" else {}))
    with torch.no_grad():
        for name, mask in masks.items():
            weight = made.weight if name == "mask" else made.recurrent_weight
            given = weights[name]
            weight.copy_(given[mask] if form == "list" else torch.where(mask, given, 0))
    return made


def drawn(size: int) -> torch.Tensor:
    """Which connections there are: a share of all, and one of each neuron at least."""
    mask = torch.rand(size, size) < SHARE
    mask[torch.arange(size), torch.randint(size, (size,))] = True
    return mask


def report(found: dict[tuple[Case, str], dict[str, float]], command: str, before: str) -> str:
    lines = [
        "# Layers with few of all connections",
        "",
        f"Written by `{command}`. One in a hundred of all connections, and one of",
        "each neuron at least, as a list (`mask=`, `recurrent_mask=`) and as a matrix with zeros;",
        f"batch {BATCH}, room for 64 spikes, events at random times in a second, `tau_mem` 20 ms,",
        "`tau_syn` 5 ms. Forward, and with the gradients of all weights; processor time, float32,",
        "one core.",
        f"Load averages before {before}. {described()}.",
        "",
        "| layer | weights | forward, ms | matrix / list | forward + backward, ms | matrix / list "
        "| spikes per neuron |",
        "|" + "---|" * 7,
    ]
    for (case, form), row in found.items():
        ratios = [found[case, "matrix"][name] / row[name] for name in ("forward", "step")]
        lines.append(
            f"| {case} | {form} | {1e3 * row['forward']:.1f} | {ratios[0]:.1f} | "
            f"{1e3 * row['step']:.1f} | {ratios[1]:.1f} | {row['spikes']:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
