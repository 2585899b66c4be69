"""Values of tensors and numbers as NumPy arrays."""

import numpy as np
from torch import Tensor


def values(x: Tensor | float) -> np.ndarray:
    """The values of a tensor or a number, flat and as float64."""
    return array(x).astype(np.float64).ravel()


def per_neuron(x: Tensor | float, neurons: int) -> np.ndarray:
    """A value per neuron, ``(neurons,)``, of one for all, for each channel or for each neuron."""
    given = array(x).ravel()
    return np.repeat(given, neurons // max(given.size, 1))


def array(x: Tensor | float) -> np.ndarray:
    """A tensor as an array of its dtype, a number as float64."""
    return x.detach().cpu().numpy().copy() if isinstance(x, Tensor) else np.array(x, np.float64)
