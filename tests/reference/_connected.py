"""Layers whose connections are listed one by one: of convolutions, sparse, and with delays."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._networks import CONSTANTS, random_constants
from ._neuron import Neuron, Run, simulate


@dataclass(frozen=True)
class Synapses:
    """Connections, one per entry; all fields are whole numbers, shape ``(synapses,)``."""

    post: np.ndarray
    """Neurons, in the order of a flattened output."""
    pre: np.ndarray
    """Inputs, in the order of flattened input neurons."""
    weight: np.ndarray
    """Which of the flattened weights each has, and which of the delays, if there are any."""
    kind: np.ndarray
    """Which constants each neuron has, shape ``(neurons,)``."""


def all_to_all(inputs: int, outputs: int) -> Synapses:
    """Each input to each neuron, with the weights of a matrix ``(outputs, inputs)``."""
    post, pre = np.divmod(np.arange(inputs * outputs), inputs)
    return Synapses(post, pre, np.arange(inputs * outputs), np.arange(outputs))


def convolution(
    weight_shape: tuple[int, ...],
    channels: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Synapses:
    """What hears what in a convolution, straight from its definition."""
    out, shared, *kernel = weight_shape
    positions = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    ]
    found = []
    for post, place in enumerate(itertools.product(range(out), *map(range, positions))):
        for weight, tap in enumerate(itertools.product(range(shared), *map(range, kernel))):
            at = [
                y * s - p + o * d
                for y, s, p, o, d in zip(place[1:], stride, padding, tap[1:], dilation, strict=True)
            ]
            if all(0 <= x < n for x, n in zip(at, size, strict=True)):
                channel = place[0] // (out // groups) * shared + tap[0]
                pre = np.ravel_multi_index((channel, *at), (channels, *size))
                found.append((post, pre, place[0] * shared * math.prod(kernel) + weight))
    return Synapses(*np.array(found).T, np.repeat(np.arange(out), math.prod(positions)))


@dataclass(frozen=True)
class ConnectedNetworks:
    """Layers with as many connections each, with their own input, weights and constants."""

    synapses: list[Synapses]
    """One per network."""
    spikes: np.ndarray
    """``(networks, *input neurons, input spikes)``, ``inf`` where there is no spike."""
    weight: np.ndarray
    """``(networks, ...)``."""
    delay: np.ndarray | None
    """The weights' shape."""
    constants: dict[str, np.ndarray]
    """``(networks, kinds of neurons)`` for each name in ``CONSTANTS``."""
    t_max: float
    max_spikes: int

    def run(self, network: int, post: int) -> Run:
        synapses = self.synapses[network]
        own = synapses.post == post
        spikes = self.spikes[network].reshape(-1, self.spikes.shape[-1])
        times, which = spikes[synapses.pre[own]], synapses.weight[own]
        if self.delay is not None:
            times = times + self.delay[network].ravel()[which, None]
        weights = np.repeat(self.weight[network].ravel()[which], times.shape[-1])
        kind = synapses.kind[post]
        neuron = Neuron(**{n: float(self.constants[n][network, kind]) for n in CONSTANTS})
        given = times.ravel().tolist(), weights.tolist()
        return simulate(neuron, *given, self.max_spikes, self.t_max)

    @cached_property
    def runs(self) -> list[list[Run]]:
        return [
            [self.run(b, post) for post in range(len(synapses.kind))]
            for b, synapses in enumerate(self.synapses)
        ]

    @cached_property
    def spike_times(self) -> np.ndarray:
        """``(networks, neurons, max_spikes)``, padded with ``inf``."""
        padding = [math.inf] * self.max_spikes
        return np.array(
            [[(run.spikes + padding)[: self.max_spikes] for run in runs] for runs in self.runs]
        )

    def all_runs(self, holds: Callable[[Run], bool]) -> np.ndarray:
        """Whether something holds of all neurons, ``(networks,)``."""
        return np.array([all(map(holds, runs)) for runs in self.runs])

    def select(self, keep: np.ndarray) -> "ConnectedNetworks":
        """The networks at which ``keep (networks,)`` holds."""
        return ConnectedNetworks(
            [synapses for synapses, kept in zip(self.synapses, keep, strict=True) if kept],
            self.spikes[keep],
            self.weight[keep],
            None if self.delay is None else self.delay[keep],
            {name: value[keep] for name, value in self.constants.items()},
            self.t_max,
            self.max_spikes,
        )


def connected_networks(
    seed: int,
    synapses: list[Synapses],
    inputs: tuple[int, ...],
    weights: tuple[int, ...],
    *,
    delayed: bool = False,
    max_spikes: int = 3,
    t_max: float = 8.0,
) -> ConnectedNetworks:
    """Draw networks with these connections; times in units of about one ``tau_syn``.

    A fifth of the input spikes are missing. In every fourth network, times and delays lie on a
    grid of 1/4, so that many of them arrive at once.
    """
    rng = np.random.default_rng(seed)
    networks = len(synapses)
    spikes = rng.uniform(0.05, 6, (networks, *inputs, 2))
    delay = rng.uniform(0, 2, (networks, *weights)) * (rng.random((networks, *weights)) < 0.8)
    on_grid = rng.random(networks) < 0.25
    spikes[on_grid] = np.ceil(spikes[on_grid] * 4) / 4
    delay[on_grid] = np.ceil(delay[on_grid] * 4) / 4
    spikes = np.sort(np.where(rng.random(spikes.shape) < 0.2, math.inf, spikes), axis=-1)
    kinds = max(int(each.kind.max()) for each in synapses) + 1
    constants = random_constants(rng, (networks, kinds))
    # A postsynaptic potential's height falls with tau_mem / tau_syn.
    height = (constants["v_threshold"] - constants["v_reset"]) * (
        0.5 + constants["tau_mem"] / constants["tau_syn"]
    )
    unit = np.ones((networks, int(np.prod(weights))))
    for b, each in enumerate(synapses):
        unit[b, each.weight] = height[b, each.kind[each.post]]
    weight = rng.normal(0.45, 1.1, (networks, *weights)) * unit.reshape(networks, *weights)
    return ConnectedNetworks(
        synapses, spikes, weight, delay if delayed else None, constants, t_max, max_spikes
    )
