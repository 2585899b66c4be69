"""What arrives at the neurons of a recurrent layer, and when: input, and spikes on their way."""

from typing import Any, NamedTuple, TypeVar

import jax.numpy as jnp
from jax import Array

from ._events import Input
from ._recurrent_state import Way

S = TypeVar("S", bound=Any)
"""The state of a simulation: a NamedTuple with some of the fields of `State`."""


class Arriving(NamedTuple):
    """What may arrive; the fields are those of `Arrivals`."""

    time: Array
    source: Array
    columns: Array

    @classmethod
    def of(
        cls, events: Input, weight: Array, recurrent_weight: Array, t_max: Array | float
    ) -> "Arriving":
        out, inputs = weight.shape
        nothing = inputs + out
        present = (events.time <= t_max) & jnp.isfinite(events.time)
        known = present & (events.pre >= 0) & (events.pre < inputs)
        # One more than there are events, where a sample waits that has none left.
        one_more = ((0, 0), (0, 1))
        return cls(
            jnp.pad(jnp.where(present, events.time, jnp.inf), one_more, constant_values=jnp.inf),
            jnp.pad(jnp.where(known, events.pre, nothing), one_more, constant_values=nothing),
            jnp.pad(jnp.concatenate([weight.T, recurrent_weight.T]), ((0, 1), (0, 0))),
        )


class Arrivals:
    """A recurrent layer and its input.

    What arrives is named by its ``source``: an input, ``in`` and more for a neuron of the layer, or
    ``nothing``.
    """

    time: Array
    source: Array
    columns: Array
    delay: Array | None
    inputs: int
    max_spikes: int
    t_max: Array | float

    @property
    def samples(self) -> Array:
        return jnp.arange(self.time.shape[0])

    @property
    def nothing(self) -> int:
        return self.columns.shape[0] - 1

    @property
    def nowhere(self) -> int:
        """A slot that the record of spikes does not have."""
        return self.columns.shape[1] * self.max_spikes

    def next_arrival(self, state: Any) -> tuple[Array, Array]:
        """When the next input or delayed spike arrives, and which."""
        at = self.samples, state.arrived
        time, source = self.time[at], self.source[at]
        if state.way is None:
            return time, source
        n = jnp.argmin(state.way.due, axis=1).astype(jnp.int32)
        due = state.way.due[self.samples, n]
        is_own = (due < time) & (due <= self.t_max)
        return jnp.where(is_own, due, time), jnp.where(is_own, self.inputs + n, source)

    def note_arrival(self, state: S, source: Array, is_arrival: Array) -> S:
        """Take note of what arrives: an input, or a delayed spike of the layer."""
        is_own = (source >= self.inputs) & (source < self.nothing)
        state = state._replace(arrived=state.arrived + (is_arrival & ~is_own).astype(jnp.int32))
        if self.delay is None or state.way is None:
            return state
        samples, (arrived, due) = self.samples, state.way
        out = self.columns.shape[1]
        n = jnp.clip(source - self.inputs, 0, out - 1)
        count = arrived[samples, n]
        slot = n * self.max_spikes + count
        following = jnp.minimum(slot + 1, self.nowhere - 1)
        later = state.spikes.time[samples, following] + jnp.broadcast_to(self.delay, (out,))[n]
        later = jnp.where(count + 1 < state.fired[samples, n], later, jnp.inf)
        heard = state.spikes.heard.at[samples, jnp.where(is_own, slot, self.nowhere)]
        return state._replace(
            way=Way(
                arrived.at[samples, n].add(is_own.astype(jnp.int32)),
                due.at[samples, n].set(jnp.where(is_own, later, due[samples, n])),
            ),
            spikes=state.spikes._replace(heard=heard.set(state.step, mode="drop")),
        )

    def place(self, state: Any, n: Array) -> Array:
        """Where the next spike of neuron ``n`` is to be written down, ``(batch,)``."""
        at = self.samples, n
        place = n * self.max_spikes + state.fired[at]
        if state.way is None:
            return place
        # Times have been looked up for ``due``. Where XLA does not see that these come first, it
        # copies all of them in each step.
        return jnp.where(jnp.isnan(state.way.due[at]), self.nowhere, place)

    def send(self, state: S, spiking: Array, now: Array) -> S:
        """Let spikes set out, if they take time; ``now``: the clock, ``(batch, 1)``."""
        if self.delay is None or state.way is None:
            return state
        due = state.way.due
        due = jnp.where(spiking & jnp.isinf(due), now + self.delay, due)
        return state._replace(way=state.way._replace(due=due))
