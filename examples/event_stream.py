"""Train a spiking network with learnable delays on address events whose rates say nothing.

    python examples/event_stream.py
    python examples/event_stream.py --delays none    # what is left without delays

A sample is a stream of 520 events (time, channel) of 20 channels, which goes in as it is. The
channels speak one after the other, round and round, in one of four orders, amid random events; how
often each of them speaks, and what it does by itself, is alike in all classes (see
_ordered_events.py). A hidden layer delays each channel by a time that it learns, so that what comes
in one order arrives together. The answer is the largest of four integrated voltages. A network of
torch that sees only counts, or only first times, is trained too, for comparison. The folder --out
receives metrics.json, figure.png, and model.pt with the weights and the settings. Ctrl-C writes a
checkpoint; --resume goes on from it.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from _baseline import baseline_accuracy
from _ordered_events import MS, OrderedEvents
from _settings import installed, option, parse_arguments, positive, say, seed_option
from _training import train
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from evtorch import torch_api as snn

with installed():
    from _checkpoint import Run, Values
    from _stream_plots import plot

# About as long as the 2 ms from one channel to the next, so that a neuron tells apart what comes
# together and what does not.
TAU_MEM = 6 * MS
TAU_SYN = 3 * MS
# Random, as training takes longer from equal ones, and shorter than what helps, which it finds.
LONGEST_FIRST_DELAY = 5 * MS
# Neurons need not see the end of a sample: with these spikes they have said what they have to.
MAX_SPIKES = 12
# Early voltages count more, so that spikes get gradients for the times at which they come.
TAU_WEIGHT = 100 * MS
RELATIVE_LEARNING_RATE = 0.06
TAKEN_AT_ONCE = 100


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = seed_option()
    epochs: int = option(15, type=positive)
    hidden: int = option(40, "hidden neurons (%(default)s)", type=positive)
    delays: Literal["learned", "fixed", "none"] = option(
        "learned",
        "of the channels: learned, random, or none (%(default)s)",
        choices=("learned", "fixed", "none"),
    )
    train_size: int = option(1000, "samples (%(default)s)", type=positive)
    test_size: int = option(500, "samples (%(default)s)", type=positive)
    batch_size: int = 50


def build_model(settings: Settings) -> nn.Sequential:
    """From events of channels, (batch, events), to integrated voltages, (batch, classes)."""
    common: dict[str, Any] = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "t_max": OrderedEvents.T_MAX}
    hidden = snn.LIF(
        OrderedEvents.CHANNELS,
        settings.hidden,
        max_spikes=MAX_SPIKES,
        on_overflow="truncate",
        delay=None if settings.delays == "none" else "axonal",
        **common,
    )
    if hidden.delay is not None:
        nn.init.uniform_(hidden.delay, 0, LONGEST_FIRST_DELAY)
        hidden.delay.requires_grad_(settings.delays == "learned")
    classes = len(OrderedEvents.STEPS)
    readout = snn.LI(settings.hidden, classes, readout="integral", tau_weight=TAU_WEIGHT, **common)
    return nn.Sequential(hidden, readout)


@torch.no_grad()
def predict(model: nn.Module, data: OrderedEvents) -> Tensor:
    """The class of each sample, (size,)."""
    # In parts of one size, so that JAX compiles once for all numbers of samples.
    parts = torch.arange(len(data)).split(TAKEN_AT_ONCE)
    return torch.cat([model(data[part].events) for part in parts]).argmax(-1)


def accuracy(model: nn.Module, data: OrderedEvents) -> float:
    return (predict(model, data) == data.classes).double().mean().item()


def prepare(
    model: nn.Module, loss_function: nn.Module, settings: Settings, data: OrderedEvents
) -> float:
    """Draw weights that fit the events, and have everything compiled; **returns** the seconds."""
    start = time.perf_counter()
    # Without a margin above the threshold, and far apart from each other: neurons are to answer to
    # some orders, not to all events.
    snn.initialise_(model, data[:TAKEN_AT_ONCE].events, margin=1.0, spread=0.8)
    batch = data[: settings.batch_size]
    loss_function(model(batch.events), batch.classes).backward()
    return time.perf_counter() - start


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/event_stream")
    with run:
        experiment(settings, run)


def experiment(settings: Settings, run: Run) -> None:
    # All tensors are small: further torch threads would only take the cores from JAX.
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    data = OrderedEvents.draw(settings.train_size, settings.seed)
    test = OrderedEvents.draw(settings.test_size, settings.seed + 1_000_000)
    say("training a network of torch on counts and on first times")
    without_order = {
        "counts_accuracy": baseline_accuracy(
            data.counts(), data.classes, test.counts(), test.classes
        ),
        "first_times_accuracy": baseline_accuracy(
            data.first_times(), data.classes, test.first_times(), test.classes
        ),
    }
    model, loss_function = build_model(settings), snn.VoltageCrossEntropyLoss("auto")
    say("initialising and compiling, which may take a minute")
    prepare_seconds = prepare(model, loss_function, settings, data)
    optimizer = torch.optim.Adam(snn.parameter_groups(model, RELATIVE_LEARNING_RATE))
    steps = settings.epochs * (len(data) // settings.batch_size)
    history = train(
        lambda batch: loss_function(model(data[batch].events), data[batch].classes),
        lambda: accuracy(model, test),
        optimizer,
        CosineAnnealingLR(optimizer, T_max=steps),
        {"model": model, "loss": loss_function},
        run,
        samples=len(data),
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        before_step=lambda: snn.clip_grad_(model),
    )
    say("measuring accuracies")
    metrics = {
        "test_accuracy": accuracy(model, test),
        "training_accuracy": accuracy(model, data),
        **without_order,
        "seconds": prepare_seconds + sum(history.seconds),
        "seconds_per_epoch": statistics.median(history.seconds),
        "compile_seconds": prepare_seconds,
    }
    report(settings, run, model, metrics, history, test)


def report(
    settings: Settings,
    run: Run,
    model: nn.Module,
    metrics: dict[str, float],
    history: Values,
    test: OrderedEvents,
) -> None:
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**metrics, "settings": asdict(settings)}, indent=2)
    (out / "metrics.json").write_text(text + "\n")
    torch.save({"state_dict": model.state_dict(), "settings": asdict(settings)}, out / "model.pt")
    say("drawing the figure: curves, one sample per class")
    counts_accuracy = metrics["counts_accuracy"]
    plot(out / "figure.png", test, history.loss, history.test_accuracy, counts_accuracy)
    chance = 1 / len(OrderedEvents.STEPS)
    print(f"\ntest accuracy      {metrics['test_accuracy']:.2%} of {len(test)} unseen samples")
    print(f"training accuracy  {metrics['training_accuracy']:.2%} of {settings.train_size}")
    print(f"counts alone       {counts_accuracy:.2%}, where chance is {chance:.0%}")
    print(f"first times alone  {metrics['first_times_accuracy']:.2%}")
    before = metrics["compile_seconds"]
    print(f"time               {metrics['seconds']:.1f} s, {before:.1f} before training")
    print(f"files              {out}/metrics.json, model.pt, figure.png")


if __name__ == "__main__":
    main()
