"""Spiking convolutions on events of a camera, beside clock-driven libraries with steps of 1 ms.

    pip install 'evtorch[peers]'
    python benchmarks/scale_conv.py           # five minutes
    python benchmarks/scale_conv.py --quick   # a few events, to see that it runs

writes `results/scale_conv.md`. All get the same events and weights; every row is a process of its
own on one core; libraries that are not installed are left out, and named.
"""

import json
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from apart import in_process, installed, median_seconds, options, peak_memory, pin, seconds_of
from timing import described, load
from torch import Tensor
from tqdm import tqdm

SIZE, POLARITIES, DURATION = 34, 2, 0.3
TAU_MEM, TAU_SYN, DT = 2e-2, 5e-3, 1e-3
ROOM = 16
LAYERS = (8, 5), (16, 3), (32, 3)
"""Channels and kernels, with strides of 2."""
SECONDS = 2.0
"""For so long a program is repeated, at least twice."""


class Case(NamedTuple):
    """So many events of a sample, and samples."""

    events: int = 4000
    batch: int = 4


class Data(NamedTuple):
    """``times``: of each pixel, ``(batch, polarities, height, width, k)``; ``weights``: kernels."""

    times: Tensor
    weights: tuple[Tensor, ...]


Run = Callable[..., list[Tensor]]
"""Spikes of all layers given their kernels, as times or as a raster with steps in front."""


def drawn(case: Case) -> Data:
    """Events at random pixels and times, and kernels with which neurons spike a few times."""
    torch.manual_seed(0)
    pixels = POLARITIES * SIZE**2
    at = torch.randint(pixels, (case.batch, case.events))
    counts = torch.zeros(case.batch, pixels, dtype=torch.long).scatter_add_(
        1, at, torch.ones_like(at)
    )
    times = torch.rand(case.batch, pixels, int(counts.max())) * DURATION
    times[torch.arange(times.shape[-1]) >= counts[..., None]] = math.inf
    times = times.sort().values.reshape(case.batch, POLARITIES, SIZE, SIZE, -1)
    weights, channels, spikes = [], POLARITIES, case.events / pixels
    for out, kernel in LAYERS:
        # As much drive for all layers, and about as many spikes.
        mean = 60 / (channels * kernel**2 * spikes)
        weights.append((1 + 0.7 * torch.randn(out, channels, kernel, kernel)) * mean)
        channels, spikes = out, 6.0
    return Data(times, tuple(weights))


def evtorch(data: Data) -> Run:
    from evtorch import jax_core
    from evtorch import torch_api as snn

    options: dict[str, Any] = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "t_max": DURATION}
    options |= {"max_spikes": ROOM, "on_overflow": "truncate"}

    def run(*weights: Tensor) -> list[Tensor]:
        found, spikes = [], data.times
        for weight in weights:
            conv = jax_core.Conv(tuple(weight.shape[2:]), (2, 2))
            spikes = snn.functional.lif(spikes, weight, connections=conv, **options)
            found.append(spikes)
        return found

    return run


def norse(data: Data) -> Run:
    from norse.torch import LIFCell, LIFParameters

    cell = LIFCell(LIFParameters(*(torch.tensor(1 / tau) for tau in (TAU_SYN, TAU_MEM))), dt=DT)

    def spikes_of(currents: Tensor) -> list[Tensor]:
        state, out = None, []
        for current in currents:
            spikes, state = cell(current, state)
            out.append(spikes)
        return out

    return _on_grid(data, spikes_of)


def snntorch(data: Data) -> Run:
    import snntorch

    decays = math.exp(-DT / TAU_SYN), math.exp(-DT / TAU_MEM)
    cell = snntorch.Synaptic(*decays, reset_mechanism="zero", threshold=1.0)

    def spikes_of(currents: Tensor) -> list[Tensor]:
        (synapse, membrane), out = cell.init_synaptic(), []
        for current in currents * (DT / TAU_MEM):
            spikes, synapse, membrane = cell(current, synapse, membrane)
            out.append(spikes)
        return out

    return _on_grid(data, spikes_of)


