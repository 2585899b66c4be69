"""Compare the time-grid workflow of hxtorch with exact event-based simulation, side by side.

    python examples/compare_hxtorch.py
    python examples/compare_hxtorch.py --epochs 50

Trains the network of hx_yinyang.py in three ways that share everything else: events with exact
gradients, a time grid with surrogate gradients, and EventProp on the time grid. Then measures, for
several time steps, what a training step costs and how far its gradient is from the true one. The
folder --out receives metrics.json, table.md and figure.png.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _hx_measure import EXACT, METHODS, gradient_errors, step_megabytes, step_seconds
from hx_yinyang import SNN, US, Model, loaders, optimise, test, train

try:
    from _hx_plots import plot
    from tqdm import tqdm
except ModuleNotFoundError as error:
    sys.exit(
        f"{error.name} is missing. Install what the examples need: pip install -e '.[examples]'"
    )


def trained(method: str, args: argparse.Namespace, progress: tqdm) -> dict[str, Any]:
    """Accuracy after each epoch, and the seconds of training until then."""
    torch.manual_seed(args.seed)
    model = Model(SNN(args.hidden, US, **METHODS[method]))
    train_loader, test_loader = loaders(args.train_size, 1000, args.batch_size)
    optimizer, scheduler = optimise(model, args.epochs * len(train_loader), args.lr)
    accuracies, seconds = [], []
    progress.set_description(method)
    for _ in range(args.epochs):
        start = time.perf_counter()
        train(model, train_loader, optimizer, scheduler)
        seconds.append(time.perf_counter() - start)
        accuracies.append(test(model, test_loader))
        progress.update()
        progress.set_postfix(test_accuracy=f"{accuracies[-1]:.1%}")
    elapsed = [sum(seconds[: k + 1]) for k in range(len(seconds))]
    return {
        "accuracy": accuracies,
        "elapsed": elapsed,
        "seconds_per_epoch": statistics.median(seconds),
    }


def measured(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Cost and gradient error of every method at every time step."""
    grid = [method for method in METHODS if method != EXACT]
    cases = [(EXACT, US), *((method, dt * US) for method in grid for dt in args.dt)]
    found = {
        "gradient_error": gradient_errors(cases, args.hidden, args.measured_batch),
        "seconds": step_seconds(cases, args.hidden, args.batch_size, args.rounds),
        "megabytes": [
            step_megabytes(method, dt, args.hidden, args.batch_size)
            for method, dt in tqdm(cases, desc="memory")
        ],
    }
    return [
        {"method": method, "dt": dt, **{name: values[k] for name, values in found.items()}}
        for k, (method, dt) in enumerate(cases)
    ]


def table(training: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Everything as Markdown."""
    lines = [
        "| method | time step, µs | test accuracy, % | training step, ms | memory, MB | "
        "relative error of the gradient |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        has_accuracy = row["dt"] == US
        accuracy = f"{100 * training[row['method']]['accuracy'][-1]:.1f}" if has_accuracy else "-"
        step = "none" if row["method"] == EXACT else f"{row['dt'] / US:g}"
        lines.append(
            f"| {row['method']} | {step} | {accuracy} | {1e3 * row['seconds']:.3g} | "
            f"{row['megabytes']:.0f} | {row['gradient_error']:.2g} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--epochs", type=int, default=5, help="(%(default)s)")
    add("--hidden", type=int, default=120, help="(%(default)s)")
    add("--train-size", type=int, default=5000, help="(%(default)s)")
    add("--batch-size", type=int, default=50, help="(%(default)s)")
    add("--lr", type=float, default=1e-2, help="(%(default)s)")
    add("--dt", type=float, nargs="+", default=[1, 0.1, 0.02], help="time steps, µs (1 0.1 0.02)")
    add("--rounds", type=int, default=3, help="turns of timed training steps (%(default)s)")
    add("--measured-batch", type=int, default=8, help="samples for gradients (%(default)s)")
    add("--seed", type=int, default=0, help="of weights and order (%(default)s)")
    add("--out", type=Path, default=Path("runs/compare_hxtorch"), help="folder (%(default)s)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tqdm(total=args.epochs * len(METHODS), unit="epoch") as progress:
        training = {method: trained(method, args, progress) for method in METHODS}
    rows = measured(args)
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {key: str(value) for key, value in vars(args).items()}
    metrics = {"training": training, "steps": rows, "settings": settings}
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    text = table(training, rows)
    (args.out / "table.md").write_text(text)
    plot(args.out / "figure.png", training, rows)
    print(f"\n{text}\nfiles: {args.out}/metrics.json, table.md, figure.png")


if __name__ == "__main__":
    main()
