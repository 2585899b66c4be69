"""Networks of excitatory and inhibitory neurons, for `simulators.py`, and how rasters compare."""

from typing import Any, NamedTuple

import numpy as np

T_MAX = 0.5
STEP = 1e-4  # what delays and refractory periods are multiples of
SOURCES, RATE, DEAD_TIME = 200, 20.0, 2e-4
CONNECTED = 0.1
APART = 1e-3  # by how much a spike differs where rasters part

Network = dict[str, Any]
"""As in `in_nest.py`."""


def network(size: int) -> Network:
    """``size`` neurons at rest, four fifths of them excitatory, a tenth of all pairs connected.

    Each neuron gets a tenth of 200 Poisson inputs of 20 Hz. Recurrent weights shrink with the root
    of the number of connections, so that their sums fluctuate alike.
    """
    rng = np.random.default_rng([size, 0])
    inhibitory = np.arange(size) >= 0.8 * size
    recurrent = rng.random((size, size)) < CONNECTED
    np.fill_diagonal(recurrent, False)
    driven = rng.random((size, SOURCES)) < CONNECTED
    strength = 0.6 / np.sqrt(CONNECTED * size) * np.where(inhibitory, -8.0, 1.0)
    weight = np.concatenate([0.4 * driven, recurrent * strength], axis=1)
    post, pre = np.nonzero(weight)
    delay = np.concatenate([np.full(SOURCES, 10), rng.integers(10, 31, size)]) * STEP
    source, time = poisson(rng)
    return {
        "tau_mem": rng.uniform(15e-3, 25e-3, size),
        "tau_syn": np.where(inhibitory, 4e-3, 6e-3),
        "v_threshold": np.ones(size),
        "v_leak": np.zeros(size),
        "v_reset": np.zeros(size),
        "refractory": np.full(size, 20 * STEP),
        "inputs": SOURCES,
        "input_time": time,
        "input_index": source,
        "pre": pre,
        "post": post,
        "weight": weight[post, pre],
        "delay": delay[pre],
        "t_max": T_MAX,
    }


def poisson(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and times of spikes, ascending, those of one input ``DEAD_TIME`` apart at least."""
    waits = DEAD_TIME + rng.exponential(1 / RATE - DEAD_TIME, (SOURCES, int(6 * RATE * T_MAX)))
    times = waits.cumsum(axis=1)
    source, k = np.nonzero(times < T_MAX)
    order = np.argsort(times[source, k])
    return source[order], times[source, k][order]


class Comparison(NamedTuple):
    """Spikes beside those of the reference, seconds."""

    part: float
    """Time of the first that is 1 ms apart from the same spike of the same neuron, or the only one;
    ``inf`` if none is."""
    median: float
    """Of the differences before."""
    largest: float


def compare(found: Network, reference: Network, shifts: tuple[float, ...]) -> Comparison:
    """``shifts``: what may be added to all times found; that with which rasters part last is."""
    cases = [_compare({**found, "time": found["time"] + x}, reference) for x in shifts]
    return max(cases, key=lambda case: (case.part, -case.median))


def _compare(found: Network, reference: Network) -> Comparison:
    part, pairs = np.inf, []
    for neuron in np.union1d(found["index"], reference["index"]):
        own, true = (x["time"][x["index"] == neuron] for x in (found, reference))
        both = min(len(own), len(true))
        apart = np.abs(own[:both] - true[:both])
        pairs.append(np.stack([true[:both], apart]))
        first = np.flatnonzero(apart > APART)[:1]
        when = [*true[first], *true[both : both + 1], *own[both : both + 1]]
        part = min([part, *when])
    true, apart = np.concatenate(pairs, axis=1)
    before = apart[true < part]
    return Comparison(part, float(np.median(before)), float(np.max(before)))
