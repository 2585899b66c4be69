"""Train across PyTorch and JAX with evtorch.bridge.

1. One network of LIF neurons on Yin-Yang: trained in torch, continued in pure JAX with optax, and
   taken back to torch; Adam's moments go along. A second network makes all its steps with torch's
   own Adam: the losses agree. In float64, because a spike more or less turns the last digit of
   float32 into a visible difference.
2. A torch Conv2d front end inside a JAX training loop, with optax on all parameters.
The folder --out receives losses.json and figure.png. Ctrl-C writes a checkpoint; --resume goes on.

    python examples/across_frameworks.py
    python examples/across_frameworks.py --steps 300 --out runs/longer
"""

import copy
import json
import statistics
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from _settings import installed, option, parse_arguments, positive
from torch import nn

from evtorch import bridge, jax_core
from evtorch import torch_api as snn

with installed():
    from _across_plots import plot
    from _checkpoint import Run, Values

TAU = 1e-2
T_MAX = 6e-2
NEURON: dict[str, Any] = {"tau_mem": TAU, "tau_syn": TAU / 2, "refractory": float("inf")}
# With its leak above the threshold of 1 each output neuron spikes sooner or later.
READOUT: dict[str, Any] = {**NEURON, "v_leak": 1.2}
RATE = 1e-2
RULE = optax.adam(RATE)


@dataclass(frozen=True)
class Settings:
    """Of both parts."""

    steps: int = option(90, "training steps (%(default)s)", type=positive)
    hidden: int = option(60, "hidden neurons (%(default)s)", type=positive)


class Tree:
    """A pytree of arrays with a state, for checkpoints."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> dict[str, Any]:
        return {"leaves": bridge.to_torch(jax.tree.leaves(self.value))}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        leaves = [jnp.asarray(leaf.numpy()) for leaf in state_dict["leaves"]]
        self.value = jax.tree.unflatten(jax.tree.structure(self.value), leaves)


def torch_loss(times: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of first-spike times; silent neurons count as spiking at ``T_MAX``."""
    return nn.functional.cross_entropy(-5 * times[..., 0].clamp(max=T_MAX) / TAU, label)


def jax_loss(times: jax.Array, label: jax.Array) -> jax.Array:
    """The same in JAX."""
    scores = jax.nn.log_softmax(-5 * jnp.minimum(times[..., 0], T_MAX) / TAU)
    return -jnp.take_along_axis(scores, label[:, None], axis=1).mean()


