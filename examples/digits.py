"""Train a spiking network on scikit-learn's 8x8 digits, with four kinds of hidden layers.

    python examples/digits.py
    python examples/digits.py --model hybrid --out runs/hybrid

Each pixel and its complement is a spike, the earlier the larger the value, so that bright and dark
pixels both speak early. A hidden layer of neurons that spike once at most (--model lif) or several
times (--model spikes), a spiking convolution (--model conv), or neurons behind a convolution of
torch (--model hybrid), drive ten leaky integrators, of which the highest voltage is the answer.
Weights are drawn from real inputs, and learning rates are relative to them. The folder --out
receives metrics.json, figure.png, and model.pt with the weights and the settings. Ctrl-C writes a
checkpoint; --resume goes on from it.

Data: E. Alpaydin, C. Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, doi:10.24432/C50P49; 1797 images, of which a fixed stratified quarter is for the test.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from _settings import installed, number, option, parse_arguments, positive, say, seed_option
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from evtorch import torch_api as snn

with installed():
    from _checkpoint import Run
    from _curves import save_training
    from _training import train
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split


MS = 1e-3
T_LATE = 20 * MS
# Two time constants of what the input lasts, half of the library's defaults.
CONSTANTS: dict[str, Any] = {"tau_mem": 10 * MS, "tau_syn": 5 * MS}
BATCH_SIZE = 64
# Images that need no gradient come in batches of this size only, since each size is compiled.
MANY = 256
# What fits each model and takes a minute or two: hidden neurons or channels, and epochs.
SIZES = {"lif": (300, 80), "spikes": (150, 60), "conv": (48, 50), "hybrid": (300, 20)}


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    model: Literal["lif", "spikes", "conv", "hybrid"] = option(
        "lif",
        "one spike per hidden neuron, several, a spiking convolution, or one spike behind a "
        "convolution of torch (%(default)s)",
        choices=tuple(SIZES),
    )
    seed: int = seed_option("of weights, order, noise")
    hidden: int = option(
        0, "hidden neurons (300; 150 with several spikes), or channels (48)", type=positive
    )
    epochs: int = option(0, "(80; 60 with several spikes, 50 of conv, 20 of hybrid)", type=positive)
    learning_rate: float = option(0.1, "relative to the weights (%(default)s)", type=number())

    def __post_init__(self) -> None:
        for name, usual in zip(("hidden", "epochs"), SIZES[self.model], strict=True):
            object.__setattr__(self, name, getattr(self, name) or usual)


class Digits(NamedTuple):
    """Images with values in [0, 1], ``(n, 64)``, and their classes, ``(n,)``."""

    values: Tensor
    classes: Tensor


def load() -> tuple[Digits, Digits]:
    """Digits for training and for the test, always the same."""
    found: Any = load_digits()
    parts = train_test_split(
        found.data / 16, found.target, test_size=0.25, stratify=found.target, random_state=0
    )
    values, test_values, classes, test_classes = (torch.as_tensor(part) for part in parts)
    return Digits(values.float(), classes), Digits(test_values.float(), test_classes)


def build_model(settings: Settings) -> nn.Sequential:
    """From images (batch, 64) to voltages (batch, 10)."""
    encode = snn.LatencyEncoder(0.0, T_LATE, complement=True, large_early=True)
    noise: list[nn.Module] = [snn.SpikeJitter(2 * MS), snn.SpikeDropout(0.1)]
    inputs = 128
    options: dict[str, Any] = {"refractory": math.inf}
    if settings.model == "spikes":
        # Those that tell: early ones. Later ones would cost time and add little.
        options = {"max_spikes": 3, "t_max": 1.5 * T_LATE, "on_overflow": "truncate"}
        noise = [snn.SpikeDropout(0.15)]
    before = [encode, *noise]
    if settings.model == "hybrid":
        # Normalised, so that values and thereby spikes spread over the whole range.
        features = [nn.Conv2d(1, 16, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(16)]
        before = [nn.Unflatten(1, (1, 8, 8)), *features, nn.Sigmoid(), nn.Flatten(), *before]
        inputs = 2 * 16 * 4 * 4
    if settings.model == "conv":
        hidden = snn.LIFConv2d(2, settings.hidden, 5, **CONSTANTS, **options)
        layers = [snn.UnflattenSpikes((2, 8, 8)), hidden, snn.FlattenSpikes()]
        return nn.Sequential(*before, *layers, snn.LI(settings.hidden * 4 * 4, 10, **CONSTANTS))
    hidden = snn.LIF(inputs, settings.hidden, **CONSTANTS, **options)
    return nn.Sequential(*before, hidden, snn.LI(settings.hidden, 10, **CONSTANTS))


@torch.no_grad()
def accuracy(model: nn.Module, data: Digits) -> float:
    model.eval()
    with snn.pad_batches(least=MANY):
        answers = [model(values).argmax(-1) for values in data.values.split(MANY)]
    model.train()
    return (torch.cat(answers) == data.classes).double().mean().item()


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/digits")
    with run:
        experiment(settings, run)


def experiment(settings: Settings, run: Run) -> None:
    # All tensors are small: further torch threads would only take the cores from JAX.
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    start = time.perf_counter()
    data, test = load()
    model = build_model(settings)
    say("drawing weights from real inputs, and compiling")
    # The few inputs of a convolution's neuron tell more apart if its weights differ more.
    spread, margin = (0.3, 2.0) if settings.model == "conv" else (1 / 6, 3.0)
    snn.initialise_(model, data.values[:MANY], spread=spread, margin=margin)
    loss_function = snn.VoltageCrossEntropyLoss(scale=2.0, label_smoothing=0.1)

    def loss_of(batch: Tensor) -> Tensor:
        loss = loss_function(model(data.values[batch]), data.classes[batch])
        return loss + snn.silent_loss(model)

    optimizer = torch.optim.Adam(
        snn.parameter_groups(model, settings.learning_rate, lr_others=3e-3)
    )
    steps = settings.epochs * (len(data.values) // BATCH_SIZE)
    history = train(
        loss_of,
        lambda: accuracy(model, test),
        optimizer,
        CosineAnnealingLR(optimizer, T_max=steps),
        {"model": model},
        run,
        samples=len(data.values),
        batch_size=BATCH_SIZE,
        epochs=settings.epochs,
        before_step=lambda: snn.clip_grad_(model),
    )
    metrics = {
        "test_accuracy": accuracy(model, test),
        "training_accuracy": accuracy(model, data),
        "seconds": time.perf_counter() - start,
    }
    report(settings, run, model, metrics, history.loss, history.test_accuracy)


def report(
    settings: Settings,
    run: Run,
    model: nn.Module,
    metrics: dict[str, float],
    loss: list[float],
    test_accuracy: list[float],
) -> None:
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**metrics, "settings": asdict(settings)}, indent=2)
    (out / "metrics.json").write_text(text + "\n")
    torch.save({"state_dict": model.state_dict(), "settings": asdict(settings)}, out / "model.pt")
    save_training(out / "figure.png", f"digits, {settings.model}", loss, test_accuracy)
    print(f"\n{snn.health_report(model)}\n")
    print(f"test accuracy      {metrics['test_accuracy']:.2%}")
    print(f"training accuracy  {metrics['training_accuracy']:.2%}")
    print(f"time               {metrics['seconds']:.0f} s, compilation included")
    print(f"files              {out}/metrics.json, model.pt, figure.png")


if __name__ == "__main__":
    main()
