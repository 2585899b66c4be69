"""The task of `exactness.py`: when the neurons of one layer spike first.

The reference is written apart from the library's simulators: it goes from event to event in
float64, and finds crossings by bracketing.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy import optimize

brentq: Any = optimize.brentq  # Its type knows only of what it returns with full_output.

TAU_MEM, TAU_SYN, T_MAX = 2e-2, 5e-3, 6e-2
INPUTS, NEURONS, BATCH = 100, 50, 16


class Task(NamedTuple):
    """Input spikes ``(batch, in)``, one for each input, in seconds; weights ``(out, in)``."""

    spikes: np.ndarray
    weight: np.ndarray


def make_task() -> Task:
    rng = np.random.default_rng(0)
    spikes = rng.uniform(0, 4e-2, (BATCH, INPUTS))
    return Task(spikes, rng.normal(0.15, 0.2, (NEURONS, INPUTS)))


def reference(task: Task) -> np.ndarray:
    """First spikes, seconds, ``(batch, out)``, ``inf`` where there is none before ``T_MAX``."""
    first = np.full((BATCH, NEURONS), np.inf)
    for sample, times in enumerate(task.spikes):
        order = np.argsort(times)
        ends = np.append(times[order][1:], T_MAX)
        v, i = np.zeros(NEURONS), np.zeros(NEURONS)
        for source, begin, end in zip(order, times[order], ends, strict=True):
            i = i + task.weight[:, source]
            for neuron in np.flatnonzero(np.isinf(first[sample])):
                after = _crossing(v[neuron], i[neuron], end - begin)
                if after is not None:
                    first[sample, neuron] = begin + after
            v, i = _voltage(v, i, end - begin), i * np.exp(-(end - begin) / TAU_SYN)
    return first


def _voltage(v, i, after):
    """The voltage a while after ``v`` and the current ``i``: tau_mem dv/dt = -v + i."""
    membrane, synapse = np.exp(-after / TAU_MEM), np.exp(-after / TAU_SYN)
    return v * membrane + i * TAU_SYN / (TAU_MEM - TAU_SYN) * (membrane - synapse)


def _crossing(v: float, i: float, length: float) -> float | None:
    """How long it takes to the threshold, 1, from below; None if that is longer than ``length``."""
    scaled = i * TAU_SYN / (TAU_MEM - TAU_SYN)
    slow, fast = (v + scaled) / TAU_MEM, scaled / TAU_SYN
    # The voltage (v + scaled) exp(-t / tau_mem) - scaled exp(-t / tau_syn) turns at most once.
    turn = np.log(fast / slow) / (1 / TAU_SYN - 1 / TAU_MEM) if fast * slow > 0 else length
    for end in sorted({min(max(turn, 0.0), length), length}):
        if _voltage(v, i, end) >= 1:
            return brentq(lambda t: _voltage(v, i, t) - 1, 0, end, xtol=1e-15)
    return None
