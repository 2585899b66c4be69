"""A Yin-Yang script in the style of hxtorch: its modules, handles and run, on exact events.

    python examples/hx_yinyang.py                            # exact, continuous time
    python examples/hx_yinyang.py --engine euler             # time grid, surrogate gradient
    python examples/hx_yinyang.py --hardware                 # in the loop with a mock chip

Points are coded as spike times, five inputs drive a hidden layer, and the highest voltage of three
leaky integrators is the answer. But for its first import such a script is one for BrainScaleS-2.
The folder --out receives metrics.json and figure.png. Ctrl-C writes a checkpoint; --resume goes on.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from _settings import installed, number, option, parse_arguments, positive, say, seed_option
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, default_collate

import evtorch.torch_api.hx as hxsnn
from evtorch.torch_api.hardware import MockBSS2
from evtorch.torch_api.hx.datasets import YinYangDataset
from evtorch.torch_api.hx.transforms.decode import MaxOverTime
from evtorch.torch_api.hx.transforms.encode import CoordinatesToSpikes
from evtorch.torch_api.hx.transforms.weight_transforms import linear_saturating

with installed():
    from _checkpoint import Run, Values
    from _curves import save_training

US = 1e-6
T_EARLY, T_LATE, T_BIAS, T_SIM = 2 * US, 26 * US, 2 * US, 38 * US
# Voltages count from here on. From the start, the highest one of an output that only falls would be
# its leak potential, which has no gradient: such an output would never answer again.
T_DECIDE = 12 * US
TAU = 6 * US
WEIGHT_SCALE = 20.0
READOUT_SCALE = 3.0
REG_READOUT = 4e-4
MAX_GRADIENT = 1.0
FASTER_READOUT = 3.0


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    engine: str = option(
        "event",
        "spikes in continuous time, or on a time grid of steps --dt (%(default)s)",
        choices=("event", "euler"),
    )
    hardware: bool = option(False, "run on a mock chip instead of simulating", action="store_true")
    epochs: int = option(5, type=positive)
    hidden: int = option(120, "hidden neurons (%(default)s)", type=positive)
    dt: float = option(
        US,
        "time step of dense tensors in seconds, as in hxtorch (%(default)s, a microsecond)",
        type=number("seconds", 5 * US),
        metavar="SECONDS",
    )
    batch_size: int = option(50, "samples per step (%(default)s)", type=positive)
    train_size: int = option(5000, "samples (%(default)s)", type=positive)
    lr: float = option(1e-2, "learning rate of the hidden layer (%(default)s)", type=number())
    seed: int = seed_option("of weights and order")


class SNN(nn.Module):
    """One hidden layer of LIF neurons, read out by leaky integrators.

    **Arguments:** ``synapse``, ``neuron``: types of the hidden layer, for the gradient on the grid;
    the others as in `hxsnn.Experiment`.
    """

    def __init__(
        self,
        hidden: int = 120,
        dt: float = US,
        mock: bool = True,
        engine: Any = "event",
        synapse: Callable[..., Any] = hxsnn.Synapse,
        neuron: Callable[..., Any] = hxsnn.LIF,
    ) -> None:
        super().__init__()
        self.exp = hxsnn.Experiment(mock=mock, dt=dt, engine=engine)
        transform = partial(linear_saturating, scale=WEIGHT_SCALE)
        constants = {
            "tau_mem": TAU,
            "tau_syn": TAU,
            "leak": hxsnn.MixedHXModelParameter(0.0, 80),
            "membrane_capacitance": hxsnn.HXTransformedModelParameter(TAU, lambda x: x / TAU * 63),
        }
        self.linear_h = synapse(5, hidden, self.exp, transform=transform)
        self.lif_h = neuron(
            hidden,
            self.exp,
            reset=hxsnn.MixedHXModelParameter(0.0, 80),
            threshold=hxsnn.MixedHXModelParameter(1.0, 150),
            alpha=150,
            **constants,
        )
        self.linear_o = hxsnn.Synapse(hidden, 3, self.exp, transform=transform)
        self.li_readout = hxsnn.LI(3, self.exp, **constants)
        nn.init.normal_(self.linear_h.weight, 1.2, 0.8)
        nn.init.normal_(self.linear_o.weight, 0.0, 0.3)

    def forward(self, spikes: Tensor) -> Tensor:
        """From spikes (time, batch, 5) to voltages (time, batch, 3) from T_DECIDE on."""
        c_h = self.linear_h(hxsnn.LIFObservables(spikes=spikes))
        self.s_h = self.lif_h(c_h)
        y_o = self.li_readout(self.linear_o(self.s_h))
        hxsnn.run(self.exp, spikes.shape[0])
        return y_o.membrane_cadc[round(T_DECIDE / self.exp.dt) :]


class Model(nn.Module):
    """From values (batch, 4) to scores (batch, 3)."""

    def __init__(self, network: SNN) -> None:
        super().__init__()
        dt = network.exp.dt
        self.encoder = CoordinatesToSpikes(round(T_SIM / dt), T_EARLY, T_LATE, dt, T_BIAS)
        self.network = network
        self.decoder = MaxOverTime()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.decoder(self.network(self.encoder(inputs.float())))


def loss_of(scores: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy, with a penalty on high voltages."""
    penalty = REG_READOUT * (READOUT_SCALE * scores).square().mean()
    return nn.functional.cross_entropy(READOUT_SCALE * scores, target) + penalty


