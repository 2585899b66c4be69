"""The link that carries events to and from a chip: limited in resolution and rate."""

import numpy as np


def round_times(times: np.ndarray, resolution: float) -> np.ndarray:
    """Times rounded to multiples of ``resolution``, seconds; 0 leaves them as they are."""
    if resolution == 0:
        return times
    return (np.round(times.astype(np.float64) / resolution) * resolution).astype(times.dtype)


def limit_rate(
    layers: list[np.ndarray], rate: float, window: float
) -> tuple[list[np.ndarray], list[int]]:
    """Drop the events that a link has no room for: beyond ``rate * window`` within a ``window``.

    **Arguments:** ``layers``: spike times ``(batch, neurons, k)`` that share the link, ascending,
    ``inf`` padded; ``rate``: events per second; ``window``: seconds.

    **Returns:** the spikes that got through, in the same form, and how many were lost per layer.
    """
    lost = [0] * len(layers)
    if np.isinf(rate):
        return layers, lost
    room = max(int(rate * window), 1)
    layers = [layer.copy() for layer in layers]
    for sample in range(len(layers[0])):
        flat = np.concatenate([layer[sample].ravel() for layer in layers])
        order = np.argsort(flat, kind="stable")[: np.isfinite(flat).sum()]
        bins = np.floor(flat[order].astype(np.float64) / window)
        first = np.searchsorted(bins, bins, side="left")
        dropped = order[np.arange(len(order)) - first >= room]
        flat[dropped] = np.inf
        start = 0
        for k, layer in enumerate(layers):
            end = start + layer[sample].size
            lost[k] += int(((dropped >= start) & (dropped < end)).sum())
            layer[sample] = np.sort(flat[start:end].reshape(layer[sample].shape), axis=-1)
            start = end
    return layers, lost
