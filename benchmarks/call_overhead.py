"""What a call across the bridge costs: beside native JAX, and beside a callback of JAX's own.

    python benchmarks/call_overhead.py           # two minutes
    python benchmarks/call_overhead.py --quick   # to see that it runs

writes results/call_overhead.md. Rows of a table took turns; each way in which JAX may dispatch has
a process of its own. By default JAX on CPU computes in another thread; synchronous is
``jax.config.update("jax_cpu_enable_async_dispatch", False)``.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from apart import in_process
from timing import described, load, measure

from evtorch import bridge

Runs = dict[str, Callable[[int], object]]
DISPATCH = ("default", "synchronous")


def jax_in_torch() -> Runs:
    """Forward and backward of tanh(x @ w)."""

    def fn(x: Any, w: Any) -> Any:
        return jnp.tanh(x @ w)

    x, w = (torch.randn(shape, requires_grad=True) for shape in ((64, 5), (5, 120)))
    operands = [bridge.to_jax(t.detach(), copy=True) for t in (x, w)]
    forward = jax.jit(lambda x, w: jax.vjp(fn, x, w))
    backward = jax.jit(lambda vjp, c: vjp(c))
    ones = jnp.ones((64, 120))

    def native(_: int) -> None:
        _, vjp = forward(*operands)
        jax.block_until_ready(backward(vjp, ones))

    function, torch_ones = bridge.as_torch_function(fn), torch.ones(64, 120)

    def bridged(_: int) -> None:
        function(x, w).backward(torch_ones)
        x.grad = w.grad = None

    def in_torch(_: int) -> None:
        torch.tanh(x @ w).backward(torch_ones)
        x.grad = w.grad = None

    def both(_: int) -> None:
        native(0)
        in_torch(0)

    return {
        "native JAX": native,
        "evtorch": bridged,
        "torch itself": in_torch,
        "native JAX, then torch itself": both,
    }


def torch_in_jax(gradients: bool) -> tuple[Runs, Runs]:
    """A jitted ``Linear(120, 64)`` on a batch of 64: as JAX, and by callback."""
    module, x = torch.nn.Linear(120, 64), torch.randn(64, 120)
    operand = bridge.to_jax(x, copy=True)
    bridged = {
        "evtorch": bridge.as_jax_function(module, lowering="native"),
        "evtorch, by callback": bridge.as_jax_function(module, lowering="callback"),
    }
    params = bridged["evtorch"][1]
    outputs: Any = params if gradients else jax.ShapeDtypeStruct((64, 64), jnp.float32)

    def on_host(given: dict[str, Any], x: Any) -> Any:
        own = {name: torch.from_numpy(np.array(a)) for name, a in given.items()}
        for tensor in own.values():
            tensor.requires_grad_(gradients)
        y = torch.nn.functional.linear(torch.from_numpy(np.array(x)), own["weight"], own["bias"])
        if not gradients:
            return y.numpy()
        found = torch.autograd.grad(y.sum(), list(own.values()))
        return {name: g.numpy() for name, g in zip(own, found, strict=True)}

    def timed(fn: Callable[..., Any]) -> Callable[[int], object]:
        jitted = jax.jit(fn)
        return lambda _: jax.block_until_ready(jitted(params, operand))

    def differentiated(fn: Callable[..., Any]) -> Callable[..., Any]:
        return jax.grad(lambda p, x: fn(p, x).sum()) if gradients else fn

    runs = {name: timed(differentiated(fn)) for name, (fn, _) in bridged.items()}
    by_hand = timed(differentiated(lambda p, x: x @ p["weight"].T + p["bias"]))
    bare = timed(lambda p, x: jax.pure_callback(on_host, outputs, p, x))
    return (
        {"by hand in JAX": by_hand, "evtorch": runs["evtorch"]},
        {"bare pure_callback": bare, "evtorch, by callback": runs["evtorch, by callback"]},
    )


def timings(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Median and lower quartile, us, of each row of each table."""
    call, gradients = torch_in_jax(False), torch_in_jax(True)
    tables = {
        "JAX in torch: tanh(x @ w), (64, 5) @ (5, 120), forward and backward": jax_in_torch(),
        "torch in JAX: Linear(120, 64), batch 64": call[0],
        "torch in JAX: its gradients": gradients[0],
        "torch in JAX by callback: Linear(120, 64), batch 64": call[1],
        "torch in JAX by callback: its gradients": gradients[1],
    }
    return {
        title: {
            n: [1e6 * t.median, 1e6 * t.lower_quartile] for n, t in measure(runs, 1, rounds).items()
        }
        for title, runs in tables.items()
    }


def table(found: dict[str, dict[str, list[float]]]) -> list[str]:
    """Markdown for one way of dispatching."""
    lines = ["| | | median, us | lower quartile, us | ratio |", "|---|---|---|---|---|"]
    for title, rows in found.items():
        base = next(iter(rows.values()))
        for name, (median, lower) in rows.items():
            lines.append(
                f"| {title} | {name} | {median:.0f} | {lower:.0f} | {median / base[0]:.2f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="few repeats")
    results = Path(__file__).parent / "results"
    add("--out", type=Path, default=results / "call_overhead.md", help="(%(default)s)")
    add("--probe", nargs=2, metavar=("DISPATCH", "ROUNDS"), help="one process, as JSON")
    own = parser.parse_args()
    torch.set_num_threads(1)
    if own.probe:
        dispatch, rounds = own.probe
        jax.config.update("jax_cpu_enable_async_dispatch", dispatch == "default")
        print(json.dumps(timings(int(rounds))))
        return
    before = load()
    text = []
    for dispatch in DISPATCH:
        found: Any = in_process(__file__, dispatch, "3" if own.quick else "20")
        text += ["", f"## Dispatch: {dispatch}", "", *table(found)]
    head = [
        "# Calls across the bridge",
        "",
        f"Written by `{' '.join(['python benchmarks/call_overhead.py', *sys.argv[1:]])}`; torch",
        "has one thread. A ratio is that of medians to the first row of a kind. Two that take",
        "turns take longer than both alone, as after anything else that fills the caches.",
        f"Load averages before {before}, after {load()}. {described()}.",
    ]
    own.out.write_text("\n".join([*head, *text]) + "\n")
    print(own.out.read_text())


if __name__ == "__main__":
    main()
