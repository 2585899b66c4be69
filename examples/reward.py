"""Learn to tell patterns apart from rewards alone, on a chip: reward-modulated STDP in the loop.

    python examples/reward.py
    python examples/reward.py --patterns 6 --updates 600
    python examples/reward.py --chip 3

A sample is one of some patterns of input spikes, with jitter. A layer with one neuron per pattern
runs on the mock of BrainScaleS-2, whose circuits all differ; the neuron that spikes first is the
answer. Nothing is differentiated, and nobody says which answer would have been right: STDP makes
the connections of the neuron that answered eligible, and a reward, better or worse than what is
usual for this pattern, changes them (Izhikevich 2007, doi:10.1093/cercor/bhl152; Frémaux & Gerstner
2016, doi:10.3389/fncir.2015.00085; first spikes as answers: Mozafari et al. 2018,
doi:10.1109/TNNLS.2018.2826721). Homeostasis lets all neurons answer. The folder --out receives
metrics.json, figure.png, and model.pt with the weights and the settings. Ctrl-C writes a
checkpoint; --resume goes on from it.
"""

import json
import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from _settings import installed, natural, option, parse_arguments, positive, say, seed_option
from torch import Tensor, nn

from evtorch import torch_api as snn

with installed():
    from _checkpoint import Resumable, Run, Values
    from _reward_plots import plot

MS = 1e-3
T_MAX = 30 * MS
LATEST = 20 * MS
JITTER = 3 * MS
TAU_MEM = 20 * MS
TAU_SYN = 5 * MS
# Model seconds are milliseconds of the chip.
TIME_SCALE = 1e-3
LARGEST_CHIP_WEIGHT = 63
TEST_SIZE = 500
BLOCK = 20
"""So many updates make one value of a curve."""


@dataclass(frozen=True)
class Settings:
    """All that a run depends on, besides the versions of the software."""

    seed: int = seed_option("of patterns, weights, samples")
    updates: int = option(300, "of the weights (%(default)s)", type=positive)
    patterns: int = option(4, "to tell apart (%(default)s)", type=positive)
    inputs: int = option(32, type=positive)
    chip: int = option(0, "number of the chip (%(default)s)", type=natural)
    batch_size: int = option(10, "samples per update (%(default)s)", type=positive)


class Patterns:
    """Samples of random patterns: each input spikes once, about when its pattern says."""

    def __init__(self, settings: Settings) -> None:
        self.times = LATEST * torch.rand(settings.patterns, settings.inputs)

    def draw(self, size: int) -> tuple[Tensor, Tensor]:
        """Spike times ``(size, inputs, 1)``, and which pattern each is, ``(size,)``."""
        labels = torch.randint(len(self.times), (size,))
        times = self.times[labels]
        times = times + JITTER * torch.randn(times.shape)
        return times.clamp(0, T_MAX)[..., None], labels


