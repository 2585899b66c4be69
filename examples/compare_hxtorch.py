"""Compare the time-grid workflow of hxtorch with exact event-based simulation, side by side.

    python examples/compare_hxtorch.py
    python examples/compare_hxtorch.py --epochs 50

Trains the network of hx_yinyang.py in three ways that share everything else: events with exact
gradients, a time grid with surrogate gradients, and EventProp on the time grid, both for several
time steps. Then measures what a training step costs and how far its gradient is from the true one.
Steps of 0.02 microseconds take most of an hour; with `--dt 1` it is done in two minutes. The folder
--out receives metrics.json, table.md and figure.png. Ctrl-C writes a checkpoint of the
training, from which --resume goes on.
"""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import torch
from _hx_measure import (
    EXACT,
    METHODS,
    Case,
    gradient_errors,
    name_of,
    step_megabytes,
    step_seconds,
)
from _settings import installed, number, option, parse_arguments, positive, seed_option
from hx_yinyang import SNN, US, Model, loaders, optimise, test, train

with installed():
    from _checkpoint import Run, Values
    from _hx_plots import plot
    from tqdm import tqdm


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    epochs: int = option(5, type=positive)
    hidden: int = option(120, "hidden neurons (%(default)s)", type=positive)
    train_size: int = option(5000, "samples (%(default)s)", type=positive)
    batch_size: int = option(50, "samples per step (%(default)s)", type=positive)
    lr: float = option(1e-2, "learning rate of the hidden layer (%(default)s)", type=number())
    dt: Sequence[float] = option(
        (1.0, 0.1, 0.02),
        "time steps of the grid, microseconds (1 0.1 0.02)",
        type=number("microseconds", 5),
        metavar="MICROSECONDS",
        nargs="+",
    )
    rounds: int = option(3, "turns of timed training steps (%(default)s)", type=positive)
    measured_batch: int = option(8, "samples for gradients (%(default)s)", type=positive)
    seed: int = seed_option("of weights and order")


def trained(case: Case, settings: Settings, run: Run) -> dict[str, Any]:
    """Accuracy after each epoch, and the seconds of training until then."""
    method, dt = case
    torch.manual_seed(settings.seed)
    model = Model(SNN(settings.hidden, dt, **METHODS[method]))
    train_loader, test_loader = loaders(settings.train_size, 1000, settings.batch_size)
    optimizer, scheduler = optimise(model, settings.epochs * len(train_loader), settings.lr)
    history = Values(accuracy=[], seconds=[])
    states = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "history": history,
    }
    for _ in (progress := run.epochs(name_of(case), settings.epochs, states)):
        start = time.perf_counter()
        steps = tqdm(train_loader, desc="epoch", unit="step", leave=False)
        train(model, steps, optimizer, scheduler)
        history.seconds.append(time.perf_counter() - start)
        history.accuracy.append(test(model, test_loader))
        progress.set_postfix(test_accuracy=f"{history.accuracy[-1]:.1%}")
    return {
        "accuracy": history.accuracy,
        "elapsed": list(accumulate(history.seconds)),
        "seconds_per_epoch": statistics.median(history.seconds),
    }


def measured(settings: Settings, run: Run) -> list[dict[str, Any]]:
    """Accuracy, cost and gradient error of every method at every time step."""
    grid = [method for method in METHODS if method != EXACT]
    cases = [(EXACT, US), *((method, dt * US) for method in grid for dt in settings.dt)]
    training = [trained(case, settings, run) for case in cases]
    found = {
        "gradient_error": gradient_errors(cases, settings.hidden, settings.measured_batch),
        "seconds": step_seconds(cases, settings.hidden, settings.batch_size, settings.rounds),
        "megabytes": [
            step_megabytes(method, dt, settings.hidden, settings.batch_size)
            for method, dt in tqdm(cases, desc="memory")
        ],
    }
    return [
        {
            "method": method,
            "dt": dt,
            **training[k],
            **{name: values[k] for name, values in found.items()},
        }
        for k, (method, dt) in enumerate(cases)
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Everything as Markdown, and the training epoch by epoch below."""
    summary = [
        "| method | time step, µs | test accuracy, % | training with compilation, s | "
        "training step, ms | memory, MB | relative error of the gradient |",
        "|---|---|---|---|---|---|---|",
    ]
    epochs = [
        "| method | time step, µs | test accuracy after each epoch, % | seconds until then |",
        "|---|---|---|---|",
    ]
    for row in rows:
        step = "none" if row["method"] == EXACT else f"{row['dt'] / US:g}"
        summary.append(
            f"| {row['method']} | {step} | {100 * row['accuracy'][-1]:.1f} | "
            f"{rounded(row['elapsed'][-1])} | {rounded(1e3 * row['seconds'])} | "
            f"{row['megabytes']:.0f} | {row['gradient_error']:.2g} |"
        )
        accuracies = ", ".join(f"{100 * accuracy:.1f}" for accuracy in row["accuracy"])
        seconds = ", ".join(f"{second:.1f}" for second in row["elapsed"])
        epochs.append(f"| {row['method']} | {step} | {accuracies} | {seconds} |")
    return "\n".join([*summary, "", *epochs]) + "\n"


def rounded(value: float) -> str:
    """Three digits, without a power of ten."""
    return f"{float(f'{value:.3g}'):g}"


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/compare_hxtorch")
    with run:
        compare(settings, run)


def compare(settings: Settings, run: Run) -> None:
    """Measure, write and draw."""
    torch.set_num_threads(1)
    rows = measured(settings, run)
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    metrics = {"rows": rows, "settings": asdict(settings)}
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    text = table(rows)
    (out / "table.md").write_text(text)
    plot(out / "figure.png", rows)
    print(f"\n{text}\nfiles: {out}/metrics.json, table.md, figure.png")


if __name__ == "__main__":
    main()
