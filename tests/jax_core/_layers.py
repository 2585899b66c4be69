"""Run the library on many random layers of one shape with a single compilation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evtorch import jax_core

from ..reference import Networks

# (spikes, weight, constants by name): everything that a layer is differentiable in.
Arguments = tuple[Any, Any, dict[str, Any]]


def arguments(networks: Networks) -> Arguments:
    return networks.spikes, networks.weight, networks.constants


def layer(networks: Networks, **options: Any):
    """``lif`` as a function of ``Arguments`` of one network; extra spikes are cut off."""
    settings = {
        "max_spikes": networks.max_spikes,
        "t_max": networks.t_max,
        "on_overflow": "truncate",
        **options,
    }

    def run(spikes, weight, constants):
        return jax_core.lif(spikes, weight, **constants, **settings)

    return run


def simulate_all(networks: Networks, **options: Any) -> np.ndarray:
    """Spike times ``(networks, out, max_spikes)``."""
    return np.asarray(jax.jit(jax.vmap(layer(networks, **options)))(*arguments(networks)))


def pull_back_all(networks: Networks, cotangent: np.ndarray, **options: Any) -> Arguments:
    """Gradients of ``sum(cotangent * spike times)`` in all arguments, one network at a time."""
    run = layer(networks, **options)

    def pull_back(arguments, cotangent):
        _, vjp = jax.vjp(run, *arguments)
        return vjp(cotangent)

    pulled = jax.jit(jax.vmap(pull_back))(arguments(networks), jnp.asarray(cotangent))
    return jax.tree.map(np.asarray, pulled)


def relative_error(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """``(networks,)``: the largest difference relative to the network's largest element."""
    axes = tuple(range(1, expected.ndim))
    largest = np.max(np.abs(expected), axis=axes)
    difference = np.max(np.abs(actual - expected), axis=axes)
    return difference / np.where(largest > 0, largest, 1)
