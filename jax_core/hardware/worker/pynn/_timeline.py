"""One long recording instead of a batch: samples one after another, and spikes cut out again.

A simulator, and a chip, runs from time 0 on. Samples follow each other with a guard interval in
which every neuron comes to rest. NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._contract import HardwareLimitError, Network

_RESTING_TIME_CONSTANTS = 12  # e^-12 = 6e-6 of the state is left, far below a clock step's effect


@dataclass(frozen=True)
class Timeline:
    """Sample ``b`` lasts from ``lead + b * period`` for ``duration``; seconds of hardware time."""

    batch: int
    duration: float
    period: float
    lead: float

    @property
    def starts(self) -> np.ndarray:
        """Start of every sample, ``(batch,)``."""
        return self.lead + self.period * np.arange(self.batch)

    @property
    def length(self) -> float:
        """How long to run."""
        return self.lead + self.period * self.batch

    def join(self, spikes: np.ndarray) -> list[np.ndarray]:
        """Put the samples' spikes ``(batch, in, k)`` in a row: ascending times of each input."""
        shifted = spikes + self.starts[:, None, None]
        return [np.sort(shifted[:, i][np.isfinite(spikes[:, i])]) for i in range(spikes.shape[1])]

    def cut(
        self, times: Sequence[np.ndarray], max_spikes: int, late: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Undo `join` for recorded spikes, which came ``late`` seconds too late.

        Returns:
            Spike times ``(batch, neurons, max_spikes)``, padded with ``inf``, and the number of
            samples in which each neuron had more than ``max_spikes``, ``(neurons,)``. Spikes in the
            guard intervals belong to no sample.
        """
        found = np.full((self.batch, len(times), max_spikes), np.inf)
        overflow = np.zeros(len(times), np.int64)
        for neuron, recorded in enumerate(times):
            own = np.sort(np.asarray(recorded, np.float64)) - late - self.lead
            sample = np.floor(own / self.period).astype(np.int64)
            # A clock may put a spike at the start of a sample a rounding error before it.
            after = np.clip(own - sample * self.period, 0.0, None)
            inside = (sample >= 0) & (sample < self.batch) & (after <= self.duration)
            sample, after = sample[inside], after[inside]
            rank = np.arange(len(sample)) - np.searchsorted(sample, sample)
            kept = rank < max_spikes
            found[sample[kept], neuron, rank[kept]] = after[kept]
            overflow[neuron] = np.count_nonzero(rank == max_spikes)
        return found, overflow


def plan(network: Network, batch: int, duration: float, lead: float) -> Timeline:
    """A timeline whose guard intervals bring every neuron of the network to rest.

    Raises:
        HardwareLimitError: The duration is infinite, or a neuron never rests.
    """
    if not math.isfinite(duration):
        raise HardwareLimitError("samples in a row need a finite duration: set t_max")
    guard = 0.0
    for k, layer in enumerate(network.layers):
        tonic = layer.v_leak >= layer.v_threshold
        if layer.has_threshold and tonic.any():
            raise HardwareLimitError(
                f"layer {k}: neuron {int(np.argmax(tonic))} has v_leak >= v_threshold and never"
                " rests, so samples cannot follow each other"
            )
        slowest = float(np.max([layer.tau_mem, layer.tau_syn], initial=0.0))
        longest = float(np.max(np.minimum(layer.refractory, duration), initial=0.0))
        guard += _RESTING_TIME_CONSTANTS * slowest + longest
    return Timeline(batch, duration, duration + guard, lead)


def on_clock(times: np.ndarray, step: float) -> tuple[np.ndarray, int]:
    """Round ascending times to multiples of ``step``; of several on one, keep the first.

    Returns:
        The numbers of the steps, and how many times were lost.
    """
    steps = np.unique(np.round(times / step).astype(np.int64))
    return steps, len(times) - len(steps)
