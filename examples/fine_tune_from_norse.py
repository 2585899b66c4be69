"""Train a Norse network in time steps, then fine-tune it with exact gradients.

    python examples/fine_tune_from_norse.py
    python examples/fine_tune_from_norse.py --dt 1 --out runs/coarse

A point (x, y) of Yin-Yang is coded as the times of four spikes, for x, y, 1 - x and 1 - y, with a
bias spike. Norse's LIF neurons, 5-40-3 with leaky integrators at the end, learn the classes with a
surrogate gradient. `snn.nir.from_torch` takes weights and constants over into event-based layers,
which learn on from there; for comparison, Norse's network learns on for as long. The folder --out
receives metrics.json, table.md, figure.png and fine_tuned.nir, the result as a NIR graph.

Norse: doi:10.5281/zenodo.4422025. Data: Kriener, Göltz & Petrovici 2022,
doi:10.1145/3517343.3517380.
"""

import copy
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from _settings import installed, number, option, parse_arguments, positive, say, seed_option
from torch import nn

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

with installed("-e '.[examples,nir]' norse"):
    import nir
    from _checkpoint import Run, Values
    from _curves import label_accuracy, plot_accuracy
    from _norse_network import MS, T_MAX, Network, grid_network, norse_network
    from matplotlib.figure import Figure

SHARPNESS = 10 / T_MAX  # of the cross-entropy, on integrals of voltages that differ by less than 1
CLIP = 0.02


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = seed_option()
    epochs: int = option(12, "in Norse (%(default)s)", type=positive)
    fine_epochs: int = option(12, "afterwards, in either (%(default)s)", type=positive)
    hidden: int = option(40, "hidden neurons (%(default)s)", type=positive)
    dt_in_ms: float = option(
        0.5,
        "Norse's time step, milliseconds (%(default)s)",
        type=number("milliseconds", 5),
        metavar="MILLISECONDS",
        flag="--dt",
    )
    train_size: int = option(2000, "samples (%(default)s)", type=positive)
    test_size: int = 1000
    batch_size: int = 50
    learning_rate: float = 5e-3
    fine_learning_rate: float = 2e-3


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/fine_tune_from_norse")
    with run:
        experiment(settings, run)


def experiment(settings: Settings, run: Run) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    dt = settings.dt_in_ms * MS
    data = YinYang(settings.train_size, seed=settings.seed)
    test = YinYang(settings.test_size, seed=settings.seed + 1_000_000)
    encoder = snn.LatencyEncoder(0.0, 20 * MS, bias=0.0)

    stepped = norse_network(settings.hidden, dt)
    on_grid = grid_network(stepped, encoder, dt)
    first = train(stepped, on_grid, settings, data, test, run, "Norse")
    more = copy.deepcopy(stepped)

    # The whole of the transfer: the layers have Norse's weights and constants.
    exact = snn.nir.from_torch(
        stepped,
        dt,
        lif={"max_spikes": 6, "t_max": T_MAX, "on_overflow": "warn"},
        li={"readout": "integral", "t_max": T_MAX},
    )
    in_time = nn.Sequential(encoder, exact)
    say("testing Norse's weights in both")
    rows = [row("Norse", on_grid, test), row("the same weights in evtorch", in_time, test)]
    before = [float(one["test_accuracy"]) for one in rows]
    agreement = answers_agree(on_grid, in_time, test)
    tuned = train(exact, in_time, settings, data, test, run, "evtorch", fine=True)
    rows.append(row("fine-tuned with exact gradients", in_time, test))
    more_on_grid = grid_network(more, encoder, dt)
    further = train(more, more_on_grid, settings, data, test, run, "further in Norse", fine=True)
    rows.append(row("trained further in Norse", more_on_grid, test))

    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    nir.write(out / "fine_tuned.nir", snn.nir.to_nir(exact))
    text = table(rows, agreement)
    (out / "table.md").write_text(text)
    metrics = {"rows": rows, "same_answers": agreement, "settings": asdict(settings)}
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    plot(out / "figure.png", first, [before[1], *tuned], [before[0], *further])
    print(f"\n{text}\nfiles: {out}/metrics.json, table.md, figure.png, fine_tuned.nir")


def train(
    model: nn.Module,
    network: Network,
    settings: Settings,
    data: YinYang,
    test: YinYang,
    run: Run,
    title: str,
    fine: bool = False,
) -> list[float]:
    """Train with Adam; **returns** the test accuracy after each epoch, for the figure alone."""
    epochs = settings.fine_epochs if fine else settings.epochs
    rate = settings.fine_learning_rate if fine else settings.learning_rate
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = len(data) // settings.batch_size
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)
    history = Values(accuracy=[])
    states = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "history": history,
    }
    for _ in (progress := run.epochs(title, epochs, states)):
        for batch in torch.randperm(len(data)).split(settings.batch_size)[:steps]:
            optimizer.zero_grad()
            scores = SHARPNESS * network(data.values[batch])
            nn.functional.cross_entropy(scores, data.classes[batch]).backward()
            nn.utils.clip_grad_value_(model.parameters(), CLIP)
            optimizer.step()
            scheduler.step()
        history.accuracy.append(accuracy(network, test))
        progress.set_postfix(test_accuracy=f"{history.accuracy[-1]:.1%}")
    return history.accuracy


@torch.no_grad()
def accuracy(network: Network, data: YinYang) -> float:
    return (network(data.values).argmax(-1) == data.classes).double().mean().item()


@torch.no_grad()
def answers_agree(first: Network, second: Network, data: YinYang) -> float:
    """Fraction of the samples to which both networks give the same answer."""
    same = first(data.values).argmax(-1) == second(data.values).argmax(-1)
    return same.double().mean().item()


def row(name: str, network: Network, test: YinYang) -> dict[str, str | float]:
    start = time.perf_counter()
    return {
        "network": name,
        "test_accuracy": accuracy(network, test),
        "seconds_to_test": time.perf_counter() - start,
    }


def table(rows: list[dict[str, str | float]], agreement: float) -> str:
    lines = ["| network | test accuracy |", "|---|---|"]
    lines += [f"| {one['network']} | {one['test_accuracy']:.1%} |" for one in rows]
    same = f"Norse and evtorch answer {agreement:.1%} of the samples alike, before fine-tuning."
    return "\n".join([*lines, "", same, ""])


def plot(path: Path, norse: list[float], tuned: list[float], further: list[float]) -> None:
    """Accuracies over epochs; the last two curves start where the first one ends."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    transfer = len(norse)
    plot_accuracy(axes, norse, label="Norse")
    plot_accuracy(axes, tuned, transfer, label="fine-tuned in evtorch")
    plot_accuracy(axes, further, transfer, label="further in Norse", linestyle="--")
    axes.axvline(transfer, color="tab:gray", linestyle=":", label="transfer of the weights")
    label_accuracy(axes)
    axes.set_title("Yin-Yang, from Norse to evtorch")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
