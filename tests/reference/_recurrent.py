"""A population of neurons that are connected to each other, simulated from event to event."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ._neuron import Neuron, first_crossing, propagate


@dataclass
class RecurrentRun:
    """What a population did."""

    spikes: list[list[float]]
    """Ascending spike times of each neuron, at most ``max_spikes`` of them."""
    order: list[tuple[int, ...]] = field(default_factory=list)
    """Which neurons spiked in each moment with a spike."""
    overflow: set[int] = field(default_factory=set)
    """Neurons that had no room for a spike, with which the run ended."""
    gap: float = math.inf
    """Shortest time between a spike, the end of its refractoriness or its delayed arrival, and any
    other event."""
    slope: float = math.inf
    """Least ``tau_mem dV/dt / (v_threshold - v_reset)`` before a spike."""
    margin: float = math.inf
    """How far from the threshold, in units of ``v_threshold - v_reset``, a voltage was at its peak
    between two events, if it did not reach the threshold or rose beyond it later."""

    def times(self, max_spikes: int) -> np.ndarray:
        """``(neurons, max_spikes)``, padded with ``inf``."""
        return np.array([own + [math.inf] * (max_spikes - len(own)) for own in self.spikes])


def simulate_recurrent(
    neurons: Sequence[Neuron],
    times: np.ndarray,
    weight: np.ndarray,
    recurrent_weight: np.ndarray,
    max_spikes: int = 1,
    t_max: float = math.inf,
    delays: np.ndarray | None = None,
    input_delays: np.ndarray | None = None,
) -> RecurrentRun:
    """Run neurons on input spikes ``(in, k)`` through ``weight (out, in)`` and on each other's.

    ``delays`` are those of spikes on their way to the others, by neuron that sends, ``(out,)``, or
    by connection, ``(out, out)``; ``input_delays`` those of the input, ``(out, in)``. The run ends
    where a neuron has no room for a spike.
    """
    everyone = range(len(neurons))
    delays = np.zeros(len(neurons)) if delays is None else delays
    input_delays = np.zeros_like(weight) if input_delays is None else input_delays
    all_delays = np.concatenate(
        [input_delays, np.broadcast_to(delays, recurrent_weight.shape)], axis=1
    )
    columns = np.concatenate([weight, recurrent_weight], axis=1)
    given = [(float(t), i) for i, row in enumerate(times) for t in row if t < math.inf]
    arrivals = sorted((t + float(all_delays[j, i]), i, j) for t, i in given for j in everyone)
    run = RecurrentRun([[] for _ in everyone])
    v = [n.reset if n.threshold <= 0 else 0.0 for n in neurons]
    current = [0.0 for _ in everyone]
    held_until = [0.0 for _ in everyone]
    t, inputs, events = 0.0, {t for t, *_ in arrivals}, []
    while not run.overflow:
        while arrivals and arrivals[0][0] <= t:
            _, source, j = arrivals.pop(0)
            current[j] += columns[j, source]
        releases = [held for held in held_until if held > t]
        end = min([t_max, *(t for t, *_ in arrivals[:1]), *releases])
        wait, winners = end - t, []
        for j in everyone:
            if held_until[j] > t:
                continue
            within = min(wait, neurons[j].horizon)
            u, height = first_crossing(neurons[j], v[j], current[j], within)
            run.margin = min(
                run.margin, abs(height) / (neurons[j].v_threshold - neurons[j].v_reset)
            )
            if u is not None and u < wait:
                wait, winners = u, [j]
            elif u is not None and u == wait:
                winners.append(j)
        if not winners and end in (t_max, math.inf):
            break
        for j in everyone:
            state = propagate(neurons[j], v[j], current[j], wait)
            v[j], current[j] = (v[j] if held_until[j] > t else state[0]), state[1]
        t = t + wait if winners else end
        for j in winners:
            if len(run.spikes[j]) == max_spikes:
                run.overflow.add(j)
                continue
            neuron = neurons[j]
            run.slope = min(run.slope, (current[j] - v[j]) / (neuron.threshold - neuron.reset))
            run.spikes[j].append(t)
            v[j], held_until[j] = neuron.reset, t + neuron.refractory
            events += [t] if neuron.refractory == 0 else [t, held_until[j]]
        fired = tuple(j for j in winners if j not in run.overflow)
        if fired:
            run.order.append(fired)
        for source in (weight.shape[1] + j for j in fired):
            at = [t + float(delay) for delay in all_delays[:, source]]
            for j in everyone:
                bisect.insort(arrivals, (at[j], source, j))
            events += [arrival for arrival in set(at) if arrival > t]
    happened = sorted([*inputs, *(event for event in events if event < math.inf)])
    run.gap = min(
        (b - a for a, b in pairwise(happened) if not (a in inputs and b in inputs)),
        default=math.inf,
    )
    return run
