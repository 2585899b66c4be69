"""What leaky integrate-and-fire neurons have in common, whatever drives them."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from ._constants import Constants, Form
from ._protocol import Neuron, State


class Leaky(Neuron[State]):
    """A neuron with a threshold and a reset; ``v`` of its state is measured from the leak."""

    constants: Constants
    form: Form

    @property
    def once(self) -> bool:
        return self.form.spikes_once

    @property
    def pauses(self) -> bool:
        return self.form.pauses

    @property
    def refractory(self) -> Array:
        return self.constants.refractory

    @property
    def scale(self) -> Array:
        return jnp.abs(self.constants.threshold) / self.constants.tau_mem

    def excess(self, state: Any) -> Array:
        return state.v - self.constants.threshold

    def hold(self, state: Any) -> Any:
        return state._replace(v=jnp.broadcast_to(self.constants.reset, state.v.shape))

    def jump(self, state: Any) -> Any:
        return self.hold(state)
