"""Training steps on a GPU, beside the same on its host's CPU and beside clock-driven peers.

    python benchmarks/gpu.py           # five minutes
    python benchmarks/gpu.py --quick   # tiny layers; where there is no card, on the CPU

writes `results/gpu.md`. Every row is a process of its own, since torch and JAX share
a card's memory badly with others; seconds on the clock, until the card is done.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apart import in_process, installed
from tqdm import tqdm

SECONDS = 1.5
"""For so long a program is repeated, at least three times."""
KINDS = "several", "recurrent"
EVTORCH = "evtorch, chunked", "evtorch, lockstep"
PEERS = "snntorch", "norse", "spikingjelly"
SIZES = [(256, 8000, 32), (256, 8000, 256), (1000, 4000, 64)]
SMALL = "tanh(x @ w), 64 x 5", "tanh(x @ w), 4096 x 1024", "MLP 64-256-10", "LIF 5-100-3"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="tiny layers")
    results = Path(__file__).parent / "results"
    add("--out", type=Path, default=results / "gpu.md", help="(%(default)s)")
    add("--probe", nargs="+", metavar="ROW", help="one row, as JSON")
    own = parser.parse_args()
    if own.probe:
        table, *row = own.probe
        print(json.dumps(PROBES[table](*row)))
        return
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    card = in_process(__file__, "card")
    lines = head(card)
    device = "cpu" if card["platform"] == "cpu" else "cuda"
    sizes = [(20, 100, 2)] if own.quick else SIZES
    rows = [
        ("layer", name, device, json.dumps([*size, kind]))
        for size in sizes
        for kind in KINDS
        for name in (*EVTORCH, *PEERS)
        if name in EVTORCH or installed(name)
        if (name, kind) != ("spikingjelly", "recurrent")
        # Lockstep, which takes all neurons through all events, and peers: at the first size only.
        if size == sizes[0] or name == EVTORCH[0]
    ]
    host = [("layer", EVTORCH[0], "cpu", json.dumps([*sizes[0], kind])) for kind in KINDS]
    lines += large(rows + (host if device == "cuda" else []), own.out, lines)
    own.out.write_text("\n".join(lines) + "\n")
    lines += small(device)
    own.out.write_text("\n".join(lines) + "\n")
    print(own.out.read_text())


def head(card: dict[str, Any]) -> list[str]:
    return [
        "# On a GPU",
        "",
        f"Written by `python benchmarks/gpu.py`: {card['name']},",
        f"driver {card['driver']}, {card['described']}.",
        "",
        "Layers as in [scale.md](scale.md): 700 inputs, events at random times in a second, about",
        "ten spikes per neuron, room for 64, gradients of weights, float32; clock-driven peers",
        "with steps of 1 ms. The limit is a plain walk through all events, without threshold,",
        "forward only. Medians of seconds on the clock.",
    ]


def large(rows: list[tuple[str, ...]], out: Path, before: list[str]) -> list[str]:
    """The lines of the table of large layers; what is known is written after each row."""
    lines = [
        "",
        "| neurons, events, batch | library | on | forward, ms | forward + backward, ms | "
        "limit, ms | first step, s | spikes per neuron |",
        "|" + "---|" * 8,
    ]
    for row in tqdm(rows, file=sys.stderr):
        _, name, device, case = row
        *size, kind = json.loads(case)
        what = ", ".join(map(str, size)) + (", recurrent" if kind == "recurrent" else "")
        try:
            found = in_process(__file__, *row)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1][:80].replace("|", "/")
            lines.append(f"| {what} | {name} | {device} | failed: {reason} |" + " |" * 4)
        else:
            limit = f"{1e3 * found['limit']:.1f}" if "limit" in found else ""
            lines.append(
                f"| {what} | {name} | {device} | {1e3 * found['forward']:.1f} | "
                f"{1e3 * found['step']:.1f} | {limit} | {found['first']:.1f} | "
                f"{found['spikes']:.1f} |"
            )
        out.write_text("\n".join([*before, *lines]) + "\n")
    return lines


def small(device: str) -> list[str]:
    """The lines of the table of small programs."""
    columns = "torch", "bridge", "JAX", "compiled step"
    lines = [
        "",
        "What a call costs, forward and backward, or a training step with Adam, batch 64, us:",
        "",
        f"| program | {' | '.join(columns)} |",
        "|" + "---|" * (1 + len(columns)),
    ]
    for name in SMALL:
        found = in_process(__file__, "small", name, device)
        cells = (f"{1e6 * found[c]:.0f}" if c in found else "" for c in columns)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def seconds(run: Callable[[], Any]) -> float:
    """The median of the clock's seconds per call, until the device is done."""
    run()
    found: list[float] = []
    while sum(found) < SECONDS or len(found) < 3:
        begin = time.perf_counter()
        run()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def probe_card() -> dict[str, Any]:
    import jax
    import torch
    from timing import described

    platform = jax.default_backend()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no card"
    version = getattr(jax.devices()[0].client, "platform_version", "")
    return {"platform": platform, "name": name, "driver": version, "described": described()}


