"""Train a spiking network on the Yin-Yang data set, with exact gradients of its spike times.

    python examples/yinyang.py
    python examples/yinyang.py --readout li --out runs/voltages

A point (x, y) is coded as the times of four spikes, one for each of x, y, 1 - x and 1 - y. They and
a bias spike drive a hidden layer whose neurons spike once at most. Which of three output neurons
spikes first (--readout ttfs), or which of three leaky integrators reaches the highest voltage
(--readout li), is the answer. The folder --out receives metrics.json, figure.png, sample.html, a
page to go through the spikes of one sample, and model.pt with the weights and the settings. Ctrl-C
writes a checkpoint; --resume goes on from it.

Data: Kriener, Göltz & Petrovici 2022, doi:10.1145/3517343.3517380.
"""

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import torch
from _settings import Settings, installed, parse_arguments, say
from _training import train
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

with installed():
    from _checkpoint import Run
    from _plots import plot

MS = 1e-3
TAU_MEM = 20 * MS
TAU_SYN = 10 * MS
PREDICTED_AT_ONCE = 1000


def build_model(settings: Settings) -> nn.Sequential:
    """From values (batch, 4) to first-spike times (batch, 3, 1) or voltages (batch, 3)."""
    encoder = snn.LatencyEncoder(t_early=0.0, t_late=20 * MS, bias=0.0)
    lif = partial(snn.LIF, refractory=math.inf, gradient=settings.gradient)
    hidden = lif(5, settings.hidden, tau_mem=TAU_MEM, tau_syn=TAU_SYN)
    if settings.readout == "li":
        readout = snn.LI(settings.hidden, 3, tau_mem=TAU_MEM, tau_syn=TAU_SYN, readout="max")
    else:
        # A silent neuron has no gradient. With its leak above the threshold of 1, each output
        # spikes sooner or later; its input decides when.
        readout = lif(settings.hidden, 3, tau_mem=TAU_MEM, tau_syn=TAU_SYN, v_leak=1.2)
        # Weaker than by default, so that outputs wait for many hidden spikes before they decide.
        nn.init.normal_(hidden.weight, mean=1.2, std=1.6)
        nn.init.normal_(readout.weight, mean=12 / settings.hidden, std=2 / settings.hidden**0.5)
    return nn.Sequential(encoder, hidden, readout)


def build_loss(settings: Settings) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy, sharp in order to spend the neurons on what is close to a boundary."""
    if settings.readout == "li":
        return lambda voltages, classes: nn.functional.cross_entropy(10 * voltages, classes)
    return snn.TTFSCrossEntropyLoss(TAU_SYN, xi=0.03)


@torch.no_grad()
def predict(model: nn.Module, values: Tensor) -> Tensor:
    """The class of each sample, (batch,)."""
    # In parts of one size, so that JAX compiles once for all numbers of samples.
    outputs = torch.cat([model(part) for part in values.split(PREDICTED_AT_ONCE)])
    return outputs.argmax(-1) if outputs.ndim == 2 else snn.first_to_spike(outputs)


def accuracy(model: nn.Module, data: YinYang) -> float:
    return (predict(model, data.values) == data.classes).double().mean().item()


def seconds_to_compile(model: nn.Module, settings: Settings, data: YinYang, test: YinYang) -> float:
    """Have everything compiled before it is timed, by using the model as training and test do."""
    start = time.perf_counter()
    batch = slice(settings.batch_size)
    build_loss(settings)(model(data.values[batch]), data.classes[batch]).backward()
    accuracy(model, test)
    return time.perf_counter() - start


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/yinyang")
    with run:
        experiment(settings, run)


def experiment(settings: Settings, run: Run) -> None:
    # All tensors are small: further torch threads would only take the cores from JAX.
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    data = YinYang(settings.train_size, seed=settings.seed)
    test = YinYang(settings.test_size, seed=settings.seed + 1_000_000)
    model = build_model(settings)
    say("compiling, which may take a minute")
    compile_seconds = seconds_to_compile(model, settings, data, test)
    loss_function = build_loss(settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    steps = settings.epochs * (len(data) // settings.batch_size)
    history = train(
        lambda batch: loss_function(model(data.values[batch]), data.classes[batch]),
        lambda: accuracy(model, test),
        optimizer,
        CosineAnnealingLR(optimizer, T_max=steps),
        {"model": model},
        run,
        samples=len(data),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
    )
    say("measuring accuracies")
    metrics = {
        "test_accuracy": accuracy(model, test),
        "training_accuracy": accuracy(model, data),
        "seconds_per_epoch": statistics.median(history.seconds),
        "compile_seconds": compile_seconds,
    }
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**metrics, "settings": asdict(settings)}, indent=2)
    (out / "metrics.json").write_text(text + "\n")
    torch.save({"state_dict": model.state_dict(), "settings": asdict(settings)}, out / "model.pt")
    say("drawing the figure: decisions over the plane, voltages of one sample")
    plot(out / "figure.png", model, predict, history.loss, history.test_accuracy, test)
    print(f"\ntest accuracy      {metrics['test_accuracy']:.2%} of {len(test)} unseen samples")
    print(f"training accuracy  {metrics['training_accuracy']:.2%} of {len(data)}")
    print(f"time per epoch     {metrics['seconds_per_epoch']:.2f} s")
    print(f"compilation        {metrics['compile_seconds']:.1f} s")
    print(f"files              {out}/metrics.json, model.pt, figure.png, sample.html")


if __name__ == "__main__":
    main()