class Learner:
    """A layer on a chip, and what a reward makes of it."""

    def __init__(self, settings: Settings) -> None:
        self.layer = snn.LIF(
            settings.inputs,
            settings.patterns,
            tau_mem=TAU_MEM,
            tau_syn=TAU_SYN,
            refractory=math.inf,
            t_max=T_MAX,
        )
        unit = self.layer.critical_weight().item()
        nn.init.normal_(self.layer.weight, 2 * unit, unit)
        bounds: dict[str, Any] = {"w_min": -8 * unit, "w_max": 8 * unit}
        scaling = snn.hardware.Scaling(weight=LARGEST_CHIP_WEIGHT / (8 * unit), time=TIME_SCALE)
        self.chip = snn.hardware.MockBSS2(settings.chip)
        self.on_chip = snn.hardware.on_backend(
            nn.Sequential(self.layer), self.chip, scaling=scaling
        )
        self.rule = snn.plasticity.RewardSTDP(
            a_plus=0.2 * unit,
            a_minus=0.2 * unit,
            tau_plus=5 * MS,
            tau_minus=5 * MS,
            tau_eligibility=math.inf,
            **bounds,
        )
        self.homeostasis = snn.plasticity.Homeostasis(
            target=1 / (settings.patterns * T_MAX), rate=0.1 * unit, scaling=False, **bounds
        )
        self.usual = torch.full((settings.patterns,), 1 / settings.patterns)
        """How often the answer to each pattern was right of late."""

    @torch.no_grad()
    def answer(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """Which neuron spikes first, -1 for none, ``(size,)``; and only its spikes."""
        out = self.on_chip(spikes)
        answers = torch.where(out[..., 0].isinf().all(dim=1), -1, out[..., 0].argmin(dim=1))
        is_first = torch.arange(out.shape[1]) == answers[:, None]
        return answers, torch.where(is_first[..., None], out, math.inf)

    def learn(self, spikes: Tensor, labels: Tensor) -> float:
        """One update; **returns** the share of right answers before it."""
        answers, first = self.answer(spikes)
        right = (answers == labels).float()
        reward = right - self.usual[labels]
        for label in labels.unique():
            gained = right[labels == label].mean() - self.usual[label]
            self.usual[label] += 0.1 * gained
        self.rule.update_(self.layer, spikes, first, reward=reward)
        self.homeostasis.update_(self.layer, spikes, first)
        return right.mean().item()

    def state_dict(self) -> dict[str, Any]:
        chip = self.chip.state_dict()
        return {"layer": self.layer.state_dict(), "chip": chip, "usual": self.usual.clone()}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self.layer.load_state_dict(state_dict["layer"])
        self.chip.load_state_dict(state_dict["chip"])
        self.usual = state_dict["usual"]


def accuracy(learner: Learner, samples: tuple[Tensor, Tensor]) -> float:
    spikes, labels = samples
    return (learner.answer(spikes)[0] == labels).double().mean().item()


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/reward")
    with run:
        experiment(settings, run)


def experiment(settings: Settings, run: Run) -> None:
    # All tensors are small: further torch threads would only take the cores from JAX.
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    start = time.perf_counter()
    patterns = Patterns(settings)
    learner, test = Learner(settings), patterns.draw(TEST_SIZE)
    say("compiling, which may take some seconds")
    before = accuracy(learner, test)
    first_weight = learner.layer.weight.detach().clone()
    history = Values(rewarded=[])
    states: dict[str, Resumable] = {"learner": learner, "history": history}
    for _ in (progress := run.epochs("learning", settings.updates, states, unit="update")):
        history.rewarded.append(learner.learn(*patterns.draw(settings.batch_size)))
        of_late = history.rewarded[-BLOCK:]
        progress.set_postfix(rewarded=f"{sum(of_late) / len(of_late):.0%}", refresh=False)
    metrics = {
        "test_accuracy": accuracy(learner, test),
        "test_accuracy_before": before,
        "chance": 1 / settings.patterns,
        "seconds": time.perf_counter() - start,
    }
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**metrics, "settings": asdict(settings)}, indent=2)
    (out / "metrics.json").write_text(text + "\n")
    weight = learner.layer.weight.detach()
    model = {"state_dict": learner.layer.state_dict(), "settings": asdict(settings)}
    torch.save(model, out / "model.pt")
    say("drawing the figure")
    curve = torch.tensor(history.rewarded).split(BLOCK)
    plot(out / "figure.png", [x.mean().item() for x in curve], patterns.times, first_weight, weight)
    print(f"\ntest accuracy  {metrics['test_accuracy']:.1%} of {TEST_SIZE} unseen samples")
    print(f"before         {before:.1%}, where chance is {metrics['chance']:.0%}")
    print(f"time           {metrics['seconds']:.1f} s")
    print(f"files          {out}/metrics.json, model.pt, figure.png")


if __name__ == "__main__":
    main()
