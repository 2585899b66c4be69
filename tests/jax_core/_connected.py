"""Random layers of each kind of connections, and the library run on all of them at once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evtorch import jax_core

from ..reference import (
    ConnectedNetworks,
    Synapses,
    all_to_all,
    connected_networks,
    convolution,
)

CONV1D: dict[str, Any] = {
    "kernel_size": (3,),
    "stride": (2,),
    "padding": (1,),
    "dilation": (1,),
    "groups": 2,
}
CONV2D: dict[str, Any] = {
    "kernel_size": (2, 2),
    "stride": (1, 2),
    "padding": (0, 1),
    "dilation": (2, 1),
    "groups": 1,
}
# Connections per neuron of a sparse layer, in an order that is drawn: one hears nothing.
FAN_IN = (4, 0, 3, 2)
INPUTS = 6

Case = tuple[ConnectedNetworks, Any]


def draw(kind: str, seed: int, networks: int, **options: Any) -> Case:
    """Networks, and their connections for the library, leaves with an axis of networks."""
    return {
        "conv1d": functools.partial(_conv, CONV1D, (4, 5), (2, 2, 3)),
        "conv2d": functools.partial(_conv, CONV2D, (2, 4, 3), (2, 2, 2, 2)),
        "sparse": _sparse,
        "sparse with delays": functools.partial(_sparse, delayed=True),
        "synaptic delays": _synaptic,
    }[kind](seed, networks, **options)


def _conv(
    conv: dict[str, Any],
    inputs: tuple[int, ...],
    weights: tuple[int, ...],
    seed: int,
    networks: int,
    **options: Any,
) -> Case:
    others = (conv[name] for name in ("stride", "padding", "dilation", "groups"))
    synapses = convolution(weights, inputs[0], inputs[1:], *others)
    drawn = connected_networks(seed, [synapses] * networks, inputs, weights, **options)
    return drawn, jax_core.Conv(**conv)


def _sparse(seed: int, networks: int, delayed: bool = False, **options: Any) -> Case:
    rng = np.random.default_rng(seed + 1000)
    synapses, connections = [], []
    for _ in range(networks):
        fan_in = rng.permutation(FAN_IN)
        post = np.repeat(np.arange(len(FAN_IN)), fan_in)
        pre = np.concatenate([rng.permutation(INPUTS)[:count] for count in fan_in])
        order = rng.permutation(len(post))
        pairs = np.stack([post, pre], axis=1)[order]
        synapses.append(Synapses(*pairs.T, np.arange(len(pairs)), np.arange(len(FAN_IN))))
        connections.append(jax_core.Sparse.of(pairs, INPUTS, len(FAN_IN)))
    weights = (sum(FAN_IN),)
    drawn = connected_networks(seed, synapses, (INPUTS,), weights, delayed=delayed, **options)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *connections)
    return drawn, stacked


def _synaptic(seed: int, networks: int, **options: Any) -> Case:
    synapses = [all_to_all(INPUTS, 4)] * networks
    drawn = connected_networks(seed, synapses, (INPUTS,), (4, INPUTS), delayed=True, **options)
    return drawn, jax_core.SynapticDelays(np.zeros((networks, 4, INPUTS)))  # pyright: ignore[reportArgumentType]


def arguments(case: Case) -> tuple[Any, ...]:
    """What a layer is differentiable in: spikes, weight, constants, delays or ``None``."""
    networks, _ = case
    return networks.spikes, networks.weight, networks.constants, networks.delay


@functools.cache
def layer(max_spikes: int, t_max: float, **options: Any) -> Any:
    """``lif`` of one network, a function of its connections and of `arguments`."""

    def run(connections, spikes, weight, constants, delay):
        if delay is not None:
            kind, fields = type(connections), vars(connections)
            connections = kind(**{**fields, "delay": delay})
        given = {"on_overflow": "truncate", "max_spikes": max_spikes, "t_max": t_max}
        return jax_core.lif(
            spikes, weight, connections=connections, **given, **constants, **options
        )

    return run


@functools.cache
def _forward(run: Any) -> Any:
    return jax.jit(jax.vmap(run))


@functools.cache
def _backward(run: Any) -> Any:
    def pull_back(connections, arguments, cotangent):
        return jax.vjp(functools.partial(run, connections), *arguments)[1](cotangent)

    return jax.jit(jax.vmap(pull_back))


def of(case: Case, **options: Any) -> Any:
    networks, _ = case
    return layer(networks.max_spikes, networks.t_max, **options)


def simulate_all(case: Case, given: tuple[Any, ...] | None = None, **options: Any) -> np.ndarray:
    """Spike times ``(networks, neurons, max_spikes)``."""
    out = _forward(of(case, **options))(case[1], *(given or arguments(case)))
    return np.asarray(out).reshape(len(out), -1, out.shape[-1])


def pull_back_all(case: Case, cotangent: np.ndarray, **options: Any) -> tuple[Any, ...]:
    """Gradients of ``sum(cotangent * spike times)``, of each network, in `arguments`."""
    run = of(case, **options)
    shape = jax.eval_shape(jax.vmap(run), case[1], *arguments(case)).shape
    pull_back = _backward(run)
    found = pull_back(case[1], arguments(case), jnp.asarray(cotangent.reshape(shape)))
    return jax.tree.map(np.asarray, found)