def batches(steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Latency-coded Yin-Yang samples, with a bias spike, and their classes."""
    data = snn.datasets.YinYang(64 * steps, seed=0)
    points, labels = zip(*(data[i] for i in range(len(data))), strict=True)
    encode = snn.LatencyEncoder(0.0, 2 * TAU, bias=0.0)
    spikes = encode(torch.stack([torch.as_tensor(p, dtype=torch.float64) for p in points]))
    return list(zip(spikes.split(64), torch.tensor(labels).split(64), strict=True))


def torch_steps(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: list, title: str, run: Run
) -> list[float]:
    """Train on each batch once; **returns** the losses."""
    history = Values(loss=[])
    states = {"model": model, "optimizer": optimizer, "history": history}
    for step in run.epochs(title, len(data), states, unit="step"):
        spikes, label = data[step]
        optimizer.zero_grad()
        loss = torch_loss(model(spikes), label)
        loss.backward()
        optimizer.step()
        history.loss.append(loss.item())
    return history.loss


def jax_steps(
    params: dict, state: Any, data: list, title: str, run: Run
) -> tuple[dict, Any, list[float]]:
    """The same training in pure JAX; **returns** parameters, optax's state and losses."""

    def loss_of(params: dict, spikes: jax.Array, label: jax.Array) -> jax.Array:
        lif: Any = jax_core.lif
        hidden = lif(spikes, params["0.weight"], **NEURON, t_max=T_MAX, validate=False)
        times = lif(hidden, params["1.weight"], **READOUT, t_max=T_MAX, validate=False)
        return jax_loss(times, label)

    @jax.jit
    def step(params: dict, state: Any, spikes: jax.Array, label: jax.Array) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(params, spikes, label)
        updates, state = RULE.update(gradients, state)
        return optax.apply_updates(params, updates), state, loss

    learned, history = Tree((params, state)), Values(loss=[])
    states = {"learned": learned, "history": history}
    for i in run.epochs(title, len(data), states, unit="step"):
        spikes, label = bridge.to_jax((data[i][0], data[i][1].int()))
        params, state, loss = step(*learned.value, spikes, label)
        learned.value = params, state
        history.loss.append(float(loss))
    params, state = learned.value
    return params, state, history.loss


def handed_over(steps: int) -> list[int]:
    """After which steps JAX and torch take over."""
    third = max(1, steps // 3)
    return [third, 2 * third]


def half_and_half(steps: int, hidden: int, run: Run) -> dict[str, list[float]]:
    """Torch, JAX and torch again, against torch alone."""
    first = snn.LIF(5, hidden, **NEURON, t_max=T_MAX, dtype=torch.float64)
    second = snn.LIF(hidden, 3, **READOUT, t_max=T_MAX, dtype=torch.float64)
    nn.init.normal_(first.weight, mean=1.2, std=1.6)
    nn.init.normal_(second.weight, mean=12 / hidden, std=2 / hidden**0.5)
    model = nn.Sequential(first, second)
    alone = copy.deepcopy(model)
    data = batches(steps)
    to_jax, to_torch = handed_over(steps)
    parts = [data[:to_jax], data[to_jax:to_torch], data[to_torch:]]
    optimizer = bridge.OptaxOptimizer(model.named_parameters(), RULE)
    mixed = torch_steps(model, optimizer, parts[0], "torch", run)
    params, state = bridge.export_parameters(model), optimizer.optax_state()
    with jax.enable_x64(True):
        params, state, losses = jax_steps(params, state, parts[1], "JAX", run)
    bridge.load_parameters(model, params)
    optimizer.load_optax_state(state)
    mixed += losses + torch_steps(model, optimizer, parts[2], "torch again", run)
    adam = torch.optim.Adam(alone.parameters(), lr=RATE)
    reference = torch_steps(alone, adam, data, "torch alone", run)
    return {"torch, JAX, torch": mixed, "torch alone": reference}


def conv_in_jax(steps: int, run: Run) -> list[float]:
    """Train a torch Conv2d and a JAX read-out together, in JAX, to tell bars apart."""
    generator = np.random.default_rng(0)
    label = generator.integers(0, 2, 256)
    images = generator.normal(0, 0.3, (256, 1, 8, 8)).astype(np.float32)
    for image, upright in zip(images, label, strict=True):
        line = generator.integers(0, 8)
        image[0, :, line] += upright
        image[0, line, :] += 1 - upright
    front = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    features, front_params = bridge.as_jax_function(front)
    params = {"front": front_params, "readout": jnp.zeros((4, 2))}

    def loss_of(params: dict) -> jax.Array:
        scores = features(params["front"], images) @ params["readout"]
        return optax.softmax_cross_entropy_with_integer_labels(scores, jnp.asarray(label)).mean()

    rule = optax.adam(3e-2)
    learned, history = Tree((params, rule.init(params))), Values(loss=[])
    states = {"learned": learned, "history": history}
    step = jax.jit(jax.value_and_grad(loss_of))
    for _ in run.epochs("Conv2d in JAX", steps, states, unit="step"):
        params, state = learned.value
        loss, gradients = step(params)
        updates, state = rule.update(gradients, state)
        learned.value = optax.apply_updates(params, updates), state
        history.loss.append(float(loss))
    return history.loss


def learned(losses: list[float]) -> str:
    """What the losses were at first and in the end; those of single batches vary too much."""
    few = max(1, min(10, len(losses) // 4))
    first, last = statistics.mean(losses[:few]), statistics.mean(losses[-few:])
    return f"loss {first:.3f} -> {last:.3f} (means of the first and last {few} steps)"


def main() -> None:
    settings, run = parse_arguments(Settings, __doc__, "runs/across_frameworks")
    with run:
        experiment(settings, run)


def experiment(settings: Settings, run: Run) -> None:
    """Run both parts, write the losses and draw them."""
    torch.manual_seed(0)
    losses = half_and_half(settings.steps, settings.hidden, run)
    mixed, alone = losses.values()
    difference = max(abs(a - b) for a, b in zip(mixed, alone, strict=True))
    front = conv_in_jax(settings.steps, run)
    out = run.out
    out.mkdir(parents=True, exist_ok=True)
    results = {**losses, "difference": difference, "Conv2d in JAX": front}
    (out / "losses.json").write_text(json.dumps(results, indent=1) + "\n")
    plot(out / "figure.png", mixed, alone, handed_over(settings.steps), front)
    print(f"\nLIF network    {learned(mixed)}")
    print(f"               losses differ from torch alone by {difference:.1e} at most")
    print(f"Conv2d in JAX  {learned(front)}")
    print(f"files          {out}/losses.json, figure.png")


if __name__ == "__main__":
    main()
