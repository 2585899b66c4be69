"""The constants of a layer of current-based leaky integrate-and-fire neurons."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

Constant = float | Array | np.ndarray
"""A neuron constant as users give it: a number for all neurons, or one value per neuron."""


class Constants(NamedTuple):
    """Neuron constants, each a scalar or of shape ``(out,)``; voltages share one unit.

    ``tau_mem dV/dt = v_leak - V + I`` and ``tau_syn dI/dt = -I``; at ``V = v_threshold`` a spike,
    after which ``V`` stays at ``v_reset`` for the time ``refractory``.
    """

    tau_mem: Array
    tau_syn: Array
    v_threshold: Array
    v_leak: Array
    v_reset: Array
    refractory: Array

    @property
    def threshold(self) -> Array:
        """The threshold, measured from the leak potential."""
        return self.v_threshold - self.v_leak

    @property
    def reset(self) -> Array:
        """The reset potential, measured from the leak potential."""
        return self.v_reset - self.v_leak

    @property
    def starts_at_rest(self) -> Array:
        """Whether a neuron has a rest: with its leak over the threshold it starts at reset."""
        return self.threshold > 0

    @property
    def start(self) -> Array:
        """The voltage at time 0, measured from the leak potential."""
        return jnp.where(self.starts_at_rest, 0, self.reset)
