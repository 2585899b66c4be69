"""Random spikes for plasticity rules, with ties, silence and bursts."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

T_MAX = 0.5
GRID = 1 / 64
"""Times are multiples of this, exact in binary, so that neurons often spike together."""
OUT, IN = 2, 3


@st.composite
def spikes(draw: Any, neurons: int, batch: int = 2, most: int = 5) -> np.ndarray:
    """Spike times ``(batch, neurons, most)`` on the grid or off it."""
    on_grid = draw(st.booleans())
    found = np.full((batch, neurons, most), np.inf)
    for sample in range(batch):
        for neuron in range(neurons):
            steps = draw(st.lists(st.integers(0, 32), max_size=most))
            times = np.sort(np.array(steps, float)) * GRID
            if not on_grid:
                times = times * 0.97 + 1e-4 * neuron + 3e-5
            found[sample, neuron, : len(times)] = times
    return found


def finite(times: np.ndarray) -> np.ndarray:
    return times[np.isfinite(times)]


def changes(one: Any, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """``one(pre, post)`` of two neurons' spikes, for all connections and samples."""
    return np.array(
        [
            [[one(finite(j), finite(i)) for j in pre_sample] for i in post_sample]
            for pre_sample, post_sample in zip(pre, post, strict=True)
        ]
    )


def split(spikes: np.ndarray, ends: list[float]) -> list[np.ndarray]:
    """Pieces of spikes, each counted from its begin; a spike at an end belongs to what ends."""
    pieces, begin = [], -np.inf
    for end in ends:
        inside = (spikes > begin) & (spikes <= end)
        origin = max(begin, 0)
        piece = np.sort(np.where(inside, spikes - origin, np.inf), axis=-1)
        pieces.append(piece)
        begin = end
    return pieces
