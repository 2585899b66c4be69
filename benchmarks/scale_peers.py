"""Large layers beside clock-driven libraries with steps of 1 ms.

    pip install 'evtorch[peers]'
    python benchmarks/scale_peers.py           # ten minutes
    python benchmarks/scale_peers.py --quick   # tiny layers, to see that it runs

writes `results/scale_peers.md`. All get the same events and weights; every row is a process of its
own on one core; libraries that are not installed are left out, and named.
"""

import json
import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from apart import in_process, installed, median_seconds, options, peak_memory, pin, seconds_of
from scale import DURATION, INPUTS, TAU_MEM, TAU_SYN, Case, drawn
from timing import described, load
from torch import Tensor
from tqdm import tqdm

DT = 1e-3
SECONDS = 2.0
"""For so long a program is repeated, at least twice."""


class Network(NamedTuple):
    """``run(*parameters)``: spikes of the last layer, as times or as a raster."""

    run: Callable[..., Tensor]
    parameters: tuple[Tensor, ...]


def evtorch(case: Case, device: str = "cpu") -> Network:
    from evtorch import torch_api as snn

    events, *weights = _torch_data(case, device)
    options: dict[str, Any] = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "t_max": DURATION}
    options |= {"max_spikes": 64, "on_overflow": "truncate"}
    arriving = snn.Events(*events)
    if case.kind == "recurrent":

        def run(weight: Tensor, recurrent: Tensor) -> Tensor:
            return snn.functional.recurrent_lif(arriving, weight, recurrent, **options)

        return Network(run, tuple(weights))
    return Network(lambda w: snn.functional.lif(arriving, w, **options), tuple(weights[:1]))


def norse(case: Case, device: str = "cpu") -> Network:
    from norse.torch import LIFCell, LIFParameters, LIFRecurrentCell

    events, *weights = _torch_data(case, device)
    raster = _raster(case, events)
    rates = (torch.tensor(1 / tau, device=device) for tau in (TAU_SYN, TAU_MEM))
    parameters = LIFParameters(*rates)
    if case.kind == "recurrent":
        recurrent = LIFRecurrentCell(INPUTS, case.neurons, parameters, autapses=True, dt=DT)
        recurrent = recurrent.to(device)

        def run_recurrent(*weights: Tensor) -> Tensor:
            recurrent.input_weights, recurrent.recurrent_weights = weights
            state, out = None, []
            for arriving in raster:
                spikes, state = recurrent(arriving, state)
                out.append(spikes)
            return torch.stack(out)

        del recurrent.input_weights, recurrent.recurrent_weights
        return Network(run_recurrent, tuple(weights))
    cell = LIFCell(parameters, dt=DT)

    def run(weight: Tensor) -> Tensor:
        state, out = None, []
        for current in raster @ weight.T:
            spikes, state = cell(current, state)
            out.append(spikes)
        return torch.stack(out)

    return Network(run, tuple(weights[:1]))


def snntorch(case: Case, device: str = "cpu") -> Network:
    import snntorch

    events, *weights = _torch_data(case, device)
    raster = _raster(case, events)
    decays, factor = (math.exp(-DT / TAU_SYN), math.exp(-DT / TAU_MEM)), DT / TAU_MEM
    if case.kind == "recurrent":
        cell = snntorch.RSynaptic(
            *decays, linear_features=case.neurons, reset_mechanism="zero", threshold=1.0
        )
        cell = cell.to(device)
        linear: Any = cell.recurrent
        linear.bias = None
        del linear.weight

        def run_recurrent(weight: Tensor, recurrent: Tensor) -> Tensor:
            linear.weight = recurrent * factor
            spikes, synapse, membrane = cell.init_rsynaptic()
            out = []
            for current in raster @ weight.T * factor:
                spikes, synapse, membrane = cell(current, spikes, synapse, membrane)
                out.append(spikes)
            return torch.stack(out)

        return Network(run_recurrent, tuple(weights))
    plain = snntorch.Synaptic(*decays, reset_mechanism="zero", threshold=1.0).to(device)

    def run(weight: Tensor) -> Tensor:
        (synapse, membrane), out = plain.init_synaptic(), []
        for current in raster @ weight.T * factor:
            spikes, synapse, membrane = plain(current, synapse, membrane)
            out.append(spikes)
        return torch.stack(out)

    return Network(run, tuple(weights[:1]))


def spikingjelly(case: Case, device: str = "cpu") -> Network:
    from spikingjelly.activation_based import (  # pyright: ignore[reportMissingImports]
        functional,
        layer,
        neuron,
    )

    events, weight, _ = _torch_data(case, device)
    raster = _raster(case, events)
    synapse = layer.SynapseFilter(tau=TAU_SYN / DT, step_mode="m").to(device)
    membrane = neuron.LIFNode(tau=TAU_MEM / DT, v_reset=0.0, step_mode="m").to(device)

    def run(weight: Tensor) -> Tensor:
        functional.reset_net(synapse)
        functional.reset_net(membrane)
        return membrane(synapse(raster) @ weight.T)

    return Network(run, (weight,))


