"""EventProp in a recurrent layer at a cost that follows connections, with lists of who hears whom.

As `_recurrent_connections`, but a spike is heard only by the neurons of a list, and at all of them
at once.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from ..neuron._constants import Constants
from ..simulate._events import Spikes
from ..simulate._recurrent_state import Order
from ._recurrent import GoBack
from ._recurrent_connections import ByConnection, Spike, Total


def total_gradients_by_list(
    spikes: Spikes,
    order: Order,
    hearers: Array,
    weight: Array,
    delay: Array | None,
    constants: Constants,
    gradient: Array,
    min_slope: Array | float,
    is_refractory: bool,
    go_back: GoBack,
) -> Total:
    """As `total_gradients`.

    **Arguments:** ``hearers``: the neurons that hear each neuron, ``(out, longest)``, ``out`` where
    a list is shorter; ``weight``: same shape; ``delay``: scalar or ``(out,)``.
    """
    out = len(weight)
    later = jnp.broadcast_to(0 if delay is None else delay, (out,)).astype(weight.dtype)
    given = weight, later[:, None], constants, min_slope, is_refractory
    lists = _ByList.of(spikes, order.emitted, *given, heard=order.heard, hearers=hearers)
    total = lists.total(gradient, go_back)
    of_delay = jnp.sum(total.delay, axis=1)
    return total._replace(delay=of_delay if getattr(delay, "ndim", 0) else jnp.sum(of_delay))


@dataclass(frozen=True, eq=False)
class _ByList(ByConnection):
    """The same with a list of those that hear each neuron."""

    heard: Array
    """When spikes arrive, as ``moment``."""
    hearers: Array

    def constants_of(self, n: Array) -> Constants:
        hearers = self.hearers[n]
        return Constants(*(x[hearers] if x.ndim else x for x in self.constants))

    def add_up(
        self, tau: tuple[Array, Array], found: tuple[Array, Array], n: Array
    ) -> tuple[Array, Array]:
        def add(tau: Array, found: Array) -> Array:
            return tau.at[self.hearers[n]].add(found, mode="drop") if tau.ndim else tau + found

        return jax.tree.map(add, tau, found)

    def earlier(self, spike: Spike, arrival: Array) -> Array:
        heard = self.heard[self.samples, spike.neuron, spike.number]
        at = self.samples[:, None], self.hearers[spike.neuron]
        earlier = self.moment.at[at].get(mode="clip") < heard[:, None, None]
        return jnp.sum(earlier, axis=2, dtype=jnp.int32)

    def at(self, x: Array, n: Array, count: Array, absent: float) -> Array:
        hearers, (out, room) = self.hearers[n], x.shape[1:3]
        found = x.at[self.samples[:, None], hearers, count].get(mode="clip")
        there = (hearers < out) & (count >= 0) & (count < room)
        return jnp.where(there.reshape(*count.shape, *(1,) * (x.ndim - 3)), found, absent)