def train(model: nn.Module, batches: Iterable[Any], optimizer: Any, scheduler: Any) -> float:
    """One epoch; **returns** the mean loss."""
    model.train()
    losses = []
    for data, target in batches:
        model.zero_grad()
        loss = loss_of(model(data), target)
        loss.backward()
        # A spike that grazes the threshold has a huge gradient.
        nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return statistics.mean(losses)


@torch.no_grad()
def test(model: nn.Module, loader: DataLoader) -> float:
    """The fraction of samples that are classified correctly."""
    model.eval()
    right = [(model(data).argmax(1) == target).sum().item() for data, target in loader]
    return sum(right) / sum(len(target) for _, target in loader)


def seconds_to_compile(model: nn.Module, loader: DataLoader) -> float:
    """Have everything compiled before it is timed; draws no random numbers, changes no weight."""
    start = time.perf_counter()
    data, target = default_collate([loader.dataset[k] for k in range(loader.batch_size or 1)])
    loss_of(model(data), target).backward()
    with torch.no_grad():
        model(data)
    return time.perf_counter() - start


def loaders(train_size: int, test_size: int, batch_size: int) -> tuple[DataLoader, DataLoader]:
    """Training data, and unseen test data."""
    trainset = YinYangDataset(size=train_size, seed=42)
    testset = YinYangDataset(size=test_size, seed=41)
    return (
        DataLoader(trainset, batch_size, shuffle=True, drop_last=True),
        DataLoader(testset, batch_size),
    )


def optimise(model: Model, steps: int, learning_rate: float) -> tuple[Any, Any]:
    """Adam, with a learning rate that falls to 0 over ``steps`` batches."""
    network = model.network
    groups = [
        {"params": network.linear_h.parameters(), "lr": learning_rate},
        {"params": network.linear_o.parameters(), "lr": FASTER_READOUT * learning_rate},
    ]
    optimizer = torch.optim.Adam(groups)
    return optimizer, CosineAnnealingLR(optimizer, T_max=steps)


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/hx_yinyang")
    with run:
        experiment(settings, run)


def experiment(settings: Settings, run: Run) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    chip = MockBSS2()
    if settings.hardware:
        hxsnn.init_hardware(chip)
    mock, engine = not settings.hardware, settings.engine
    model = Model(SNN(settings.hidden, settings.dt, mock=mock, engine=engine))
    train_loader, test_loader = loaders(settings.train_size, 1000, settings.batch_size)
    optimizer, scheduler = optimise(model, settings.epochs * len(train_loader), settings.lr)
    say("compiling, which may take a minute")
    compile_seconds = seconds_to_compile(model, train_loader)
    history = Values(loss=[], accuracy=[], seconds=[])
    states = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": scheduler,
        "history": history,
        "chip": chip,
    }
    for _ in (progress := run.epochs("training", settings.epochs, states)):
        start = time.perf_counter()
        history.loss.append(train(model, train_loader, optimizer, scheduler))
        history.seconds.append(time.perf_counter() - start)
        history.accuracy.append(test(model, test_loader))
        progress.set_postfix(
            loss=f"{history.loss[-1]:.3f}", test_accuracy=f"{history.accuracy[-1]:.1%}"
        )
    losses, accuracies, seconds = history.loss, history.accuracy, history.seconds
    if settings.hardware:
        hxsnn.release_hardware()
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    metrics = {
        "test_accuracy": accuracies[-1],
        "test_accuracy_by_epoch": accuracies,
        "seconds_per_epoch": statistics.median(seconds),
        "compile_seconds": compile_seconds,
        "settings": {**asdict(settings), "out": str(out)},
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    title = f"Yin-Yang in hxtorch's style: {engine} engine{', mock chip' * settings.hardware}"
    save_training(out / "figure.png", title, losses, accuracies)
    print(f"\ntest accuracy   {accuracies[-1]:.2%}")
    print(f"time per epoch  {statistics.median(seconds):.2f} s")
    print(f"compilation     {compile_seconds:.1f} s")
    print(f"files           {out}/metrics.json, figure.png")


if __name__ == "__main__":
    main()
