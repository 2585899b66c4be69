"""A leaky integrator: the same membrane without a threshold, from rest."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ._neuron import Neuron, maximum_before, propagate, simulate

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(24)


def _silent(neuron: Neuron) -> Neuron:
    return Neuron(
        neuron.tau_mem, neuron.tau_syn, v_threshold=math.inf, v_leak=neuron.v_leak, v_reset=0.0
    )


def leaky_value(
    neuron: Neuron, times: Sequence[float], weights: Sequence[float], at: float
) -> float:
    """The voltage at the time ``at``: a sum over all spikes up to then, event by event."""
    v = neuron.v_leak
    for t, w in zip(times, weights, strict=True):
        if t <= at:
            v += propagate(neuron, 0.0, w, at - t)[0]
    return v


def _segments(
    neuron: Neuron, times: Sequence[float], weights: Sequence[float], t_max: float
) -> Iterator[tuple[float, float, float, float]]:
    """(start, duration, v, current) of every stretch between events up to ``t_max``."""
    segments = simulate(_silent(neuron), times, weights, t_max=t_max).segments
    starts = [start for start, *_ in segments] + [t_max]
    for (start, v, current, _), end in zip(segments, starts[1:], strict=True):
        yield start, end - start, v, current


def leaky_integral(
    neuron: Neuron,
    times: Sequence[float],
    weights: Sequence[float],
    t_max: float,
    tau_weight: float = math.inf,
) -> float:
    """``integral of V(t) exp(-t/tau_weight) over [0, t_max]`` by Gauss-Legendre quadrature."""
    total = 0.0
    for start, duration, v, current in _segments(neuron, times, weights, t_max):
        pieces = max(1, math.ceil(duration / min(neuron.tau_mem, neuron.tau_syn, tau_weight)))
        width = duration / pieces
        for piece in range(pieces):
            for node, node_weight in zip(_NODES, _NODE_WEIGHTS, strict=True):
                u = width * (piece + (node + 1) / 2)
                value = neuron.v_leak + propagate(neuron, v, current, u)[0]
                total += value * math.exp(-(start + u) / tau_weight) * node_weight * width / 2
    return total


def leaky_maximum(
    neuron: Neuron, times: Sequence[float], weights: Sequence[float], t_max: float = math.inf
) -> float:
    """The largest voltage in ``[0, t_max]``."""
    highest = 0.0
    for _, duration, v, current in _segments(neuron, times, weights, t_max):
        duration = min(duration, neuron.horizon)
        peak = maximum_before(neuron, v, current, duration)
        highest = max(highest, v, propagate(neuron, v, current, peak)[0])
    return highest + neuron.v_leak