def _on_grid(data: Data, spikes_of: Callable[[Tensor], list[Tensor]]) -> Run:
    """The layers in steps: convolutions of all steps at once, then neurons step by step."""
    present = data.times.isfinite()
    step = torch.where(present, data.times / DT, 0).long().clamp(max=_steps() - 1)
    raster = torch.zeros(*data.times.shape[:-1], _steps()).scatter_add_(-1, step, present.float())
    raster = raster.movedim(-1, 0).contiguous()

    def run(*weights: Tensor) -> list[Tensor]:
        found, spikes = [], raster
        for weight in weights:
            currents = torch.nn.functional.conv2d(spikes.flatten(0, 1), weight, stride=2)
            spikes = torch.stack(spikes_of(currents.unflatten(0, spikes.shape[:2])))
            found.append(spikes)
        return found

    return run


def _steps() -> int:
    return round(DURATION / DT)


NETWORKS = {"evtorch": evtorch, "norse": norse, "snntorch": snntorch}


def main() -> None:
    own = options(__doc__, "scale_conv.md", ("LIBRARY", "CASE"), "a few events")
    if own.probe:
        library, case = own.probe
        print(json.dumps(probe(library, Case(*json.loads(case)))))
        return
    before, case = load(), Case(100, 2) if own.quick else Case()
    missing = [name for name in NETWORKS if not installed(name)]
    wanted = [name for name in NETWORKS if name not in missing]
    rows = {
        name: in_process(__file__, name, json.dumps(case)) for name in tqdm(wanted, file=sys.stderr)
    }
    command = " ".join(["python benchmarks/scale_conv.py", *sys.argv[1:]])
    own.out.write_text(report(rows, case, missing, f"Written by `{command}`.", before))
    print(own.out.read_text())


def probe(library: str, case: Case) -> dict[str, Any]:
    """Seconds, MiB and spikes of one row; to be called in a process of its own."""
    pin()
    torch.set_num_threads(1)
    data = drawn(case)
    run = NETWORKS[library](data)
    for weight in data.weights:
        weight.requires_grad_()

    def step() -> None:
        out = run(*data.weights)[-1]
        torch.autograd.grad(torch.where(out.isfinite(), out, 0).sum(), data.weights)

    peak = peak_memory()
    first = seconds_of(step)
    seconds = median_seconds(step, SECONDS, least=2)
    memory = peak_memory() - peak
    with torch.no_grad():
        forward = median_seconds(lambda: run(*data.weights), SECONDS, least=2)
        found = run(*data.weights)
    counts = [out.isfinite().sum(-1) if library == "evtorch" else (out > 0).sum(0) for out in found]
    return {
        "forward": forward,
        "step": seconds,
        "compile": max(first - seconds, 0.0),
        "memory": memory,
        "spikes": [float(count.double().mean()) for count in counts],
    }


def report(
    rows: dict[str, dict[str, Any]], case: Case, missing: list[str], written: str, before: str
) -> str:
    layers = ", ".join(f"{channels} of {kernel} x {kernel}" for channels, kernel in LAYERS)
    lines = [
        "# Spiking convolutions beside clock-driven libraries",
        "",
        written,
        f"{POLARITIES} x {SIZE} x {SIZE} inputs, the size of N-MNIST, with {case.events} events at",
        f"random pixels in {DURATION:g} s, batch {case.batch}; convolutions in a row, {layers},",
        "with strides of 2; `tau_mem` 20 ms, `tau_syn` 5 ms; the same weights in all. evtorch",
        f"through its functions for torch with room for {ROOM} spikes, the others with steps of 1",
        "ms. Forward and gradients of the weights, processor time, float32, one core; compile time",
        "is that of the first step less a later one; memory is the growth of the peak resident",
        "set.",
        "Counts of spikes differ by what steps of 1 ms do to voltages, and a neuron's spikes",
        "within one step are one.",
        f"Load averages before {before}. {described(*sorted(set(rows) - {'evtorch'}))}.",
        "",
    ]
    if missing:
        lines += [f"Not installed, so without a row: {', '.join(missing)}.", ""]
    lines += [
        "| library | forward, ms | forward + backward, ms | times evtorch | compile, s | "
        "memory, MiB | spikes per neuron, by layer |",
        "|" + "---|" * 7,
    ]
    for name, row in rows.items():
        spikes = ", ".join(f"{count:.1f}" for count in row["spikes"])
        lines.append(
            f"| {name} | {1e3 * row['forward']:.0f} | {1e3 * row['step']:.0f} | "
            f"{row['step'] / rows['evtorch']['step']:.1f} | {row['compile']:.2g} | "
            f"{row['memory']:.0f} | {spikes} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
