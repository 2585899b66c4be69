"""A training step of an MLP: torch's loop, torch.compile, `bridge.compile_step`, JAX by hand.

    python benchmarks/compiled_step.py

writes results/compiled_step.md.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from timing import described, load, measure
from torch import nn

from evtorch import bridge

OUT = Path(__file__).parent / "results" / "compiled_step.md"
BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30, help="turns of each (default: 30)")
    parser.add_argument("--out", type=Path, default=OUT, help="(default: %(default)s)")
    own = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = torch.randn(BATCH, 64), torch.randint(0, 10, (BATCH,))
    runs, failed = {}, []
    for name, make in CONTENDERS.items():
        try:
            runs[name] = make(images, labels)
            runs[name](0)
        except Exception as error:  # torch.compile needs a C++ compiler.
            runs.pop(name, None)
            failed.append(f"{name}: {type(error).__name__}")
    timings = measure(runs, 1, own.rounds)
    fastest = timings["JAX by hand, optax"].median
    lines = [
        "# A training step of an MLP",
        "",
        f"Written by `python benchmarks/compiled_step.py`: 64-256-10 with ReLU, batch {BATCH},",
        "cross entropy, Adam, float32, one torch thread, in turns in one process; medians with",
        "quartiles.",
        f"Load averages at the end {load()}. {described('optax')}.",
        "",
        "| | us | times JAX by hand |",
        "|---|---|---|",
    ]
    for name, t in timings.items():
        low, high = 1e6 * t.lower_quartile, 1e6 * t.upper_quartile
        lines.append(
            f"| {name} | {1e6 * t.median:.0f} ({low:.0f} - {high:.0f}) | {t.median / fastest:.2f} |"
        )
    if failed:
        lines += ["", f"Did not run: {'; '.join(failed)}."]
    own.out.write_text("\n".join(lines) + "\n")
    print(own.out.read_text())


def model() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))


def torch_loop(
    images: torch.Tensor, labels: torch.Tensor, *, compiled: bool = False, fused: bool = False
) -> Callable[[int], object]:
    own = model()
    optimizer = torch.optim.Adam(own.parameters(), 1e-3, fused=fused)

    def loss_of(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(own(images), labels)

    loss_function: Any = torch.compile(loss_of) if compiled else loss_of

    def step(_: int) -> object:
        optimizer.zero_grad()
        loss = loss_function(images, labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def compiled_step(
    images: torch.Tensor, labels: torch.Tensor, *, of_torch: bool
) -> Callable[[int], object]:
    own = model()
    rule = torch.optim.Adam(own.parameters(), 1e-3) if of_torch else optax.adam(1e-3)
    step = bridge.compile_step(own, nn.CrossEntropyLoss(), rule)
    return lambda _: step(images, labels)


def by_hand(images: torch.Tensor, labels: torch.Tensor) -> Callable[[int], object]:
    params = [jnp.asarray(p.detach().numpy()) for p in model().parameters()]
    x, y = jnp.asarray(images.numpy()), jnp.asarray(labels.numpy().astype(np.int32))
    rule = optax.adam(1e-3)
    state = rule.init(params)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, state: Any, x: Any, y: Any) -> Any:
        def loss(params: Any) -> Any:
            hidden = jnp.maximum(x @ params[0].T + params[1], 0)
            logits = hidden @ params[2].T + params[3]
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        changes, state = rule.update(gradients, state)
        return optax.apply_updates(params, changes), state, value

    def step(_: int) -> object:
        nonlocal params, state
        params, state, loss = update(params, state, x, y)
        return loss.block_until_ready()

    return step


CONTENDERS: dict[str, Callable[[torch.Tensor, torch.Tensor], Callable[[int], object]]] = {
    "torch, plain loop": torch_loop,
    "torch, plain loop, fused Adam": partial(torch_loop, fused=True),
    "torch.compile of model and loss, fused Adam": partial(torch_loop, compiled=True, fused=True),
    "`compile_step`, torch.optim.Adam": partial(compiled_step, of_torch=True),
    "`compile_step`, optax.adam": partial(compiled_step, of_torch=False),
    "JAX by hand, optax": by_hand,
}


if __name__ == "__main__":
    main()