def _torch_data(case: Case, device: str) -> tuple[Any, ...]:
    """Times and sources of the events, weights, recurrent weights."""
    events, *weights = drawn(case)
    tensors = [torch.from_numpy(np.array(x)).to(device) for x in (*events, *weights)]
    return tensors[:2], *tensors[2:]


def _raster(case: Case, events: tuple[Tensor, Tensor]) -> Tensor:
    """How many events of each input fall into each step, ``(steps, batch, in)``."""
    time, source = events
    raster = time.new_zeros(round(DURATION / DT), case.batch, INPUTS)
    sample = torch.arange(case.batch, device=time.device)[:, None].expand_as(time)
    at = (time / DT).long(), sample, source.long()
    return raster.index_put_(at, raster.new_ones(()), accumulate=True)


NETWORKS = {"evtorch": evtorch, "norse": norse, "snntorch": snntorch, "spikingjelly": spikingjelly}
TABLES = {"feed-forward": Case(), "recurrent": Case(kind="recurrent")}
QUICK = {"feed-forward": Case(10, 100, 2), "recurrent": Case(10, 100, 2, "recurrent")}
NOT_BUILT = {("spikingjelly", "recurrent")}
"""Its recurrent container adds spikes to what arrives before the synapses: another network."""


def main() -> None:
    own = options(__doc__, "scale_peers.md", ("LIBRARY", "CASE"), "tiny layers")
    if own.probe:
        library, case = own.probe
        print(json.dumps(probe(library, Case(*json.loads(case)))))
        return
    before = load()
    cases = QUICK if own.quick else TABLES
    missing = [name for name in NETWORKS if not installed(name)]
    wanted = [
        (kind, name)
        for kind in cases
        for name in NETWORKS
        if name not in missing and (name, kind) not in NOT_BUILT
    ]
    rows = {
        row: in_process(__file__, row[1], json.dumps(cases[row[0]]))
        for row in tqdm(wanted, file=sys.stderr)
    }
    own.out.write_text(report(rows, cases, missing, before))
    print(own.out.read_text())


def probe(library: str, case: Case) -> dict[str, float]:
    """Seconds, MiB and spikes of one row; to be called in a process of its own."""
    pin()
    torch.set_num_threads(1)
    run, parameters = NETWORKS[library](case)
    for parameter in parameters:
        parameter.requires_grad_()

    def step() -> None:
        out = run(*parameters)
        torch.autograd.grad(torch.where(out.isfinite(), out, 0).sum(), parameters)

    peak = peak_memory()
    first = seconds_of(step)
    seconds = median_seconds(step, SECONDS, least=2)
    with torch.no_grad():
        forward = median_seconds(lambda: run(*parameters), SECONDS, least=2)
        out = run(*parameters)
    is_raster = len(out) == round(DURATION / DT)
    count = (out > 0).sum() if is_raster else out.isfinite().sum()
    neurons = out[0].numel() if is_raster else out[..., 0].numel()
    return {
        "forward": forward,
        "step": seconds,
        "compile": max(first - seconds, 0.0),
        "memory": peak_memory() - peak,
        "spikes": float(count) / neurons,
    }


def report(
    rows: dict[tuple[str, str], dict[str, float]],
    cases: dict[str, Case],
    missing: list[str],
    before: str,
) -> str:
    packages = sorted({name for _, name in rows} - {"evtorch"})
    lines = [
        "# Large layers beside clock-driven libraries",
        "",
        f"Written by `python benchmarks/scale_peers.py`. {INPUTS}",
        "inputs, events at random times in a second, `tau_mem` 20 ms, `tau_syn` 5 ms, the same",
        "weights in all; evtorch through its functions for torch with room for 64 spikes, the",
        "others with steps of 1 ms. Forward and gradients of the weights, processor time, float32,",
        "one core; compile time is that of the first step less a later one; memory is the growth",
        "of the peak resident set. Counts of spikes differ by what steps of 1 ms do to voltages,",
        "and of a raster a neuron's spikes within one step are one.",
        f"Load averages before {before}. {described(*packages)}.",
        "",
    ]
    if missing:
        lines += [f"Not installed, so without a row: {', '.join(missing)}.", ""]
    lines += [
        "| layer | library | forward, ms | forward + backward, ms | times evtorch | compile, s | "
        "memory, MiB | spikes per neuron |",
        "|" + "---|" * 8,
    ]
    for (kind, name), row in rows.items():
        own = rows[kind, "evtorch"]["step"]
        lines.append(
            f"| {cases[kind]}, {kind} | {name} | {1e3 * row['forward']:.0f} | "
            f"{1e3 * row['step']:.0f} | {row['step'] / own:.1f} | {row['compile']:.2g} | "
            f"{row['memory']:.0f} | {row['spikes']:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