def probe_layer(name: str, device: str, case: str) -> dict[str, float]:
    if name.startswith("evtorch"):
        return _probe_evtorch(device, name.split(", ")[1], *json.loads(case))
    return _probe_peer(name, device, *json.loads(case))


def _probe_evtorch(device: str, solver: str, *case: Any) -> dict[str, float]:
    import jax
    import numpy as np
    from scale import Case, drawn, layer, plain_walk

    with jax.default_device(jax.devices("gpu" if device == "cuda" else "cpu")[0]):
        events, *weights = drawn(Case(*case))
        forward, gradient = layer(Case(*case), solver)

        def timed(run: Any, *arguments: Any) -> float:
            return seconds(lambda: jax.block_until_ready(run(*arguments)))

        begin = time.perf_counter()
        jax.block_until_ready(gradient(events, *weights))
        first = time.perf_counter() - begin
        out = forward(events, *weights)
        return {
            "first": first,
            "forward": timed(forward, events, *weights),
            "step": timed(gradient, events, *weights),
            "limit": timed(jax.jit(plain_walk), events, weights[0]),
            "spikes": float(np.isfinite(out).sum() / out[..., 0].size),
        }


def _probe_peer(name: str, device: str, *case: Any) -> dict[str, float]:
    import torch
    from scale import Case
    from scale_peers import NETWORKS

    run, parameters = NETWORKS[name](Case(*case), device)
    for parameter in parameters:
        parameter.requires_grad_()

    def done() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    def step() -> None:
        torch.autograd.grad(run(*parameters).sum(), parameters)
        done()

    def forward() -> Any:
        with torch.no_grad():
            out = run(*parameters)
        done()
        return out

    begin = time.perf_counter()
    step()
    first = time.perf_counter() - begin
    out = forward()
    return {
        "first": first,
        "forward": seconds(forward),
        "step": seconds(step),
        "spikes": float((out > 0).sum()) / out[0].numel(),
    }


def probe_small(name: str, device: str) -> dict[str, float]:
    return _probe_product(name, device) if name.startswith("tanh") else _probe_step(name, device)


def _probe_product(name: str, device: str) -> dict[str, float]:
    import jax
    import jax.numpy as jnp
    import torch

    from evtorch import bridge

    rows, columns = map(int, name.split(", ")[1].split(" x "))
    x = torch.randn(rows, columns, device=device)
    w = torch.randn(columns, columns, device=device, requires_grad=True)

    def in_jax(x: Any, w: Any) -> Any:
        return jnp.tanh(jnp.matmul(x, w, precision="highest"))

    def in_torch(f: Callable[..., Any]) -> Callable[[], Any]:
        def run() -> None:
            torch.autograd.grad(f(x, w).sum(), w)
            if device == "cuda":
                torch.cuda.synchronize()

        return run

    gradient = jax.jit(jax.grad(lambda w, x: in_jax(x, w).sum()))
    arrays = bridge.to_jax(w.detach()), bridge.to_jax(x)
    return {
        "torch": seconds(in_torch(lambda x, w: torch.tanh(x @ w))),
        "bridge": seconds(in_torch(bridge.as_torch_function(in_jax))),
        "JAX": seconds(lambda: jax.block_until_ready(gradient(*arrays))),
    }


def _probe_step(name: str, device: str) -> dict[str, float]:
    import torch
    from torch import nn

    from evtorch import bridge
    from evtorch import torch_api as snn

    if name.startswith("MLP"):
        model: nn.Module = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
        x, target, loss = torch.randn(64, 64), torch.randint(10, (64,)), nn.CrossEntropyLoss()
    else:
        once = float("inf")
        model = nn.Sequential(snn.LIF(5, 100, refractory=once), snn.LIF(100, 3, refractory=once))
        x, target = torch.rand(64, 5, 1) * 2e-2, torch.randint(3, (64,))
        loss = snn.TTFSCrossEntropyLoss()
    model, x, target = model.to(device), x.to(device), target.to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def plain() -> None:
        optimizer.zero_grad()
        loss(model(x), target).backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    plain_seconds = seconds(plain)
    step = bridge.compile_step(model, loss, optimizer)

    def compiled() -> None:
        step(x, target)
        if device == "cuda":
            torch.cuda.synchronize()

    return {"torch": plain_seconds, "compiled step": seconds(compiled)}


PROBES: dict[str, Callable[..., Any]] = {
    "card": probe_card,
    "layer": probe_layer,
    "small": probe_small,
}

if __name__ == "__main__":
    main()
