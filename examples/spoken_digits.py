"""Train an event-based network on spoken digits: recordings of 700 channels, as events.

    python examples/spoken_digits.py                    # made-up words with the same statistics
    python examples/spoken_digits.py --data shd --root FOLDER --train-size 8156 --test-size 2264

Spiking Heidelberg Digits are spoken digits, of two languages, as an artificial cochlea hears them
(Cramer et al. 2020, doi:10.1109/TNNLS.2020.3044364): 20 classes, thousands of events in a second.
With --data shd they are read from FOLDER/SHD by the package tonic. Without, words are generated
that are alike in statistics; half of them are the others backwards (see _spoken_events.py). The
events go in as they are, to a hidden layer whose spikes are read out by 20 integrated voltages. A
network of torch that sees only counts is trained too, for comparison. The folder --out receives
metrics.json, figure.png, and model.pt with the weights and the settings. Ctrl-C writes a
checkpoint; --resume goes on from it.
"""

import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from _baseline import baseline_accuracy
from _heidelberg_digits import load_heidelberg_digits
from _settings import installed, option, parse_arguments, positive, say, seed_option
from _spoken_events import SpokenEvents, draw_spoken_events
from _training import train
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from evtorch import torch_api as snn

with installed():
    from _checkpoint import Run
    from _spoken_plots import plot

MS = 1e-3
TAU_MEM = 20 * MS
TAU_SYN = 10 * MS
# With these spikes neurons have said what they have to. Where one neuron of a recurrent layer has
# no room, the whole sample ends, since all others may depend on the spike that is lost.
MAX_SPIKES = 30
MAX_SPIKES_RECURRENT = 150
# Early voltages count more. With equal weights the integral is a count of spikes, which is alike
# for a word and the same word backwards.
TAU_WEIGHT = 300 * MS
RELATIVE_LEARNING_RATE = 0.06
TAKEN_AT_ONCE = 100
# Neighbouring channels whose counts are added for comparison: fewer numbers, which overfit less.
BAND = 10


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = seed_option()
    data: Literal["generated", "shd"] = option(
        "generated",
        "made-up words, or Spiking Heidelberg Digits (%(default)s)",
        choices=("generated", "shd"),
    )
    root: str | None = option(
        None, "of --data shd: folder with SHD/shd_train.h5 and SHD/shd_test.h5", metavar="FOLDER"
    )
    events: int = option(
        500,
        "per sample: the mean of generated ones; of recordings with more, as many are kept, "
        "evenly among all (%(default)s)",
        type=positive,
    )
    epochs: int = option(8, type=positive)
    hidden: int = option(64, "hidden neurons (%(default)s)", type=positive)
    recurrent: bool = option(False, "connect hidden neurons to each other", action="store_true")
    train_size: int = option(1000, "samples (%(default)s)", type=positive)
    test_size: int = option(500, "samples (%(default)s)", type=positive)
    batch_size: int = 32


def get_data(settings: Settings) -> tuple[SpokenEvents, SpokenEvents]:
    """What to train with, and what to test with."""
    sizes, seeds = (settings.train_size, settings.test_size), (settings.seed, settings.seed + 10**6)
    if settings.data == "generated":
        say("generating samples")
        first, second = (
            draw_spoken_events(size, seed, settings.events)
            for size, seed in zip(sizes, seeds, strict=True)
        )
        return first, second
    if settings.root is None:
        sys.exit("--data shd needs --root FOLDER, where SHD/shd_train.h5 and SHD/shd_test.h5 are")
    say("reading recordings")
    first, second = (
        load_heidelberg_digits(
            Path(settings.root).expanduser(),
            train=is_first,
            size=size,
            seed=settings.seed,
            events=settings.events,
        )
        for is_first, size in zip((True, False), sizes, strict=True)
    )
    if len(first) < settings.batch_size:
        sys.exit(f"{settings.root} has {len(first)} recordings to train with, fewer than a batch")
    return first, second


def build_model(settings: Settings, t_max: float) -> nn.Sequential:
    """From events of channels, (batch, events), to integrated voltages, (batch, classes)."""
    common: dict[str, Any] = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "t_max": t_max}
    kind = snn.RecurrentLIF if settings.recurrent else snn.LIF
    hidden = kind(
        SpokenEvents.CHANNELS,
        settings.hidden,
        max_spikes=MAX_SPIKES_RECURRENT if settings.recurrent else MAX_SPIKES,
        on_overflow="truncate",
        **common,
    )
    classes = SpokenEvents.CLASSES
    readout = snn.LI(settings.hidden, classes, readout="integral", tau_weight=TAU_WEIGHT, **common)
    return nn.Sequential(hidden, readout)


@torch.no_grad()
def predict(model: nn.Module, data: SpokenEvents) -> Tensor:
    """The class of each sample, (size,)."""
    # In parts of one size, so that JAX compiles once for all numbers of samples.
    parts = torch.arange(len(data)).split(TAKEN_AT_ONCE)
    return torch.cat([model(data[part].events) for part in parts]).argmax(-1)


def accuracy(model: nn.Module, data: SpokenEvents) -> float:
    return (predict(model, data) == data.classes).double().mean().item()


def prepare(
    model: nn.Module, loss_function: nn.Module, settings: Settings, data: SpokenEvents
) -> float:
    """Draw weights that fit the events, and have everything compiled; **returns** the seconds."""
    start = time.perf_counter()
    # Without a margin above the threshold, and far apart from each other: neurons are to answer to
    # some sounds, not to all of them.
    snn.initialise_(model, data[:TAKEN_AT_ONCE].events, margin=1.0, spread=0.8)
    batch = data[: settings.batch_size]
    loss_function(model(batch.events), batch.classes).backward()
    return time.perf_counter() - start


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/spoken_digits")
    with run:
        experiment(settings, run)


def experiment(settings: Settings, run: Run) -> None:
    # All tensors are small: further torch threads would only take the cores from JAX.
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    data, test = get_data(settings)
    say("training a network of torch on counts")
    counts_accuracy = baseline_accuracy(
        data.counts(BAND), data.classes, test.counts(BAND), test.classes
    )
    model, loss_function = build_model(settings, data.t_max), snn.VoltageCrossEntropyLoss("auto")
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
        "counts_accuracy": counts_accuracy,
        "events_per_sample": data.counts().sum(1).mean().item(),
        "seconds": prepare_seconds + sum(history.seconds),
        "seconds_per_epoch": statistics.median(history.seconds),
        "compile_seconds": prepare_seconds,
    }
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**metrics, "settings": asdict(settings)}, indent=2)
    (out / "metrics.json").write_text(text + "\n")
    torch.save({"state_dict": model.state_dict(), "settings": asdict(settings)}, out / "model.pt")
    say("drawing the figure: curves, and samples of the first four classes")
    plot(out / "figure.png", test, history.loss, history.test_accuracy, counts_accuracy)
    chance = 1 / SpokenEvents.CLASSES
    print(f"\ntest accuracy      {metrics['test_accuracy']:.2%} of {len(test)} unseen samples")
    print(f"training accuracy  {metrics['training_accuracy']:.2%} of {len(data)}")
    print(f"counts alone       {counts_accuracy:.2%}, where chance is {chance:.0%}")
    print(f"events             {metrics['events_per_sample']:.0f} per sample")
    print(f"time               {metrics['seconds']:.1f} s, {prepare_seconds:.1f} before training")
    print(f"files              {out}/metrics.json, model.pt, figure.png")


if __name__ == "__main__":
    main()
