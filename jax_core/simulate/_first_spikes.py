"""Event-driven simulation of neurons that spike once at most, in continuous time.

All (sample, neuron) pairs walk through their sample's sorted input events in lockstep. Between two
events the state is propagated in closed form. The walk only notes the interval in which the voltage
crosses the threshold; one root search at the end serves all.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..neuron._crossing import Bracket, advance, crosses_double, find_bracket, solve_crossing
from ..neuron._kernel import Propagator, propagator
from ._events import Input, Intervals, Spikes, column, intervals_between, undefined_neurons


def first_spikes(
    events: Input, weight: Array, constants: Constants, t_max: Array | float, is_double: bool
) -> Spikes:
    """Simulate neurons whose refractory period is infinite.

    **Arguments:** ``is_double``: whether ``tau_mem = 2 tau_syn`` for all, which has closed forms.
    """
    shape, dtype = (events.time.shape[0], weight.shape[0]), weight.dtype
    intervals = intervals_between(events, weight, t_max)
    layer = _Layer.of(intervals, constants, is_double)
    start = jnp.broadcast_to(constants.start, shape).astype(dtype)
    final = lax.while_loop(
        layer.is_running,
        layer.walk,
        _State(jnp.int32(0), start, jnp.zeros(shape, dtype), jnp.full(shape, layer.never)),
    )
    time, current = layer.solve(final)
    undefined = undefined_neurons(events, constants, final.v, final.i)
    time = jnp.where(undefined, jnp.nan, time)
    return Spikes(
        time[..., None],
        current[..., None],
        jnp.zeros_like(current)[..., None],
        jnp.zeros(shape, bool),
        jnp.isfinite(time)[..., None],
    )


class _State(NamedTuple):
    """Voltages and currents at the begin of interval ``k``, or of that of the crossing."""

    k: Array
    v: Array
    i: Array
    found: Array
    """The interval with the crossing, ``never`` where none is found yet."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer and its input, with the steps of their simulation."""

    intervals: Intervals
    lengths: Array
    """Of all intervals, with an empty one in front."""
    steps: Propagator | None
    """What happens over them, where all neurons share their time constants: computed for all at
    once, outside of the loop."""
    constants: Constants
    is_double: bool

    @classmethod
    def of(cls, intervals: Intervals, constants: Constants, is_double: bool) -> "_Layer":
        lengths = jnp.pad(intervals.end - intervals.begin, ((0, 0), (1, 0)))
        shared = constants.tau_mem.ndim == constants.tau_syn.ndim == 0
        steps = _over(lengths, constants) if shared else None
        return cls(intervals, lengths, steps, constants, is_double)

    @property
    def never(self) -> Array:
        return jnp.int32(self.intervals.end.shape[1])

    def is_running(self, state: _State) -> Array:
        return (state.k < self.intervals.used) & jnp.any(state.found == self.never)

    def walk(self, state: _State) -> _State:
        arriving = self.intervals.weight[column(self.intervals.pre, state.k)]
        v, i = advance(state.v, state.i, self.step(state.k))
        is_searching = state.found == self.never
        v = jnp.where(is_searching, v, state.v)
        i = jnp.where(is_searching, i + arriving, state.i)
        u_end = column(self.lengths, state.k + 1)[:, None]
        new = is_searching & self.crosses(v, i, u_end, self.step(state.k + 1))
        return _State(state.k + 1, v, i, jnp.where(new, state.k, state.found))

    def step(self, k: Array) -> Propagator:
        if self.steps is None:
            return _over(column(self.lengths, k)[:, None], self.constants)
        return Propagator(*(column(x, k)[:, None] for x in self.steps))

    def crosses(self, v: Array, i: Array, u_end: Array, to_end: Propagator) -> Array:
        if not self.is_double:
            return self.look(v, i, u_end, to_end).exists
        decay = jnp.where(jnp.isfinite(u_end), to_end.membrane, 0)
        return crosses_double(v, i, decay, _at_end(v, i, u_end, to_end), self.constants.threshold)

    def look(self, v: Array, i: Array, u_end: Array, to_end: Propagator) -> Bracket:
        c = self.constants
        v_end = _at_end(v, i, u_end, to_end)
        return find_bracket(v, i, u_end, v_end, c.threshold, c.tau_mem, c.tau_syn)

    def solve(self, final: _State) -> tuple[Array, Array]:
        """Times of the crossings, ``inf`` where there is none, and currents then."""
        c = self.constants
        is_spike = final.found < self.never
        k = jnp.where(is_spike, final.found, 0)
        begin = jnp.take_along_axis(self.intervals.begin, k, axis=1)
        u_end = jnp.take_along_axis(self.intervals.end, k, axis=1) - begin
        # The walk has decided; another rounding here must not undo it.
        bracket = self.look(final.v, final.i, u_end, _over(u_end, c))._replace(exists=is_spike)
        crossing = final.v, final.i, bracket, c.threshold, c.tau_mem, c.tau_syn
        u = solve_crossing(*crossing, self.is_double)
        time = jnp.where(is_spike, begin + u, jnp.inf)
        return time, jnp.where(is_spike, final.i * jnp.exp(-u / c.tau_syn), 0)


def _over(u: Array, constants: Constants) -> Propagator:
    # Nothing follows an infinite interval, so the state there does not matter.
    u = jnp.where(jnp.isfinite(u), u, 0)
    return propagator(u, constants.tau_mem, constants.tau_syn)


def _at_end(v: Array, i: Array, u_end: Array, to_end: Propagator) -> Array:
    v_end, _ = advance(v, i, to_end)
    return jnp.where(jnp.isfinite(u_end), v_end, 0)
