"""Run the library on many random layers of one shape with a single compilation."""

import functools
from collections.abc import Callable
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


def layer(networks: Networks, **options: Any) -> Callable[..., Any]:
    """``lif`` as a function of ``Arguments`` of one network; extra spikes are cut off."""
    settings = {"max_spikes": networks.max_spikes, "t_max": networks.t_max, **options}
    return _layer(**{"on_overflow": "truncate", **settings})


# Cached so that JAX, which knows functions by their identity, compiles each of them once.
@functools.cache
def _layer(**settings: Any) -> Callable[..., Any]:
    def run(spikes, weight, constants):
        return jax_core.lif(spikes, weight, **constants, **settings)

    return run


@functools.cache
def _forward(run: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(jax.vmap(run))


@functools.cache
def _backward(run: Callable[..., Any]) -> Callable[..., Any]:
    def pull_back(arguments, cotangent):
        return jax.vjp(run, *arguments)[1](cotangent)

    return jax.jit(jax.vmap(pull_back))


def simulate_all(networks: Networks, **options: Any) -> np.ndarray:
    """Spike times ``(networks, out, max_spikes)``."""
    return np.asarray(_forward(layer(networks, **options))(*arguments(networks)))


def pull_back_all(networks: Networks, cotangent: np.ndarray, **options: Any) -> Arguments:
    """Gradients of ``sum(cotangent * spike times)`` in all arguments, one network at a time."""
    pull_back = _backward(layer(networks, **options))
    return jax.tree.map(np.asarray, pull_back(arguments(networks), jnp.asarray(cotangent)))


def relative_error(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """``(networks,)``: the largest difference relative to the network's largest element.

    Times, voltages and cotangents are of order one. Where all elements are below 1e-9, as for
    ``tau_syn`` if only neurons without input fire, they are noise: the difference counts as it is.
    """
    axes = tuple(range(1, expected.ndim))
    largest = np.max(np.abs(expected), axis=axes)
    difference = np.max(np.abs(actual - expected), axis=axes)
    return difference / np.where(largest > 1e-9, largest, 1)
