"""Train spiking networks in the loop with (mock) BrainScaleS-2 chips, on Yin-Yang.

    python examples/hardware_in_the_loop.py
    python examples/hardware_in_the_loop.py --chips 1 --chip-epochs 10 --out runs/short

Networks are trained in simulation first, as is done in practice. Put on a chip, whose neurons
differ and whose weights are whole numbers, they do much worse. Training goes on in the loop: spikes
come from the chip, gradients from the model at these spikes. All of it with chips as they are and
with calibrated ones, whose variation was measured and made up for; the chip is
`snn.hardware.MockBSS2` with its default effects.

The last rows are for few hidden neurons, without and with learnable axonal delays. The folder
--out receives metrics.json with every accuracy, table.md and figure.png. All accuracies are those
of samples that were used for nothing else, after the last epoch. Ctrl-C writes a checkpoint, from
which --resume goes on.
"""

import copy
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

import torch
from _chip_settings import Settings
from _settings import installed, parse_arguments, say
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from yinyang import MS, TAU_MEM, TAU_SYN, accuracy

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

with installed():
    from _checkpoint import Resumable, Run
    from _chip_plots import plot

Accuracies = dict[str, dict[str, list[float]]]
UNCALIBRATED, CALIBRATED = "as it is", "calibrated"
# On the chip time runs 1000 times faster. Delays move by a hundredth of what weights move.
TIME_SCALE = 1e-3
DELAY_RATE = 1e-2


def build_model(hidden: int, with_delays: bool = False) -> nn.Sequential:
    """From values (batch, 4) to first-spike times (batch, 3, 1); see the Yin-Yang example."""
    constants: dict[str, Any] = {
        "tau_mem": TAU_MEM,
        "tau_syn": TAU_SYN,
        "refractory": math.inf,
        "t_max": 150 * MS,
    }
    encoder = snn.LatencyEncoder(t_early=0.0, t_late=20 * MS, bias=0.0)
    first = snn.LIF(5, hidden, **constants)
    last = snn.LIF(hidden, 3, **constants, v_leak=1.2)
    nn.init.normal_(first.weight, mean=1.2, std=1.6)
    nn.init.normal_(last.weight, mean=12 / hidden, std=2 / hidden**0.5)
    if not with_delays:
        return nn.Sequential(encoder, first, last)
    delays = (snn.Delay(n, init=5 * MS * torch.rand(n)) for n in (5, hidden))
    return nn.Sequential(encoder, next(delays), first, next(delays), last)


def train(
    model: nn.Module,
    settings: Settings,
    data: YinYang,
    run: Run,
    title: str,
    chip: snn.hardware.MockBSS2 | None = None,
) -> None:
    """Train a model, in simulation or as the ``chip`` runs it."""
    in_the_loop = chip is not None
    epochs = settings.chip_epochs if in_the_loop else settings.epochs
    rate = settings.chip_learning_rate if in_the_loop else settings.learning_rate
    delays = [p for name, p in model.named_parameters() if name.endswith("delay")]
    others = [p for name, p in model.named_parameters() if not name.endswith("delay")]
    groups = [{"params": others}, {"params": delays, "lr": DELAY_RATE * rate}]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]], lr=rate)
    steps = len(data) // settings.batch_size
    scheduler = CosineAnnealingLR(optimizer, T_max=epochs * steps)
    loss_function = snn.TTFSCrossEntropyLoss(TAU_SYN, xi=0.03)
    states: dict[str, Resumable] = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
    }
    if chip is not None:
        states["chip"] = chip
    for _ in run.epochs(title, epochs, states):
        for batch in torch.randperm(len(data)).split(settings.batch_size)[:steps]:
            optimizer.zero_grad()
            loss_function(model(data.values[batch]), data.classes[batch]).backward()
            optimizer.step()
            scheduler.step()


def on_chips(
    model: nn.Sequential, settings: Settings
) -> Callable[[nn.Sequential, str, int], snn.hardware.OnBackend]:
    """Measure the circuits that ``model`` takes; **returns** what puts such a model on a chip."""
    if settings.weight_scale is None:
        scaling = snn.hardware.Scaling.fit(model, snn.hardware.MockBSS2(), time=TIME_SCALE)
    else:
        scaling = snn.hardware.Scaling(weight=settings.weight_scale, time=TIME_SCALE)
    print(scaling, flush=True)
    backends: dict[tuple[str, int], snn.hardware.Backend] = {}
    for number in range(settings.chips):
        say(f"measuring the circuits of chip {number}")
        chip = snn.hardware.MockBSS2(number)
        networks = snn.hardware.on_backend(model, chip, scaling=scaling).networks()
        calibration = snn.hardware.Calibration.measure(chip, *networks)
        backends[UNCALIBRATED, number] = chip
        backends[CALIBRATED, number] = calibration.apply(chip)

    def put(model: nn.Sequential, state: str, number: int) -> snn.hardware.OnBackend:
        return snn.hardware.on_backend(model, backends[state, number], scaling=scaling)

    return put


