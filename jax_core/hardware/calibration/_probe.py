"""Experiments that show what the neurons of a chip are like, by their spike times alone."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..worker._contract import Backend, Layer, Network, check_observation

_AT_ONCE = 64
"""Neurons that spike together: the link of a chip loses events above its rate."""
_EXPERIMENTS = ((0.3, 0.0), (0.9, 0.0), (-1.0, 1.6), (-1.0, 3.0), (0.9, -2.0), (0.9, -4.0))
"""Leak potential beyond threshold in units of ``v_threshold - v_reset`` (-1: at the reset), and
drive in units of that with which coincident spikes just reach the threshold. Without drive, spike
times tell threshold and ``tau_mem``; an inhibited neuron that leaks upwards tells ``tau_syn`` best.
"""
_RELAY_DRIVE = 6.0


@dataclass(frozen=True)
class Probe:
    """What the neurons of a layer got in one experiment, and when they spiked."""

    v_leak: np.ndarray
    """Leak potential asked for, ``(out,)``. The voltage starts at ``v_reset``."""
    current: np.ndarray
    """Synaptic current per input spike that was asked for, ``(out, in)``."""
    arrival: np.ndarray
    """When the input spikes arrived, seconds, ``(in,)``, ``inf`` for none."""
    time: np.ndarray
    """Median spike times over the repeats, seconds, ``(out,)``; ``inf`` for none."""


def psp(u: np.ndarray, tau_mem: np.ndarray, tau_syn: np.ndarray) -> np.ndarray:
    """Postsynaptic potential a time ``u >= 0`` after a spike with a current of 1."""
    rate = (1 / tau_syn - 1 / tau_mem) * u
    tiny = np.abs(rate) < 1e-8
    growth = np.where(tiny, 1, np.expm1(rate) / np.where(tiny, 1, rate))
    return u / tau_mem * np.exp(-u / tau_syn) * growth


def with_threshold(layer: Layer) -> Layer:
    """The layer as it is measured: neurons that spike once, at rest at their reset.

    Leaky integrators get a threshold, as the circuits have one.
    """
    if not layer.has_threshold:
        layer = replace(layer, v_reset=layer.v_leak - 0.5, v_threshold=layer.v_leak + 0.5)
    return replace(
        layer,
        weight=np.zeros_like(layer.weight),
        v_leak=layer.v_reset,
        refractory=np.full(layer.neurons, np.inf),
        max_spikes=1,
        has_threshold=True,
    )


class Experiments:
    """All experiments on one network, each repeated ``repeats`` times in one batch."""

    def __init__(self, backend: Backend, network: Network, repeats: int) -> None:
        self.backend = backend
        self.layers = [with_threshold(layer) for layer in network.layers]
        self.repeats = repeats
        slowest = max(float((x.tau_mem + x.tau_syn).max(initial=0)) for x in self.layers)
        self.start = 0.1 * slowest
        self.duration = 10 * slowest * len(self.layers)

    def probe(self, k: int) -> Iterator[Probe]:
        """All experiments on the neurons of layer ``k``."""
        layer = self.layers[k]
        for turn, (leak, drive) in enumerate(_EXPERIMENTS):
            layers, chosen = self._relays(k, turn) if drive else (list(self.layers), None)
            v_leak = layer.v_reset + (1 + leak) * (layer.v_threshold - layer.v_reset)
            weight = layer.weight if chosen is None else self._weight(layer, drive, chosen)
            time, arrivals = np.full(layer.neurons, np.inf), []
            for group in _groups(layer.neurons):
                layers[k] = replace(
                    layer,
                    v_leak=np.where(group, v_leak, layer.v_leak),
                    weight=np.where(group[:, None], weight, 0.0),
                )
                times = self._run(layers, chosen is not None)
                time[group] = times[k + 1][group]
                arrivals.append(times[k])
            arrival = np.full(layer.inputs, np.inf)
            if chosen is not None and arrivals:
                arrival = np.where(chosen, np.mean(arrivals, axis=0), np.inf)
            yield Probe(v_leak, weight * layer.weight_unit, arrival, time)

    def _relays(self, k: int, turn: int) -> tuple[list[Layer], np.ndarray]:
        """Layers that pass the input on to layer ``k``, and which of its inputs then spike."""
        layers = list(self.layers)
        chosen = _spread(layers[0].inputs, turn)
        for j, layer in enumerate(layers[:k]):
            weight = self._weight(layer, _RELAY_DRIVE, chosen)
            chosen = _spread(layer.neurons, turn)
            layers[j] = replace(layer, weight=np.where(chosen[:, None], weight, 0.0))
        return layers, chosen

    def _weight(self, layer: Layer, drive: float, chosen: np.ndarray) -> np.ndarray:
        """Weights ``(out, in)`` that share a drive among the ``chosen`` inputs."""
        peak = np.max(
            psp(np.linspace(0, 5, 501)[1:, None] * layer.tau_syn, layer.tau_mem, layer.tau_syn),
            axis=0,
            initial=1e-12,
        )
        total = drive * (layer.v_threshold - layer.v_reset) / peak / layer.weight_unit
        count = max(int(chosen.sum()), 1)
        limit = self.backend.weight_limit
        if limit is None:
            return np.where(chosen, (total / count)[:, None], 0.0)
        # Whole numbers that add up to the whole total, the larger ones first.
        whole = np.clip(np.round(np.abs(total)), 1, limit * count)
        rank = np.cumsum(chosen) - 1
        weight = whole[:, None] // count + (rank < (whole % count)[:, None])
        return np.where(chosen, np.sign(drive) * weight, 0.0)

    def _run(self, layers: list[Layer], driven: bool) -> list[np.ndarray]:
        """Median times ``(neurons,)``: of the input first, then of each layer."""
        network = Network(tuple(layers))
        spikes = np.full((self.repeats, layers[0].inputs, 1), np.inf)
        if driven:
            used = (layers[0].weight != 0).any(axis=0)
            spikes[:, used] = self.start
        seen = self.backend.run(network, spikes, self.duration)
        check_observation(seen, network, self.repeats, self.duration, name=self.backend.name)
        return [np.median(times[..., 0], axis=0) for times in (spikes, *seen.spikes)]


def _groups(neurons: int) -> Iterator[np.ndarray]:
    """Masks of neurons that are measured together."""
    groups = -(-neurons // _AT_ONCE)
    for first in range(groups):
        yield np.arange(neurons) % groups == first


def _spread(neurons: int, turn: int) -> np.ndarray:
    """A mask of some neurons, others each turn, so that each synapse counts in the end."""
    groups = max(-(-neurons // _AT_ONCE), 1)
    return np.arange(neurons) % groups == turn % groups
