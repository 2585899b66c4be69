"""Let a neuron find a pattern that is hidden in noise, by nothing but STDP.

    python examples/stdp.py
    python examples/stdp.py --seconds 60 --seed 1

A neuron hears many inputs that spike at random, without end. They repeat the same 50 ms again and
again; rates say nothing about it, and nobody tells the neuron. At first it answers to anything. Its
STDP strengthens inputs that spike right before it and weakens those after, so that it may become
selective for the pattern, and then answers ever earlier in it, as Masquelier, Guyonneau and Thorpe
found (2008, doi:10.1371/journal.pone.0001377; with 2000 inputs, half of them in the pattern). It
found it in six of ten streams (--seed 20 to 29). In longer ones, when the first few milliseconds
are all that it answers to, answers to noise come back, as so few spikes are soon alike by chance.
The stream runs in pieces: the neuron's state and the rule's go from one to the next. The folder
--out receives metrics.json, figure.png, and model.pt with the weights and the settings. Ctrl-C
writes a checkpoint; --resume goes on from it.
"""

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from _hidden_pattern import MS, HiddenPattern
from _settings import installed, option, parse_arguments, positive, say, seed_option

from evtorch import torch_api as snn

with installed():
    from _checkpoint import Resumable, Run
    from _pattern_plots import plot

TAU_MEM = 10 * MS
TAU_SYN = 2.5 * MS
FIRST_WEIGHT = 0.475
# Of the input through all first weights, on average: at first the neuron spikes all the time.
THRESHOLD = 0.5
# Times are those of Masquelier et al.; depression has the larger area, by 6 %, so that what says
# nothing fades, but slowly enough for the neuron to find the pattern while it spikes a lot.
RULE = snn.plasticity.PairSTDP(
    a_plus=0.008,
    a_minus=0.00424,
    tau_plus=16.8 * MS,
    tau_minus=33.7 * MS,
    mu=0.0,
    w_min=0.0,
    w_max=1.0,
)
WINDOW = 5
"""Seconds over which answers are counted."""


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = seed_option("of the stream")
    seconds: int = option(25, "of the stream (%(default)s)", type=positive)
    inputs: int = option(1500, type=positive)


class Listener:
    """A neuron that learns from a stream, with all that goes from piece to piece."""

    def __init__(self, stream: HiddenPattern) -> None:
        inputs = stream.pieces.shape[1]
        drive = inputs * (stream.RATE + stream.SPONTANEOUS) * FIRST_WEIGHT * TAU_SYN
        self.stream = stream
        self.layer = snn.LIF(
            inputs,
            1,
            tau_mem=TAU_MEM,
            tau_syn=TAU_SYN,
            v_threshold=THRESHOLD * drive,
            # Far below rest, so that an answer keeps it quiet for a while.
            v_reset=-THRESHOLD * drive,
            max_spikes=40,
            t_max=stream.PIECE,
            on_overflow="truncate",
        )
        torch.nn.init.constant_(self.layer.weight, FIRST_WEIGHT)
        self.states: tuple[Any, Any] = None, None
        self.spikes: list[float] = []

    @torch.no_grad()
    def hear(self, number: int) -> None:
        """A piece of the stream: spikes, and what they change."""
        pre = self.stream.pieces[number]
        of_layer, of_rule = self.states
        post, of_layer = self.layer(pre, of_layer, return_state=True)
        of_rule = RULE.update_(self.layer, pre, post, state=of_rule, return_state=True)
        self.states = of_layer, of_rule
        self.spikes += (number * self.stream.PIECE + post[post.isfinite()].double()).tolist()

    def state_dict(self) -> dict[str, Any]:
        states = [None if one is None else tuple(one) for one in self.states]
        return {"layer": self.layer.state_dict(), "states": states, "spikes": list(self.spikes)}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.layer.load_state_dict(state_dict["layer"])
        of_layer, of_rule = state_dict["states"]
        if of_layer is not None:
            self.states = snn.LIFState(*of_layer), snn.plasticity.PlasticityState(*of_rule)
        self.spikes = list(state_dict["spikes"])


def answers_by_window(listener: Listener, seconds: int) -> list[dict[str, float | None]]:
    """How the neuron answered to the pattern, and to all else, over the time of learning."""
    starts, spikes = listener.stream.starts, torch.tensor(listener.spikes, dtype=torch.float64)
    latency, outside = listener.stream.answers(spikes)
    found = []
    for begin in range(0, seconds, WINDOW):
        end = min(begin + WINDOW, seconds)
        own = latency[(starts >= begin) & (starts < end)]
        hits = own[own.isfinite()]
        wrong = spikes[outside]
        found.append(
            {
                "until_seconds": end,
                "answered": len(hits) / max(len(own), 1),
                "latency_ms": hits.median().item() / MS if len(hits) else None,
                "false_alarms_per_second": ((wrong >= begin) & (wrong < end)).sum().item()
                / (end - begin),
            }
        )
    return found


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/stdp")
    with run:
        experiment(settings, run)


def experiment(settings: Settings, run: Run) -> None:
    # All tensors are small: further torch threads would only take the cores from JAX.
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    start = time.perf_counter()
    say("drawing the stream")
    stream = HiddenPattern.draw(settings.inputs, settings.seconds)
    listener = Listener(stream)
    say("learning; the first piece compiles, which may take some seconds")
    per_second = round(1 / stream.PIECE)
    states: dict[str, Resumable] = {"listener": listener}
    for second in run.epochs("learning", settings.seconds, states, unit="second"):
        for number in range(second * per_second, (second + 1) * per_second):
            listener.hear(number)
    windows = answers_by_window(listener, settings.seconds)
    report(settings, run, listener, windows, time.perf_counter() - start)


def report(
    settings: Settings,
    run: Run,
    listener: Listener,
    windows: list[dict[str, float | None]],
    seconds: float,
) -> None:
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    metrics = {"windows": windows, "seconds": seconds, "settings": asdict(settings)}
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    model = {"state_dict": listener.layer.state_dict(), "settings": asdict(settings)}
    torch.save(model, out / "model.pt")
    say("drawing the figure")
    weight, spikes = listener.layer.weight.detach()[0], listener.spikes
    plot(out / "figure.png", listener.stream, weight, torch.tensor(spikes, dtype=torch.float64))
    print("\nuntil  pattern answered  median latency  false alarms")
    for one in windows:
        latency = "-" if one["latency_ms"] is None else f"{one['latency_ms']:.1f} ms"
        wrong = one["false_alarms_per_second"]
        print(
            f"{one['until_seconds']:3d} s  {one['answered']:16.0%}  {latency:>14}  {wrong:10.2f}/s"
        )
    print(f"time   {seconds:.1f} s\nfiles  {out}/metrics.json, model.pt, figure.png")


if __name__ == "__main__":
    main()
