"""evtorch in the benchmark's task: as torch modules, and its JAX core alone."""

from collections.abc import Callable
from functools import partial
from math import inf

import jax
import jax.numpy as jnp
import numpy as np
import optax
import task as t
import torch
from contender import Contender

from evtorch import bridge, jax_core
from evtorch import torch_api as snn

NEURON = {
    "tau_mem": t.TAU_MEM,
    "tau_syn": t.TAU_SYN,
    "v_threshold": 1.0,
    "refractory": inf,
    "max_spikes": 1,
    "t_max": t.T_MAX,
}


def _weights(task: t.Task, duplication: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights for input spikes that come ``duplication`` times; the network stays the same."""
    first, second = task.weights
    return first * (t.DUPLICATION / duplication), second


def _input_times(task: t.Task, duplication: int) -> np.ndarray:
    return np.repeat(task.inputs[..., None] * np.float32(t.T_LATE), duplication, axis=-1)


def torch_contender(task: t.Task, duplication: int = 1) -> Contender:
    """``nn.Sequential`` of two ``LIF`` layers with torch's fused Adam."""
    model = _model(task, duplication)
    optimizer = torch.optim.Adam(model.parameters(), lr=t.LEARNING_RATE, fused=True)
    inputs = torch.from_numpy(_input_times(task, duplication))
    targets = torch.from_numpy(task.targets)

    def train_step(i: int) -> float:
        optimizer.zero_grad()
        loss = _loss(model(inputs[i]), targets[i])
        loss.backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), t.GRADIENT_CLIP)
        optimizer.step()
        return loss.item()

    return Contender(
        _name("evtorch, torch modules", duplication), train_step, _forward(model, inputs)
    )


def compiled_contender(task: t.Task) -> Contender:
    """The same modules, in a step that is one program."""
    model = _model(task, 1)
    rule = optax.chain(optax.clip(t.GRADIENT_CLIP), optax.adam(t.LEARNING_RATE))
    step = bridge.compile_step(model, _loss, rule)
    inputs = torch.from_numpy(_input_times(task, 1))
    targets = torch.from_numpy(task.targets)
    return Contender(
        "evtorch, torch modules in `compile_step`",
        lambda i: step(inputs[i], targets[i]).item(),
        _forward(model, inputs),
    )


def _model(task: t.Task, duplication: int) -> torch.nn.Module:
    model = torch.nn.Sequential(
        snn.LIF(t.INPUTS, task.hidden, **NEURON),
        snn.LIF(task.hidden, t.CLASSES, **NEURON),
    )
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), _weights(task, duplication), strict=True):
            parameter.copy_(torch.from_numpy(weight))
    return model


def _loss(first: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    error = (first.squeeze(-1).clamp(max=2 * t.TAU_MEM) - targets) / t.TAU_MEM
    return error.square().sum(-1).mean()


def _forward(model: torch.nn.Module, inputs: torch.Tensor) -> Callable[[int], np.ndarray]:
    @torch.no_grad()
    def forward(i: int) -> np.ndarray:
        return model(inputs[i]).squeeze(-1).numpy()

    return forward


def jax_contender(task: t.Task, duplication: int = 1) -> Contender:
    """``jax_core.lif`` twice, jitted with an optax update."""
    inputs = jnp.asarray(_input_times(task, duplication))
    targets = jnp.asarray(task.targets)
    parameters = tuple(map(jnp.asarray, _weights(task, duplication)))
    optimizer = optax.chain(optax.clip(t.GRADIENT_CLIP), optax.adam(t.LEARNING_RATE))
    state = optimizer.init(parameters)

    def first_spikes(parameters: tuple[jax.Array, ...], times: jax.Array) -> jax.Array:
        for weight in parameters:
            times = jax_core.lif(times, weight, **NEURON)
        return times[..., 0]

    def loss_of(parameters: tuple[jax.Array, ...], batch: jax.Array, goal: jax.Array) -> jax.Array:
        first = first_spikes(parameters, batch)
        error = (jnp.minimum(first, 2 * t.TAU_MEM) - goal) / t.TAU_MEM
        return jnp.square(error).sum(-1).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters, state, batch, goal):
        loss, gradient = jax.value_and_grad(loss_of)(parameters, batch, goal)
        change, state = optimizer.update(gradient, state)
        return optax.apply_updates(parameters, change), state, loss

    jitted_first_spikes = jax.jit(first_spikes)

    def train_step(i: int) -> float:
        nonlocal parameters, state
        parameters, state, loss = update(parameters, state, inputs[i], targets[i])
        return float(loss)

    def forward(i: int) -> np.ndarray:
        return np.asarray(jitted_first_spikes(parameters, inputs[i]))

    return Contender(_name("evtorch, JAX core + optax", duplication), train_step, forward)


def _name(name: str, duplication: int) -> str:
    return name if duplication == 1 else f"{name}, every input spike {duplication} times"
