"""The same simulation at a cost that follows inputs and spikes, for layers with many of both.

Most neurons do not spike between two events. So all (sample, neuron) pairs, the lanes, walk through
a chunk of events by multiplications and additions alone, each up to the first interval in which it
might spike: there the voltage ends above the threshold, or turns within the interval and an upper
bound of its maximum reaches the threshold. Only lanes that stopped so are looked at closely, by the
steps of `_all_spikes`, a fixed number of them at a time; then they walk on, until none is left.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..neuron._cuba_lif import VI, CubaLIF, current
from ..neuron._kernel import propagator
from ._all_spikes import _Layer as _Step
from ._all_spikes import _State as _Stepped
from ._events import Input, Intervals, Spikes, intervals_between, undefined_neurons

# So many events at a time: fewer mean more searches for lanes that stopped, more longer replays.
_CHUNK = 8
# So many lanes are looked at together: about one in so many, and at least so many.
_ONE_IN, _FEWEST = 16, 64
# A bound of the voltage is above it in spite of this error, in units of rounding.
_ROUNDING = 32
_DONE = -1


def spikes_in_chunks(
    events: Input,
    weight: Array,
    neuron: CubaLIF,
    max_spikes: int,
    t_max: Array | float,
) -> Spikes:
    """What `all_spikes` finds or, of neurons that spike once, `first_spikes`."""
    once, is_refractory = neuron.once, neuron.pauses
    room = 1 if once else max_spikes
    intervals = intervals_between(events, weight, t_max)
    layer = _Simulation(intervals, neuron, room)
    start = jnp.int32(0), layer.start(events.time.shape[0], weight)
    _, final = lax.while_loop(layer.is_running, layer.walk, start)
    shape = final.v.shape
    undefined = undefined_neurons(events, neuron, (final.v, final.i))
    time, current, release_current = (x.reshape(*shape, room) for x in final.spikes)
    time = jnp.where(undefined[..., None], jnp.nan, time)
    if not is_refractory:
        release_current = jnp.zeros_like(current) if once else current
    overflow = (final.fired > room) & (not once)
    return Spikes(time, current, release_current, overflow, jnp.isfinite(time))


def may_reach(
    v: Array, i: Array, v_end: Array, i_end: Array, length: Array, threshold: Array
) -> Array:
    """Whether a voltage may reach the threshold in an interval of so many ``tau_mem``, from the
    state at its begin and at its end; never wrong where it denies."""
    # Up to its maximum the voltage is concave, and at the maximum it is equal to the current.
    error = _ROUNDING * jnp.finfo(v.dtype).eps * (jnp.abs(v) + jnp.abs(i))
    bound = jnp.minimum(v + (i - v) * length, i) + error
    turns = (i > v) & (i_end <= v_end + error)
    return (v_end + error >= threshold) | (turns & (bound >= threshold))


class _Record(NamedTuple):
    """What is written down of each spike, one lane after the other; `Spikes` explains it."""

    time: Array
    current: Array
    release_current: Array


class _State(NamedTuple):
    """The state of all lanes, ``(batch, out)`` each, at the begin of an interval."""

    v: Array
    i: Array
    hold: Array
    fired: Array
    stop: Array
    """The interval of the chunk in which a lane waits to be looked at: the chunk's length if it
    does not, ``_DONE`` if it never spikes again."""
    spikes: _Record


class _Free(NamedTuple):
    """How the state changes over intervals without spikes; all 0 if they are infinite."""

    membrane: Array
    synapse: Array
    psp: Array
    length: Array
    """In units of ``tau_mem``."""


class _Chunk(NamedTuple):
    """Some intervals, ``(batch, chunk)``."""

    begin: Array
    end: Array
    pre: Array
    free: _Free | None
    """``None`` if neurons have time constants of their own."""


class _Walker(NamedTuple):
    """Lanes on their way through a chunk."""

    v: Array
    i: Array
    stop: Array


class _Steady(NamedTuple):
    """What stays as it is while lanes walk."""

    hold: Array
    threshold: Array
    """``inf`` where spikes do not matter."""
    constants: Constants


@dataclass(frozen=True, eq=False)
class _Lanes(_Step):
    """The steps of lanes of any samples and neurons, ``(lanes,)``, that write into all spikes."""

    index: Array
    everywhere: int
    """How many lanes there are."""

    def record(self, store: Array, slot: Array, value: Array, when: Array) -> Array:
        fits = when & (slot < self.max_spikes)
        nowhere = self.everywhere * self.max_spikes
        slot = jnp.where(fits, self.index * self.max_spikes + slot, nowhere)
        return store.at[slot].set(value, mode="drop")


@dataclass(frozen=True, eq=False)
class _Simulation:
    """A layer and its input, with the steps of their simulation."""

    intervals: Intervals
    neuron: CubaLIF
    max_spikes: int

    @property
    def constants(self) -> Constants:
        return self.neuron.constants

    @property
    def is_refractory(self) -> bool:
        return self.neuron.pauses

    @property
    def spikes_once(self) -> bool:
        return self.neuron.once

    def start(self, batch: int, weight: Array) -> _State:
        shape, dtype = (batch, weight.shape[0]), weight.dtype
        zero = jnp.zeros(shape, dtype)
        none = jnp.zeros(zero.size * self.max_spikes, dtype)
        return _State(
            v=jnp.broadcast_to(self.constants.start, shape).astype(dtype),
            i=zero,
            hold=zero,
            fired=jnp.zeros(shape, jnp.int32),
            stop=jnp.zeros(shape, jnp.int32),
            spikes=_Record(jnp.full_like(none, jnp.inf), none, none),
        )

    def is_able(self, fired: Array) -> Array:
        """Whether what a lane does still matters."""
        return fired < 1 if self.spikes_once else fired <= self.max_spikes

    def is_running(self, loop: tuple[Array, _State]) -> Array:
        k, state = loop
        return (k < self.intervals.used) & jnp.any(self.is_able(state.fired))

    def walk(self, loop: tuple[Array, _State]) -> tuple[Array, _State]:
        """Go through one chunk."""
        k, state = loop
        chunk = self.chunk(k)
        stop = jnp.full(state.stop.shape, _CHUNK, jnp.int32)
        if self.spikes_once:
            stop = jnp.where(self.is_able(state.fired), stop, _DONE)
        steady = self.steady(state.hold, state.fired, self.constants)

        def interval(walker: _Walker, c: Array) -> tuple[_Walker, None]:
            at = jax.tree.map(lambda x: x[:, c][:, None], chunk)
            arriving = self.intervals.weight[at.pre[:, 0]]
            return self.drift(walker, c, at, arriving, steady), None

        walker = _Walker(state.v, state.i, stop)
        walker, _ = lax.scan(interval, walker, jnp.arange(_CHUNK, dtype=jnp.int32))
        state = state._replace(v=walker.v, i=walker.i, stop=walker.stop)
        state = lax.while_loop(
            lambda state: jnp.any(self.waits(state)), partial(self.look, chunk), state
        )
        return k + _CHUNK, state

    def chunk(self, k: Array) -> _Chunk:
        """The intervals from ``k`` on, and behind the last one such as never begin."""
        nothing = self.intervals.weight.shape[0] - 1
        at = k + jnp.arange(_CHUNK, dtype=jnp.int32)

        def cut(x: Array, absent: float) -> Array:
            return x.at[:, at].get(mode="fill", fill_value=absent)

        begin, end = cut(self.intervals.begin, jnp.inf), cut(self.intervals.end, jnp.inf)
        pre = cut(self.intervals.pre, nothing)
        c = self.constants
        is_shared = c.tau_mem.ndim == c.tau_syn.ndim == 0
        return _Chunk(begin, end, pre, self.free(end - begin, c) if is_shared else None)

    def free(self, length: Array, constants: Constants) -> _Free:
        is_finite = jnp.isfinite(length)
        tau_mem, tau_syn = constants.tau_mem, constants.tau_syn
        step = propagator(jnp.where(is_finite, length, 0), tau_mem, tau_syn)
        membrane, synapse, psp = (jnp.where(is_finite, x, 0) for x in step)
        return _Free(membrane, synapse, psp, jnp.where(is_finite, length / tau_mem, jnp.inf))

    def steady(self, hold: Array, fired: Array, constants: Constants) -> _Steady:
        threshold = jnp.where(self.is_able(fired), constants.threshold, jnp.inf)
        return _Steady(hold, threshold, constants)

    def drift(
        self, walker: _Walker, c: Array, at: _Chunk, arriving: Array, steady: _Steady
    ) -> _Walker:
        """Go through interval ``c``, or stop at its begin where a spike or release may come."""
        v, i = walker.v, walker.i + arriving
        constants = steady.constants
        free = self.free(at.end - at.begin, constants) if at.free is None else at.free
        v_end, i_end = free.membrane * v + free.psp * i, free.synapse * i
        stops = may_reach(v, i, v_end, i_end, free.length, steady.threshold)
        if self.is_refractory:
            held = at.begin < steady.hold
            v_end = jnp.where(held, constants.reset, v_end)
            stops = jnp.where(held, steady.hold <= at.end, stops)
        is_walking = walker.stop == _CHUNK
        stops = stops & is_walking & jnp.isfinite(at.begin)
        goes_on = is_walking & ~stops
        return _Walker(
            jnp.where(goes_on, v_end, v),
            jnp.where(goes_on, i_end, walker.i),
            jnp.where(stops, c, walker.stop),
        )

    def waits(self, state: _State) -> Array:
        return (state.stop >= 0) & (state.stop < _CHUNK)

    def look(self, chunk: _Chunk, state: _State) -> _State:
        """Look closely at some of the lanes that wait, and let them walk on."""
        (batch, out), lanes = state.v.shape, state.v.size
        index = _first_of(self.waits(state).reshape(-1), max(lanes // _ONE_IN, _FEWEST))
        sample, neuron = jnp.minimum(index // out, batch - 1), index % out
        v, i, hold, fired, stop = (x.reshape(-1).at[index].get(mode="clip") for x in state[:-1])
        # Where there is no lane left, nothing is to be done.
        fired = jnp.where(index < lanes, fired, self.max_spikes + 1)
        stop = jnp.clip(stop, 0, _CHUNK - 1)
        constants = jax.tree.map(lambda x: x[neuron] if x.ndim else x, self.constants)
        i = i + self.intervals.weight[chunk.pre[sample, stop], neuron]
        reached = jnp.zeros(index.shape, bool)
        begin, end = chunk.begin[sample, stop], chunk.end[sample, stop]
        start = _Stepped(begin, VI(v, i), hold, fired, *state.spikes, reached)
        stepped = self.step(start, end, index, lanes, constants)
        is_done = ~self.is_able(stepped.fired) & self.spikes_once
        steady = self.steady(stepped.hold, stepped.fired, constants)
        here = jax.tree.map(lambda x: x[sample], chunk)

        def interval(walker: _Walker, c: Array) -> tuple[_Walker, None]:
            at = jax.tree.map(lambda x: x[:, c], here)
            moved = self.drift(walker, c, at, self.intervals.weight[at.pre, neuron], steady)
            # What comes before a lane's own interval is behind it.
            return jax.tree.map(partial(jnp.where, c > stop), moved, walker), None

        walker = _Walker(
            stepped.state.v, stepped.state.i, jnp.where(is_done, _DONE, _CHUNK).astype(jnp.int32)
        )
        walker, _ = lax.scan(interval, walker, jnp.arange(_CHUNK, dtype=jnp.int32))

        def put(x: Array, new: Array) -> Array:
            return x.reshape(-1).at[index].set(new, mode="drop").reshape(x.shape)

        return _State(
            put(state.v, walker.v),
            put(state.i, walker.i),
            put(state.hold, stepped.hold),
            put(state.fired, stepped.fired),
            put(state.stop, walker.stop),
            _Record(stepped.time, stepped.mark, stepped.release_mark),
        )

    def step(
        self, start: _Stepped, end: Array, index: Array, lanes: int, constants: Constants
    ) -> _Stepped:
        """From spike to spike to the end of an interval, or to the only spike."""
        neuron = CubaLIF(constants, self.neuron.form)
        step = _Lanes(self.intervals, neuron, self.max_spikes, current, index, lanes)

        def go_on(state: _Stepped) -> _Stepped:
            state = step.step(state, end)
            return state._replace(at_end=state.at_end | self.spikes_once)

        return lax.while_loop(lambda state: ~jnp.all(state.at_end), go_on, start)


def _first_of(chosen: Array, size: int) -> Array:
    """The places of the first ``size`` that are chosen, and ``len(chosen)`` where there are fewer.

    Faster on CPUs than `jax.numpy.nonzero`.
    """
    rank = lax.associative_scan(jnp.add, chosen.astype(jnp.int32))
    return jnp.searchsorted(rank, jnp.arange(1, size + 1, dtype=jnp.int32)).astype(jnp.int32)