def chip_of(model: snn.hardware.OnBackend) -> snn.hardware.MockBSS2:
    """The chip that a model runs on, calibrated or not."""
    backend = model.backend
    if isinstance(backend, snn.hardware.Calibrated):
        backend = backend.backend
    return cast(snn.hardware.MockBSS2, backend)


def experiment(
    name: str, model: nn.Sequential, settings: Settings, data: YinYang, test: YinYang, run: Run
) -> tuple[Accuracies, Callable[[nn.Sequential, str, int], snn.hardware.OnBackend]]:
    """Train in simulation, deploy, train in the loop on each chip, and swap chips."""
    train(model, settings, data, run, f"{name}, simulation")
    found: Accuracies = {"simulation": {"": [accuracy(model, test)]}}
    put = on_chips(model, settings)
    for state in (UNCALIBRATED, CALIBRATED):
        numbers = range(settings.chips)
        deployed = [accuracy(put(model, state, number), test) for number in numbers]
        found.setdefault("simulated model on the chip", {})[state] = deployed
        trained, moved = [], []
        for number in numbers:
            own = copy.deepcopy(model)
            title, there = f"{name}, chip {number} {state}", put(own, state, number)
            train(there, settings, data, run, title, chip_of(there))
            trained.append(accuracy(put(own, state, number), test))
            other = (number + 1) % settings.chips
            moved.append(accuracy(put(own, state, other), test))
        found.setdefault("trained in the loop", {})[state] = trained
        if settings.chips > 1:
            found.setdefault("trained on one chip, run on another", {})[state] = moved
    return found, put


def table(results: dict[str, Accuracies]) -> str:
    """All accuracies in Markdown: the median over chips, and each."""
    lines = [
        f"| network | | chip {UNCALIBRATED} | chip {CALIBRATED} |",
        "|---|---|---|---|",
    ]
    for name, found in results.items():
        for what, by_state in found.items():
            states = ("", "") if "" in by_state else (UNCALIBRATED, CALIBRATED)
            cells = [_cell(by_state[state]) for state in dict.fromkeys(states)]
            lines.append(f"| {name} | {what} | {' | '.join(cells)} |" + " |" * (2 - len(cells)))
    return "\n".join(lines)


def _cell(accuracies: list[float]) -> str:
    each = ", ".join(f"{100 * value:.1f}" for value in accuracies)
    median = f"{100 * statistics.median(accuracies):.1f} %"
    return median if len(accuracies) == 1 else f"**{median}** ({each})"


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/hardware_in_the_loop")
    with run:
        experiments(settings, run)


def experiments(settings: Settings, run: Run) -> None:
    # All tensors are small: further torch threads would only take the cores from JAX.
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    start = time.perf_counter()
    data = YinYang(settings.train_size, seed=settings.seed)
    test = YinYang(settings.test_size, seed=settings.seed + 1_000_000)
    models = {
        f"5-{settings.hidden}-3": build_model(settings.hidden),
        f"5-{settings.small_hidden}-3, no delays": build_model(settings.small_hidden),
        f"5-{settings.small_hidden}-3, delays": build_model(settings.small_hidden, True),
    }
    results, puts = {}, {}
    for name, model in models.items():
        results[name], puts[name] = experiment(name, model, settings, data, test, run)
    name, model = next(iter(models.items()))
    uncalibrated, calibrated = (puts[name](model, state, 0) for state in (UNCALIBRATED, CALIBRATED))
    calibration = cast(snn.hardware.Calibrated, calibrated.backend).calibration
    metrics = {
        "accuracy": results,
        "spread": {
            quantity: [calibration.spread(quantity, after=after) for after in (False, True)]
            for quantity in ("threshold", "tau_mem", "tau_syn", "gain")
        },
        "seconds": time.perf_counter() - start,
        "settings": asdict(settings),
    }
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (out / "table.md").write_text(table(results) + "\n")
    say("drawing the figure")
    plot(out / "figure.png", model, uncalibrated, calibrated, test, results)
    print(f"\n{table(results)}\n\n{calibration}")
    print(f"files: {out}/metrics.json, table.md, figure.png")


if __name__ == "__main__":
    main()
