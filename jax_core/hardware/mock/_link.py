"""The link that carries events to and from a chip: limited in resolution and rate."""

import math

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
    ``inf`` padded; ``rate``: events per second; ``window``: seconds, made longer if it has not
    room for one event.

    **Returns:** the spikes that got through, in the same form, and how many were lost per layer.
    """
    lost = [0] * len(layers)
    window = max(window, 1 / rate)
    room = max(int(min(rate * window, 2**62)), 1)
    sizes = [math.prod(layer.shape[1:]) for layer in layers]
    if room >= sum(sizes):
        return layers, lost
    batch = len(layers[0])
    flat = np.concatenate(
        [x.reshape(batch, size) for x, size in zip(layers, sizes, strict=True)], axis=1
    )
    order = np.argsort(flat, axis=1, kind="stable")
    bins = np.floor(np.take_along_axis(flat, order, axis=1).astype(np.float64) / window)
    place = np.broadcast_to(np.arange(flat.shape[1]), flat.shape)
    opens = np.ones(flat.shape, bool)
    opens[:, 1:] = bins[:, 1:] != bins[:, :-1]
    first = np.maximum.accumulate(np.where(opens, place, 0), axis=1)
    dropped = np.zeros(flat.shape, bool)
    np.put_along_axis(dropped, order, (place - first >= room) & np.isfinite(bins), axis=1)
    ends = np.cumsum(sizes)[:-1]
    kept = []
    for k, (x, gone) in enumerate(
        zip(np.split(flat, ends, axis=1), np.split(dropped, ends, axis=1), strict=True)
    ):
        lost[k] = int(gone.sum())
        x = np.where(gone, np.inf, x).astype(flat.dtype)
        kept.append(np.sort(x.reshape(layers[k].shape), axis=-1))
    return kept, lost
