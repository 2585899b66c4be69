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

import argparse
import copy
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from _settings import natural, positive
from torch import Tensor, nn

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

try:
    import nir
    from matplotlib.figure import Figure
    from tqdm import trange

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what torch deprecates
        import norse.torch as norse
except ModuleNotFoundError as error:
    sys.exit(
        f"{error.name} is missing. Install what this example needs: "
        f"pip install -e '.[examples,nir]' norse"
    )

MS = 1e-3
TAU_MEM, TAU_SYN, T_MAX = 20 * MS, 10 * MS, 50 * MS
SHARPNESS = 10 / T_MAX  # of the cross-entropy, on integrals of voltages that differ by less than 1
CLIP = 0.02
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = 0
    epochs: int = 12
    fine_epochs: int = 12
    hidden: int = 40
    dt_in_ms: float = 0.5
    train_size: int = 2000
    test_size: int = 1000
    batch_size: int = 50
    learning_rate: float = 5e-3
    fine_learning_rate: float = 2e-3


def main() -> None:
    settings, out = parse_arguments()
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    dt = settings.dt_in_ms * MS
    data = YinYang(settings.train_size, seed=settings.seed)
    test = YinYang(settings.test_size, seed=settings.seed + 1_000_000)
    encoder = snn.LatencyEncoder(0.0, 20 * MS, bias=0.0)

    stepped = norse_network(settings.hidden, dt)
    on_grid = grid_network(stepped, encoder, dt)
    curves = {"Norse": train(stepped, on_grid, data, test, settings.epochs, settings, "Norse")}

    # The whole of the transfer: the layers have Norse's weights and constants.
    exact = snn.nir.from_torch(
        stepped,
        dt,
        lif={"max_spikes": 6, "t_max": T_MAX, "on_overflow": "warn"},
        li={"readout": "integral", "t_max": T_MAX},
    )
    in_time = nn.Sequential(encoder, exact)
    rows = [
        row("Norse", on_grid, test),
        row("the same weights in evtorch", in_time, test),
    ]
    agreement = answers_agree(on_grid, in_time, test)
    more = copy.deepcopy(stepped)
    curves["fine-tuned in evtorch"] = train(
        exact, in_time, data, test, settings.fine_epochs, settings, "evtorch", fine=True
    )
    rows.append(row("fine-tuned with exact gradients", in_time, test))
    more_on_grid = grid_network(more, encoder, dt)
    curves["further in Norse"] = train(
        more, more_on_grid, data, test, settings.fine_epochs, settings, "Norse", fine=True
    )
    rows.append(row("trained further in Norse", more_on_grid, test))

    out.mkdir(parents=True, exist_ok=True)
    nir.write(out / "fine_tuned.nir", snn.nir.to_nir(exact))
    text = table(rows, agreement)
    (out / "table.md").write_text(text)
    metrics = {"rows": rows, "same_answers": agreement, "settings": asdict(settings)}
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    plot(out / "figure.png", curves, settings.epochs)
    print(f"\n{text}\nfiles: {out}/metrics.json, table.md, figure.png, fine_tuned.nir")


def norse_network(hidden: int, dt: float) -> nn.Sequential:
    """5 inputs, LIF neurons, and 3 leaky integrators that are read out by their mean voltage."""
    constants = {
        "tau_mem_inv": torch.as_tensor(1 / TAU_MEM),
        "tau_syn_inv": torch.as_tensor(1 / TAU_SYN),
    }
    layers = [
        nn.Linear(5, hidden, bias=False),
        norse.LIFCell(norse.LIFParameters(**constants), dt=dt),
        nn.Linear(hidden, 3, bias=False),
        norse.LICell(norse.LIParameters(**constants), dt=dt),
    ]
    nn.init.normal_(layers[0].weight, mean=1.6, std=1.8)
    nn.init.normal_(layers[2].weight, mean=0.2, std=0.5 / hidden**0.5)
    return norse.SequentialState(*layers)


def grid_network(model: nn.Sequential, encoder: nn.Module, dt: float) -> Network:
    """Run Norse's network over all steps: from values (batch, 4) to integrals (batch, 3)."""
    steps = round(T_MAX / dt)

    def run(values: Tensor) -> Tensor:
        raster = snn.dense_from_spike_times(encoder(values), dt, steps)
        state, integral = None, torch.zeros(len(values), 3)
        for spikes in raster:
            voltage, state = model(spikes, state)
            integral = integral + dt * voltage
        return integral

    return run


def train(
    model: nn.Module,
    network: Network,
    data: YinYang,
    test: YinYang,
    epochs: int,
    settings: Settings,
    title: str,
    fine: bool = False,
) -> list[float]:
    """Train with Adam; **returns** the test accuracy after each epoch, for the figure alone."""
    rate = settings.fine_learning_rate if fine else settings.learning_rate
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    steps = len(data) // settings.batch_size
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)
    found = []
    for _ in (progress := trange(epochs, desc=title, unit="epoch")):
        for batch in torch.randperm(len(data)).split(settings.batch_size)[:steps]:
            optimizer.zero_grad()
            scores = SHARPNESS * network(data.values[batch])
            nn.functional.cross_entropy(scores, data.classes[batch]).backward()
            nn.utils.clip_grad_value_(model.parameters(), CLIP)
            optimizer.step()
            scheduler.step()
        found.append(accuracy(network, test))
        progress.set_postfix(test_accuracy=f"{found[-1]:.1%}")
    return found


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


def plot(path: Path, curves: dict[str, list[float]], epochs: int) -> None:
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        start = 1 if name == "Norse" else epochs + 1
        axes.plot(range(start, start + len(values)), [100 * v for v in values], label=name)
    axes.axvline(epochs + 0.5, color="tab:gray", linestyle=":")
    axes.set(xlabel="epoch", ylabel="test accuracy, %", title="Yin-Yang, from Norse to evtorch")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def parse_arguments() -> tuple[Settings, Path]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Settings()
    add = parser.add_argument
    add("--seed", type=natural, default=default.seed, help="of data, weights, order (%(default)s)")
    add("--epochs", type=positive, default=default.epochs, help="in Norse (%(default)s)")
    add(
        "--fine-epochs",
        type=positive,
        default=default.fine_epochs,
        help="afterwards, in either (%(default)s)",
    )
    add("--hidden", type=positive, default=default.hidden, help="hidden neurons (%(default)s)")
    add("--train-size", type=positive, default=default.train_size, help="samples (%(default)s)")
    add(
        "--dt",
        type=float,
        dest="dt_in_ms",
        default=default.dt_in_ms,
        help="Norse's time step, ms (%(default)s)",
    )
    add(
        "--out",
        type=Path,
        default=Path("runs/fine_tune_from_norse"),
        help="folder for results (%(default)s)",
    )
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    if not 0 < arguments["dt_in_ms"] <= 5:
        parser.error("--dt must be > 0 and at most 5 ms")
    return Settings(**arguments), out


if __name__ == "__main__":
    main()
