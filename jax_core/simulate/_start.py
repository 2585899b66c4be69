"""The state that a simulation starts with, and what it writes down."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from ..neuron._protocol import Neuron

Mark = Callable[[Any], Any]
"""What to write down of the state at a spike: arrays ``(batch, out)``."""


class Start(NamedTuple):
    """States of all neurons at time 0."""

    state: Any
    """The neuron's own, each leaf ``(batch, out)``."""
    hold: Array
    """When the refractory period of a spike before ends, >= 0, ``(batch, out)``."""

    @classmethod
    def at_rest(cls, neuron: Neuron, shape: tuple[int, ...], dtype: DTypeLike) -> "Start":
        """As neurons are when nothing has happened yet."""
        state = jax.tree.map(lambda x: jnp.broadcast_to(x, shape).astype(dtype), neuron.start())
        return cls(state, jnp.zeros(shape, dtype))


def where(condition: Array, state: Any, other: Any) -> Any:
    """States of one or the other, neuron by neuron."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), state, other)
