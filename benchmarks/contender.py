"""What a library must offer to be timed."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Contender(NamedTuple):
    """One way to train the network of a task.

    ``train_step(i)`` does forward, backward and update on batch ``i`` and returns the loss;
    ``forward(i)`` returns the first spike times of the output, ``(batch, 3)`` seconds, ``inf``
    where there is none. Both return only when the result is there.
    """

    name: str
    train_step: Callable[[int], float]
    forward: Callable[[int], np.ndarray]
