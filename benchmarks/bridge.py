"""Time the bridge against native JAX and its peers, in one interleaved run.

    python benchmarks/bridge.py [--quick] [--synchronous] [--out benchmarks/results]

writes ``bridge.md`` and ``bridge.json``. Every row of a table took turns with the others of its
table; compare numbers within one table only.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from bridge_peers import available_in_jax, available_in_torch
from timing import Timing, load, machine, measure

from evtorch import bridge

Runs = dict[str, Callable[[int], object]]
SHAPES = {
    "x * w, (64, 5)": (lambda x, w: x * w, (64, 5), (64, 5)),
    "tanh(x @ w), (64, 5) @ (5, 120)": (lambda x, w: jnp.tanh(x @ w), (64, 5), (5, 120)),
    "x * w, 16 MB": (lambda x, w: x * w, (2048, 2048), (2048, 2048)),
}


def function_runs(fn: Any, x: torch.Tensor, w: torch.Tensor) -> tuple[dict[str, Runs], dict]:
    """No-grad, forward and forward + backward, for native JAX and everything that runs."""
    xj, wj = bridge.to_jax(x, copy=True), bridge.to_jax(w, copy=True)
    native = jax.jit(fn)
    forward = jax.jit(lambda x, w: jax.vjp(fn, x, w))
    backward = jax.jit(lambda vjp, c: vjp(c))
    cotangent = jnp.ones_like(native(xj, wj))
    ones = torch.ones(cotangent.shape)

    def native_both(_: int) -> None:
        _, vjp = forward(xj, wj)
        jax.block_until_ready(backward(vjp, cotangent))

    runs: dict[str, Runs] = {
        "without gradients": {"native JAX": lambda _: native(xj, wj).block_until_ready()},
        "forward": {"native JAX": lambda _: jax.block_until_ready(forward(xj, wj)[0])},
        "forward + backward": {"native JAX": native_both},
    }
    working, failing = available_in_torch(fn, x, w)
    for name, function in working.items():

        def quiet(_: int, function: Any = function) -> None:
            with torch.no_grad():
                function(x, w)

        def both(_: int, function: Any = function) -> None:
            function(x, w).backward(ones)
            x.grad = w.grad = None

        runs["without gradients"][name] = quiet
        runs["forward"][name] = lambda _, function=function: function(x, w)
        runs["forward + backward"][name] = both
    return runs, failing


def conversion_runs(size: int) -> Runs:
    """One array across, both ways, against the frameworks' own DLPack functions."""
    x = torch.randn(size)
    array = jnp.zeros(size)
    return {
        "jax.dlpack.from_dlpack": lambda _: jax.dlpack.from_dlpack(x),
        "evtorch to_jax": lambda _: bridge.to_jax(x),
        "torch.from_dlpack": lambda _: torch.from_dlpack(array),
        "evtorch to_torch": lambda _: bridge.to_torch(array),
    }


def optimizer_runs() -> Runs:
    """Adam on the parameters of a 5-120-3 network."""

    def parameters() -> list[torch.Tensor]:
        shapes = [(120, 5), (120,), (3, 120), (3,)]
        found = [torch.randn(s).requires_grad_() for s in shapes]
        for parameter in found:
            parameter.grad = torch.randn_like(parameter)
        return found

    rules = {
        "torch Adam, foreach": torch.optim.Adam(parameters(), lr=1e-3, foreach=True),
        "torch Adam, fused": torch.optim.Adam(parameters(), lr=1e-3, fused=True),
        "evtorch OptaxOptimizer(adam)": bridge.OptaxOptimizer(parameters(), optax.adam(1e-3)),
    }
    return {name: lambda _, rule=rule: rule.step() for name, rule in rules.items()}


def callback_runs() -> tuple[dict[str, Runs], dict[str, str]]:
    """A torch Linear(120, 64) inside jitted JAX: evtorch, its peers, and the bare callback with the
    same work."""
    module = torch.nn.Linear(120, 64)
    x = torch.randn(64, 120)
    xj = bridge.to_jax(x, copy=True)
    linear = torch.nn.functional.linear

    def on_host(w: Any, b: Any, x: Any) -> Any:
        return linear(*(torch.from_numpy(np.array(a)) for a in (x, w, b))).numpy()

    def gradients_on_host(w: Any, b: Any, x: Any) -> Any:
        own = [torch.from_numpy(np.array(a)) for a in (w, b)]
        weights = [t.requires_grad_() for t in own]
        loss = linear(torch.from_numpy(np.array(x)), *weights).sum()
        return [g.numpy() for g in torch.autograd.grad(loss, weights)]

    w, b = (bridge.to_jax(p.detach(), copy=True) for p in module.parameters())
    out = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    raw = jax.jit(lambda *a: jax.pure_callback(on_host, out, *a))
    raw_gradients = jax.jit(lambda *a: jax.pure_callback(gradients_on_host, [w, b], *a))
    runs: dict[str, Runs] = {
        "call": {"raw pure_callback": lambda _: jax.block_until_ready(raw(w, b, xj))},
        "gradients": {
            "raw pure_callback": lambda _: jax.block_until_ready(raw_gradients(w, b, xj))
        },
    }
    working, failing = available_in_jax(module, x)
    for name, bridged in working.items():

        def total(p: Any, x: Any, fn: Any = bridged.fn) -> Any:
            return fn(p, x).sum()

        for kind, fn in (("call", bridged.fn), ("gradients", jax.grad(total))):
            jitted, params = jax.jit(fn), bridged.params
            runs[kind][name] = lambda _, f=jitted, p=params: jax.block_until_ready(f(p, xj))
    return runs, failing


