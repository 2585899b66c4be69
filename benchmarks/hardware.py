"""Time training steps in the loop with hardware against steps in simulation.

    python benchmarks/hardware.py [--quick] [--out benchmarks/results]

writes ``hardware.md`` and ``hardware.json``. All contenders run in one process, on the same
network, and take turns; compare numbers within the table only.
"""

import argparse
import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Timing, load, machine, measure
from torch import Tensor, nn

from evtorch import torch_api as snn

HERE = Path(__file__).parent
HARDWARE = snn.hardware
SCALING = HARDWARE.Scaling(weight=10, time=1e-3)
BATCH = 64
BATCHES = 16
TAU_SYN = 1e-2


class Recorded:
    """A chip that takes no time: it returns what another one did with the same input."""

    def __init__(self, chip: HARDWARE.Backend) -> None:
        self.chip = chip
        self.name, self.weight_limit = "recorded", chip.weight_limit
        self.seen: dict[bytes, HARDWARE.Observation] = {}

    def run(
        self,
        network: HARDWARE.Network,
        spikes: np.ndarray,
        duration: float,
        *,
        voltage_times: np.ndarray | None = None,
    ) -> HARDWARE.Observation:
        key = spikes[:, :, 0].tobytes()
        if key not in self.seen:
            self.seen[key] = self.chip.run(network, spikes, duration)
        return self.seen[key]


def build_model() -> nn.Sequential:
    """The network of the Yin-Yang examples, 5-120-3."""
    constants: dict[str, Any] = {"tau_mem": 2e-2, "tau_syn": TAU_SYN, "refractory": math.inf}
    encoder = snn.LatencyEncoder(t_early=0.0, t_late=2e-2, bias=0.0)
    hidden = snn.LIF(5, 120, **constants, t_max=0.15)
    last = snn.LIF(120, 3, **constants, v_leak=1.2, t_max=0.15)
    nn.init.normal_(hidden.weight, mean=1.2, std=1.6)
    nn.init.normal_(last.weight, mean=0.1, std=2 / 120**0.5)
    return nn.Sequential(encoder, hidden, last)


def stepper(
    model: nn.Sequential,
    put: Callable[[nn.Sequential], nn.Module],
    batches: list[tuple[Tensor, Tensor]],
) -> Callable[[int], None]:
    """A training step with a copy of ``model`` on the batch of an index."""
    model = copy.deepcopy(model)
    runs = put(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loss_function = snn.TTFSCrossEntropyLoss(TAU_SYN, xi=0.03)

    def step(index: int) -> None:
        values, classes = batches[index]
        optimizer.zero_grad()
        loss_function(runs(values), classes).backward()
        optimizer.step()

    return step


def time_steps(rounds: int) -> dict[str, Timing]:
    """Time all contenders."""
    torch.manual_seed(0)
    model = build_model()
    data = snn.datasets.YinYang(BATCH * BATCHES, seed=0)
    batches = list(zip(data.values.split(BATCH), data.classes.split(BATCH), strict=True))
    chip = HARDWARE.MockBSS2(0)
    network = HARDWARE.on_backend(model, chip, scaling=SCALING).networks()
    calibrated = HARDWARE.Calibration.measure(chip, *network).apply(chip)

    def on(backend: HARDWARE.Backend, **options: Any) -> Callable[[nn.Sequential], nn.Module]:
        return lambda model: HARDWARE.on_backend(model, backend, scaling=SCALING, **options)

    with HARDWARE.WorkerBackend.start("evtorch.jax_core.hardware:MockBSS2") as worker:
        contenders = {
            "simulation": lambda model: model,
            "in the loop, chip that takes no time": on(Recorded(chip)),
            "in the loop, ideal mock": on(HARDWARE.MockBSS2.ideal()),
            "in the loop, mock with all effects": on(chip),
            "the same, calibrated": on(calibrated),
            "the same, missing spikes counted": on(chip, count_missing=True),
            "the mock in another process": on(worker),
        }
        steps = {name: stepper(model, put, batches) for name, put in contenders.items()}
        return measure(steps, BATCHES, rounds)


def report(timings: dict[str, Timing], where: dict[str, str], loads: list[str]) -> str:
    """Markdown."""
    base = timings["simulation"].median
    rows = []
    for name, timing in timings.items():
        low, high = 1e3 * timing.lower_quartile, 1e3 * timing.upper_quartile
        rows.append(
            f"| {name} | {1e3 * timing.median:.2f} ({low:.2f}-{high:.2f}) "
            f"| {1e3 * (timing.median - base):.2f} | {timing.median / base:.2f} |"
        )
    lines = [
        "# Training steps in the loop, timed",
        "",
        f"Written by `python benchmarks/hardware.py`. Yin-Yang, 5-120-3, batch {BATCH}, float32,",
        "one spike per neuron; forward, backward and an Adam step.",
        "",
        "| | step, ms: median (quartiles) | more than simulation, ms | ratio |",
        "|---|---|---|---|",
        *rows,
        "",
        "## Machine",
        "",
        *(f"- {name}: {value}" for name, value in where.items()),
        f"- load averages before and after: {', '.join(loads)}",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run everything and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats, to see that it runs")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    before = load()
    timings = time_steps(2 if arguments.quick else 30)
    where, loads = machine(), [before, load()]
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = report(timings, where, loads)
    (arguments.out / "hardware.md").write_text(text)
    results = {name: timing._asdict() for name, timing in timings.items()}
    saved = {"machine": where, "loads": loads, "steps": results}
    (arguments.out / "hardware.json").write_text(json.dumps(saved, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
