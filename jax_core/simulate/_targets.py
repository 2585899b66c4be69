"""Spikes of a recurrent layer that arrive at its neurons one after the other, each with a delay of
its own.

The order in which a spike arrives at the neurons is that of its sender's delays, the same for all
of its spikes. So each spike keeps the number of neurons that it has reached and the time at which
it is due at the next; any number of spikes of one connection may be on their way. Neurons that it
reaches in one moment are one event.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ._recurrent_state import Way


class Targets(NamedTuple):
    """Where spikes of each neuron go, neuron by neuron that sends: ``(out, out)``.

    `Way` has an entry for each spike, ``(batch, out * K)``, of ``K`` of a neuron.
    """

    weight: Array
    delay: Array
    place: Array
    """How many neurons a spike reaches before each."""
    ascending: Array
    """Delays in the order of arrivals, ``inf`` after the last, ``(out, out + 1)``."""

    @classmethod
    def of(cls, weight: Array, delay: Array) -> "Targets":
        """``weight``, ``delay``: from neuron ``i`` to ``j`` at ``[j, i]``."""
        delay = delay.T
        order = jnp.argsort(delay, axis=1, stable=True)
        place = jnp.argsort(order, axis=1).astype(jnp.int32)
        ascending = jnp.take_along_axis(delay, order, axis=1)
        ascending = jnp.pad(ascending, ((0, 0), (0, 1)), constant_values=jnp.inf)
        return cls(weight.T, delay, place, ascending)

    def start(self, times: Array) -> Way:
        """That of spikes of which none is there yet; ``times``: with room for all of them."""
        return Way(jnp.zeros(times.shape, jnp.int32), jnp.full_like(times, jnp.inf))

    def reach(
        self, way: Way, times: Array, spike: Array, is_own: Array, clock: Array
    ) -> tuple[Way, Array, Array]:
        """Let a spike of each sample reach all neurons at which it is due.

        **Arguments:** ``times``: of all spikes, ``(batch, out * K)``; ``spike``: which arrives,
        where ``is_own``, ``(batch,)``.

        **Returns:** the way, where it arrives, bool ``(batch, out)``, and the weights there.
        """
        samples, count = jnp.arange(times.shape[0]), times.shape[1]
        sender = spike // (count // self.delay.shape[0])
        sent, reached = times[samples, spike], way.arrived[samples, spike]
        place = self.place[sender]
        due = sent[:, None] + self.delay[sender] <= clock[:, None]
        # The next one is due, as that is why the clock is where it is.
        due = (place >= reached[:, None]) & (due | (place == reached[:, None]))
        due &= is_own[:, None]
        reached += jnp.sum(due, axis=1, dtype=jnp.int32)
        at = samples, jnp.where(is_own, spike, count)
        way = Way(
            way.arrived.at[at].set(reached, mode="drop"),
            way.due.at[at].set(sent + self.ascending[sender, reached], mode="drop"),
        )
        return way, due, jnp.where(due, self.weight[sender], 0)

    def send(self, way: Way, spiking: Array, fired: Array, now: Array) -> Way:
        """Let spikes set out; ``fired``: how many each neuron had, ``now``: ``(batch, 1)``."""
        room = way.due.shape[1] // self.delay.shape[0]
        sets_out = spiking[:, :, None] & (fired[:, :, None] == jnp.arange(room, dtype=jnp.int32))
        first = jnp.repeat(self.ascending[:, 0], room)
        return way._replace(due=jnp.where(sets_out.reshape(way.due.shape), now + first, way.due))
