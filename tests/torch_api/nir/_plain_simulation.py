"""Networks of integrate-and-fire neurons event by event, in NumPy, which share nothing with the
library: what arrives at one time is added up, then neurons at their thresholds spike and are reset.
"""

import itertools
from collections import defaultdict

import numpy as np

Trains = list[list[float]]


def integrate(
    trains: Trains, weight: np.ndarray, threshold: np.ndarray, reset: np.ndarray
) -> Trains:
    """Spikes of neurons without leak, ``weight`` of shape ``(out, in)``."""
    arriving: dict[float, list[int]] = defaultdict(list)
    for source, train in enumerate(trains):
        for time in train:
            arriving[time].append(source)
    v, found = reset.copy(), [[] for _ in threshold]
    for time in sorted(arriving):
        v = v + weight[:, arriving[time]].sum(axis=1)
        fired = v >= threshold
        v = np.where(fired, reset, v)
        for neuron in np.flatnonzero(fired):
            found[neuron].append(time)
    return found


def convolution(
    kernel: np.ndarray, size: tuple[int, int], stride: int, padding: int
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """A convolution as a matrix, and the shape of what it gives."""
    outputs, inputs, height, width = kernel.shape
    rows = (size[0] + 2 * padding - height) // stride + 1
    columns = (size[1] + 2 * padding - width) // stride + 1
    matrix = np.zeros((outputs, rows, columns, inputs, *size))
    for y, x, dy, dx in itertools.product(*map(range, (rows, columns, height, width))):
        row, column = y * stride + dy - padding, x * stride + dx - padding
        if 0 <= row < size[0] and 0 <= column < size[1]:
            matrix[:, y, x, :, row, column] = kernel[:, :, dy, dx]
    return matrix.reshape(outputs * rows * columns, -1), (outputs, rows, columns)


def pool(trains: Trains, shape: tuple[int, int, int], size: int) -> Trains:
    """All spikes of each square region."""
    places = np.arange(np.prod(shape)).reshape(shape)
    found = []
    for channel, y, x in np.ndindex(shape[0], shape[1] // size, shape[2] // size):
        region = places[channel, y * size : (y + 1) * size, x * size : (x + 1) * size]
        found.append(sorted(time for place in region.ravel() for time in trains[place]))
    return found