def retraces(steps: int) -> int:
    """How often a function is traced in ``steps`` training steps after the first."""
    count = 0

    def fn(x: Any, w: Any) -> Any:
        nonlocal count
        count += 1
        return jnp.tanh(x @ w)

    function = bridge.as_torch_function(fn)
    w = torch.randn(5, 120, requires_grad=True)
    function(torch.randn(64, 5), w).sum().backward()
    count = 0
    for _ in range(steps):
        function(torch.randn(64, 5), w).sum().backward()
    return count


def leak(calls: int) -> dict[str, float]:
    """Growth of live arrays and of the peak resident set (MB) over forward + backward calls."""
    function = bridge.as_torch_function(lambda x: jnp.sin(x) * x, residuals="residual")
    x = torch.randn(256, 256, requires_grad=True)

    def state(count: int) -> tuple[int, float]:
        for _ in range(count):
            function(x).sum().backward()
            x.grad = None
        gc.collect()
        return len(jax.live_arrays()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    arrays, megabytes = state(200)
    after = state(calls)
    return {"arrays": after[0] - arrays, "peak MB": round(after[1] - megabytes, 1)}


def table(timings: dict[str, Timing], reference: str) -> list[str]:
    """Markdown rows: median, lower quartile, and the ratio of medians to ``reference``."""
    rows = ["| | median, us | lower quartile, us | ratio |", "|---|---|---|---|"]
    base = timings[reference].median
    for name, t in timings.items():
        cells = f"{t.median * 1e6:.0f} | {t.lower_quartile * 1e6:.0f} | {t.median / base:.2f}"
        rows.append(f"| {name} | {cells} |")
    return rows


def closing(results: dict[str, Any]) -> list[str]:
    """Markdown lines for what is no timing."""
    lines = ["## Counts", ""]
    for name in ("retraces over 100 steps", "leak over 10 000 calls"):
        lines.append(f"- {name}: {results[name]}")
    lines += ["", "## Peers that do not run here", ""]
    for direction in ("torch", "JAX"):
        broken = results[f"do not run in {direction}"].items()
        lines += [f"- {name}, in {direction}: `{why}`" for name, why in broken]
    lines += ["", "## Machine", ""]
    lines += [f"- {name}: {value}" for name, value in results["machine"].items()]
    return [*lines, f"- load: {results['load']}"]


def main() -> None:
    """Run everything and write the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few repeats, to see that it runs")
    parser.add_argument(
        "--synchronous", action="store_true", help="JAX computes in the calling thread"
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else 15
    # Small layers gain nothing from torch's threads, and those compete with XLA's.
    torch.set_num_threads(1)
    jax.config.update("jax_cpu_enable_async_dispatch", not arguments.synchronous)
    lines = ["# The bridge, timed", ""]
    results: dict[str, Any] = {"machine": machine(), "load": load()}
    results["machine"]["JAX's dispatch"] = "synchronous" if arguments.synchronous else "default"

    def section(title: str, runs: Runs, reference: str) -> None:
        timings = measure(runs, 1, rounds)
        results[title] = {name: t._asdict() for name, t in timings.items()}
        lines.extend([f"## {title}", "", *table(timings, reference), ""])

    failures: dict[str, str] = {}
    for title, (fn, *shapes) in SHAPES.items():
        x, w = (torch.randn(shape, requires_grad=True) for shape in shapes)
        runs, failing = function_runs(fn, x, w)
        failures.update(failing)
        for kind, group in runs.items():
            section(f"{title}: {kind}", group, "native JAX")
    conversions = conversion_runs(4_000_000)
    section("conversion, 16 MB", conversions, "jax.dlpack.from_dlpack")
    section("optimiser step, 5-120-3", optimizer_runs(), "torch Adam, foreach")
    callbacks, results["do not run in JAX"] = callback_runs()
    for kind, group in callbacks.items():
        section(f"torch in JAX, Linear(120, 64), batch 64: {kind}", group, "raw pure_callback")
    results["retraces over 100 steps"] = retraces(100)
    results["leak over 10 000 calls"] = leak(500 if arguments.quick else 10_000)
    results["do not run in torch"] = failures
    lines += closing(results)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "bridge.md").write_text("\n".join(lines) + "\n")
    (arguments.out / "bridge.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
