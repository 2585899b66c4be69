"""Event-driven simulation of neurons that spike once at most, in continuous time.

All (sample, neuron) pairs walk through their sample's sorted input events in lockstep. Between two
events the state is propagated in closed form. The walk only notes the interval in which the voltage
crosses the threshold; one root search at the end serves all.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._anywhere import anywhere
from ..neuron._protocol import Neuron
from ._events import Input, Intervals, Spikes, column, intervals_between, undefined_neurons
from ._start import Mark, Start, where


def first_spikes(
    events: Input,
    weight: Array,
    neuron: Neuron,
    t_max: Array | float,
    mark: Mark,
    start: Start | None = None,
) -> Spikes:
    """Simulate neurons whose refractory period is infinite, from rest or from ``start``.

    **Arguments:** ``mark``: what to write down of each spike.
    """
    shape, dtype = (events.time.shape[0], weight.shape[0]), weight.dtype
    intervals = intervals_between(events, weight, t_max)
    layer = _Layer.of(intervals, neuron)
    found = jnp.full(shape, layer.never)
    if start is None:
        start = Start.at_rest(neuron, shape, dtype)
    else:
        found = jnp.where(start.hold > 0, layer.spent, found)
    final = lax.while_loop(layer.is_running, layer.walk, _State(jnp.int32(0), start.state, found))
    time, marks = layer.solve(final, mark)
    undefined = undefined_neurons(events, neuron, final.state)
    time = jnp.where(undefined, jnp.nan, time)
    return Spikes(
        time[..., None],
        jax.tree.map(lambda x: x[..., None], marks),
        jax.tree.map(lambda x: jnp.zeros_like(x)[..., None], marks),
        jnp.zeros(shape, bool),
        jnp.isfinite(time)[..., None],
    )


class _State(NamedTuple):
    """States at the begin of interval ``k``, or of that of the crossing."""

    k: Array
    state: Any
    found: Array
    """The interval with the crossing, ``never`` where none is found yet."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer and its input, with the steps of their simulation."""

    intervals: Intervals
    lengths: Array
    """Of all intervals, with an empty one in front."""
    flows: Any
    """What happens over them, where that is the same for all neurons: computed for all at once,
    outside of the loop. Else ``None``."""
    neuron: Neuron

    @classmethod
    def of(cls, intervals: Intervals, neuron: Neuron) -> "_Layer":
        lengths = jnp.pad(intervals.end - intervals.begin, ((0, 0), (1, 0)))
        flows = _over(lengths, neuron) if neuron.is_shared else None
        return cls(intervals, lengths, flows, neuron)

    @property
    def never(self) -> Array:
        return jnp.int32(self.intervals.end.shape[1])

    @property
    def spent(self) -> Array:
        """In place of an interval where a neuron has spiked before."""
        return self.never + 1

    def is_running(self, state: _State) -> Array:
        return anywhere((state.k < self.intervals.used) & jnp.any(state.found == self.never))

    def walk(self, walk: _State) -> _State:
        k, state, found = walk
        pre = column(self.intervals.pre, k)
        arriving, port = self.intervals.weight[pre], self.intervals.port_of(pre)
        searching = found == self.never
        moved = self.neuron.receive(self.neuron.go(state, self.flow(k)), arriving, port)
        state = where(searching, moved, state)
        u_end = column(self.lengths, k + 1)[:, None]
        new = searching & self.neuron.crosses(state, u_end, self.flow(k + 1))
        return _State(k + 1, state, jnp.where(new, k, found))

    def flow(self, k: Array) -> Any:
        if self.flows is None:
            return _over(column(self.lengths, k)[:, None], self.neuron)
        return jax.tree.map(lambda x: column(x, k)[:, None], self.flows)

    def solve(self, final: _State, mark: Mark) -> tuple[Array, Any]:
        """Times of the crossings, ``inf`` where there is none, and their marks."""
        is_spike = final.found < self.never
        k = jnp.where(is_spike, final.found, 0)
        begin = jnp.take_along_axis(self.intervals.begin, k, axis=1)
        u_end = jnp.take_along_axis(self.intervals.end, k, axis=1) - begin
        # The walk has decided; another rounding here must not undo it.
        found = self.neuron.find(final.state, u_end, _over(u_end, self.neuron))
        u = self.neuron.solve(final.state, found._replace(exists=is_spike))
        marks = mark(self.neuron.at(final.state, u))
        time = jnp.where(is_spike, begin + u, jnp.inf)
        return time, jax.tree.map(lambda x: jnp.where(is_spike, x, 0), marks)


def _over(u: Array, neuron: Neuron) -> Any:
    # Nothing follows an infinite interval, so the state there does not matter.
    return neuron.flow(jnp.where(jnp.isfinite(u), u, 0))
