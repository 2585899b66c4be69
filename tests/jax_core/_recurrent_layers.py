"""Random recurrent layers, and the library run on all of them with a single compilation."""

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from evtorch import jax_core

from ..reference import CONSTANTS, Networks, RecurrentRun, random_networks, simulate_recurrent

NETWORKS, INPUTS, NEURONS, SPIKES = 64, 4, 3, 4
OPTIONS = {"max_spikes": SPIKES, "on_overflow": "truncate"}

Arguments = dict[str, Any]
"""Everything that a layer is differentiable in, by name."""


@dataclass(frozen=True)
class Recurrent:
    """Recurrent layers of one shape, each with its own input, weights and neuron constants."""

    networks: Networks
    recurrent_weight: np.ndarray
    """``(networks, out, out)``."""
    recurrent_delay: np.ndarray | None = None
    """``(networks, out)``, or of connections, ``(networks, out, out)``."""
    input_delay: np.ndarray | None = None
    """``(networks, out, in)``."""

    @property
    def arguments(self) -> Arguments:
        delays = {"recurrent_delay": self.recurrent_delay, "input_delay": self.input_delay}
        return {
            **{name: delay for name, delay in delays.items() if delay is not None},
            "spikes": self.networks.spikes,
            "weight": self.networks.weight,
            "recurrent_weight": self.recurrent_weight,
            **self.networks.constants,
        }

    def with_arguments(self, arguments: Arguments) -> "Recurrent":
        constants = {name: arguments[name] for name in CONSTANTS}
        networks = replace(
            self.networks,
            spikes=arguments["spikes"],
            weight=arguments["weight"],
            constants=constants,
        )
        delays = arguments.get("recurrent_delay"), arguments.get("input_delay")
        return Recurrent(networks, arguments["recurrent_weight"], *delays)

    def run(self, network: int) -> RecurrentRun:
        """What the reference says of one of them."""
        networks = self.networks
        return simulate_recurrent(
            [networks.neuron(network, post) for post in range(networks.weight.shape[1])],
            networks.spikes[network].astype(np.float64),
            networks.weight[network].astype(np.float64),
            self.recurrent_weight[network].astype(np.float64),
            networks.max_spikes,
            networks.t_max,
            *(None if x is None else x[network] for x in (self.recurrent_delay, self.input_delay)),
        )


def random_recurrent(
    seed: int,
    t_max: float = math.inf,
    fixed: dict[str, float] | None = None,
    dtype: Any = float,
    delayed: bool = False,
) -> Recurrent:
    """Draw ``NETWORKS`` layers, in which spikes excite and inhibit others about as input does."""
    networks = random_networks(
        seed, NETWORKS, INPUTS, 2, NEURONS, SPIKES, t_max, fixed=fixed, dtype=dtype
    )
    rng = np.random.default_rng([seed, 1])
    scale = np.mean(np.abs(networks.weight), axis=2, keepdims=True)
    recurrent_weight = 0.7 * scale * rng.normal(0, 1, (NETWORKS, NEURONS, NEURONS))
    delay = rng.uniform(0.05, 1.5, (NETWORKS, NEURONS)).astype(dtype) if delayed else None
    return Recurrent(networks, recurrent_weight.astype(dtype), delay)


def with_delays_of_connections(
    layers: Recurrent, seed: int, least: float = 0.0, of_input: bool = True
) -> Recurrent:
    """The same with a delay for each connection, from 0 on a fifth of them, or above ``least``.

    In every fourth network, if from 0, input and delays lie on a grid of 1/4: many arrive at once.
    """
    rng = np.random.default_rng([seed, 2])
    networks, dtype = layers.networks, layers.networks.weight.dtype
    spikes, on_grid = networks.spikes.copy(), (least == 0) & (rng.random(NETWORKS) < 0.25)
    spikes[on_grid] = np.ceil(spikes[on_grid] * 4) / 4
    delays = []
    for shape in (layers.recurrent_weight.shape, networks.weight.shape):
        delay = rng.uniform(least, 1.5, shape)
        delay = np.where((least == 0) & (rng.random(shape) < 0.2), 0.0, delay)
        delay[on_grid] = np.ceil(delay[on_grid] * 4) / 4
        delays.append(delay.astype(dtype))
    networks = replace(networks, spikes=spikes)
    return Recurrent(networks, layers.recurrent_weight, delays[0], delays[1] if of_input else None)


def layer(arguments: Arguments, **options: Any) -> jax.Array:
    """The library's layer of such arguments."""
    others = {name: value for name, value in arguments.items() if name != "input_delay"}
    if "input_delay" in arguments:
        options["connections"] = jax_core.SynapticDelays(arguments["input_delay"])
    return jax_core.recurrent_lif(**others, **OPTIONS, **options)


# Cached so that JAX, which knows functions by their identity, compiles each of them once.
@functools.cache
def _compiled(**options: Any) -> Any:
    def run(arguments, cotangent):
        times, pull_back = jax.vjp(functools.partial(layer, **options), arguments)
        return times, pull_back(cotangent)[0]

    return jax.jit(jax.vmap(run))


def simulate_all(layers: Recurrent | Arguments, **options: Any) -> np.ndarray:
    """Spike times ``(networks, out, max_spikes)``."""
    arguments = layers.arguments if isinstance(layers, Recurrent) else layers
    shape = (NETWORKS, NEURONS, SPIKES)
    times, _ = _compiled(**options)(arguments, jnp.zeros(shape, arguments["weight"].dtype))
    return np.asarray(times)


def pull_back_all(
    layers: Recurrent | Arguments, cotangent: np.ndarray, **options: Any
) -> dict[str, np.ndarray]:
    """Gradients of ``sum(cotangent * spike times)`` in all arguments, one network at a time."""
    arguments = layers.arguments if isinstance(layers, Recurrent) else layers
    _, gradients = _compiled(**options)(arguments, jnp.asarray(cotangent))
    return {name: np.asarray(gradient) for name, gradient in gradients.items()}
