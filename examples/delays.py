"""Train small networks on Yin-Yang with learnable delays: none, of neurons, or of connections.

    python examples/delays.py
    python examples/delays.py --delays none --out runs/no_delays
    python examples/delays.py --hidden 5

Four spikes code a point (x, y), 1 - x and 1 - y, as in yinyang.py. Weights say how much a spike
counts, delays (--delays axonal: one for all connections of a neuron that sends; synaptic: one for
each connection) when, so that fewer neurons are needed. Delays and weights are trained together,
with exact gradients. The folder --out receives metrics.json, figure.png, and model.pt with the
weights and the settings. Ctrl-C writes a checkpoint; --resume goes on from it.

Networks with delays, and what they reach: Göltz et al. 2025, DelGrad, Nature Communications.
"""

import json
import math
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import torch
from _settings import installed, option, parse_arguments, positive, say, seed_option
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from yinyang import TAU_MEM, TAU_SYN, accuracy, predict

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

with installed():
    from _checkpoint import Run
    from _delay_plots import plot
    from _training import train

MS = 1e-3


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = seed_option()
    delays: Literal["none", "axonal", "synaptic"] = option(
        "synaptic", choices=("none", "axonal", "synaptic")
    )
    epochs: int = option(150, type=positive)
    hidden: int = option(30, "hidden neurons (%(default)s)", type=positive)
    train_size: int = option(5000, type=positive)
    test_size: int = 1000
    batch_size: int = 64
    learning_rate: float = 1e-2
    delay_rate: float = 2e-4
    """Learning rate of the delays, in seconds."""


def build_model(settings: Settings) -> nn.Sequential:
    """From values (batch, 4) to first-spike times (batch, 3, 1)."""
    encoder = snn.LatencyEncoder(t_early=0.0, t_late=20 * MS, bias=0.0)
    kinds: dict[str, Any] = {"none": None, "axonal": "axonal", "synaptic": "synaptic"}
    delay = kinds[settings.delays]
    lif = partial(snn.LIF, refractory=math.inf, tau_mem=TAU_MEM, tau_syn=TAU_SYN, delay=delay)
    # With its leak above the threshold of 1, each output spikes sooner or later.
    hidden, output = lif(5, settings.hidden), lif(settings.hidden, 3, v_leak=1.2)
    nn.init.normal_(hidden.weight, mean=2.0, std=1.0)
    nn.init.normal_(output.weight, mean=12 / settings.hidden, std=2 / settings.hidden**0.5)
    return nn.Sequential(encoder, hidden, output)


def build_optimizer(settings: Settings, model: nn.Module) -> torch.optim.Adam:
    """Delays are a few milliseconds, weights are of order 1: each has its own learning rate."""
    named = dict(model.named_parameters())
    delays = [parameter for name, parameter in named.items() if name.endswith("delay")]
    others = [parameter for name, parameter in named.items() if not name.endswith("delay")]
    groups: list[dict[str, Any]] = [{"params": others, "lr": settings.learning_rate}]
    if delays:
        groups.append({"params": delays, "lr": settings.delay_rate})
    return torch.optim.Adam(groups)


def experiment(settings: Settings, run: Run) -> None:
    # All tensors are small: further torch threads would only take the cores from JAX.
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    data = YinYang(settings.train_size, seed=settings.seed)
    test = YinYang(settings.test_size, seed=settings.seed + 1_000_000)
    model = build_model(settings)
    loss_function = snn.TTFSCrossEntropyLoss(TAU_SYN, xi=0.03)
    optimizer = build_optimizer(settings, model)
    steps = settings.epochs * (len(data) // settings.batch_size)

    def loss_of(batch: Tensor) -> Tensor:
        loss = loss_function(model(data.values[batch]), data.classes[batch])
        # Of five hidden neurons none may fall silent.
        return loss + snn.silent_loss(model)

    say("compiling, which may take a minute")
    history = train(
        loss_of,
        lambda: accuracy(model, test),
        optimizer,
        CosineAnnealingLR(optimizer, T_max=steps),
        {"model": model},
        run,
        samples=len(data),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
    )
    metrics = {
        "test_accuracy": accuracy(model, test),
        "training_accuracy": accuracy(model, data),
        "seconds": sum(history.seconds),
    }
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**metrics, "settings": asdict(settings)}, indent=2)
    (out / "metrics.json").write_text(text + "\n")
    torch.save({"state_dict": model.state_dict(), "settings": asdict(settings)}, out / "model.pt")
    say("drawing the figure: curves, decisions over the plane, delays")
    plot(out / "figure.png", model, predict, history.loss, history.test_accuracy, test)
    print(f"\ntest accuracy      {metrics['test_accuracy']:.2%} of {len(test)} unseen samples")
    print(f"training accuracy  {metrics['training_accuracy']:.2%} of {len(data)}")
    print(f"time               {metrics['seconds']:.0f} s, compilation included")
    print(f"files              {out}/metrics.json, model.pt, figure.png")


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/delays")
    with run:
        experiment(settings, run)


if __name__ == "__main__":
    main()
