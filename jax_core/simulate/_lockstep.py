"""Event-driven simulation of a feed-forward layer of LIF neurons in continuous time.

All (sample, neuron) pairs walk through their sample's sorted input events in lockstep. Between two
events the state is propagated in closed form, and spikes are found as threshold crossings, so
the cost grows with the number of events, not with the simulated time.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from .._events import Events
from ..neuron._constants import Constants
from ..neuron._crossing import Bracket, advance, crosses_double, find_bracket, solve_crossing
from ..neuron._kernel import Propagator, propagator
from ..spikes._sort import sort_times


class Input(NamedTuple):
    """Sorted input events of a batch."""

    time: Array
    """Times of the events, shape ``(batch, M)``, ascending, ``inf`` where there is none."""
    pre: Array
    """Neurons that they come from, int32, same shape; any value where there is none."""


class Spikes(NamedTuple):
    """What the neurons did: all that the gradient needs to know."""

    time: Array
    """Spike times ``(batch, out, K)``, ascending, ``inf`` where there is no spike; NaN for a neuron
    whose voltage is NaN."""
    current: Array
    """Synaptic current at each spike, same shape."""
    release_current: Array
    """Synaptic current at the end of each spike's refractory period, same shape."""
    overflow: Array
    """Whether a neuron would have spiked more than ``K`` times, bool ``(batch, out)``."""
    has_gradient: Array
    """Whether the spike's time has a derivative, bool ``(batch, out, K)``: all spikes found by
    simulation have one; observed ones do not where the model's voltage falls."""


def sort_input(events: Events, weight: Array) -> tuple[Input, Array | None]:
    """Order events by time; a spike-time tensor's place tells the neuron.

    **Returns:** the events, and the place that each had before, ``None`` if the same.
    """
    if events.index is not None:
        # Sorted by contract, checked where values are known.
        return Input(events.time, events.index), None
    time, place = sort_times(events.time)
    per_neuron = max(events.time.shape[-1] // max(weight.shape[1], 1), 1)
    return Input(time, place // per_neuron), place


class Intervals(NamedTuple):
    """The times between events, one more than there are events; the last ends at ``t_max``."""

    begin: Array
    """Shape ``(batch, M + 1)``; at its begin an interval's event arrives, none at the first's."""
    end: Array
    pre: Array
    weight: Array
    used: Array


def intervals_between(events: Input, weight: Array, t_max: Array | float) -> Intervals:
    """Cut off what comes after ``t_max`` and give absent events a weight of zero."""
    inputs = weight.shape[1]
    present = (events.time <= t_max) & jnp.isfinite(events.time)
    time = jnp.minimum(events.time, t_max)
    left, right = ((0, 0), (1, 0)), ((0, 0), (0, 1))
    return Intervals(
        begin=jnp.pad(time, left),
        end=jnp.pad(time, right, constant_values=t_max),
        pre=jnp.pad(jnp.where(present, events.pre, inputs), left, constant_values=inputs),
        weight=jnp.pad(weight.T, ((0, 1), (0, 0))),
        used=jnp.max(jnp.sum(present, axis=1, dtype=jnp.int32), initial=0) + 1,
    )


def undefined_neurons(events: Input, constants: Constants, v: Array, i: Array) -> Array:
    """Where there is no telling what a neuron does, ``(batch, out)``, given its last state.

    NaN compares as False, so that a search for spikes would take it for silence.
    """
    state = v + i
    for constant in constants:
        state = jnp.where(jnp.isnan(constant), jnp.nan, state)
    return jnp.isnan(state) | jnp.any(jnp.isnan(events.time), axis=1, keepdims=True)


def column(x: Array, k: Array) -> Array:
    """``x[:, k]`` for a ``k`` that is known at run time only."""
    return lax.dynamic_index_in_dim(x, k, axis=1, keepdims=False)


def first_spikes(
    events: Input, weight: Array, constants: Constants, t_max: Array | float, is_double: bool
) -> Spikes:
    """Simulate neurons that spike once at most (infinite refractory period).

    The walk only notes the interval of the crossing, where the neuron's state then stays as it was
    at the begin; one root search at the end serves all.
    """
    batch, out = events.time.shape[0], weight.shape[0]
    shape, dtype = (batch, out), weight.dtype
    tau_mem, tau_syn = constants.tau_mem, constants.tau_syn
    threshold = constants.threshold
    intervals = intervals_between(events, weight, t_max)
    never = jnp.int32(intervals.end.shape[1])

    class State(NamedTuple):
        k: Array
        v: Array
        i: Array
        found: Array
        """The interval with the crossing, ``never`` where none is found yet."""

    def over(u: Array) -> Propagator:
        # Nothing follows an infinite interval, so the state there does not matter.
        return propagator(jnp.where(jnp.isfinite(u), u, 0), tau_mem, tau_syn)

    # The lengths of all intervals, with an empty one in front. Where all neurons share their time
    # constants, what happens over them is computed for all at once, outside of the loop.
    lengths = jnp.pad(intervals.end - intervals.begin, ((0, 0), (1, 0)))
    steps = over(lengths) if tau_mem.ndim == tau_syn.ndim == 0 else None

    def step(k: Array) -> Propagator:
        if steps is None:
            return over(column(lengths, k)[:, None])
        return Propagator(*(column(x, k)[:, None] for x in steps))

    def at_end(v: Array, i: Array, u_end: Array, to_end: Propagator) -> Array:
        v_end, _ = advance(v, i, to_end)
        return jnp.where(jnp.isfinite(u_end), v_end, 0)

    def look(v: Array, i: Array, u_end: Array, to_end: Propagator) -> Bracket:
        v_end = at_end(v, i, u_end, to_end)
        return find_bracket(v, i, u_end, v_end, threshold, tau_mem, tau_syn)

    def crosses(v: Array, i: Array, u_end: Array, to_end: Propagator) -> Array:
        if not is_double:
            return look(v, i, u_end, to_end).exists
        decay = jnp.where(jnp.isfinite(u_end), to_end.membrane, 0)
        return crosses_double(v, i, decay, at_end(v, i, u_end, to_end), threshold)

    def is_running(state: State) -> Array:
        return (state.k < intervals.used) & jnp.any(state.found == never)

    def walk(state: State) -> State:
        arriving = intervals.weight[column(intervals.pre, state.k)]
        v, i = advance(state.v, state.i, step(state.k))
        is_searching = state.found == never
        v = jnp.where(is_searching, v, state.v)
        i = jnp.where(is_searching, i + arriving, state.i)
        u_end = column(lengths, state.k + 1)[:, None]
        new = is_searching & crosses(v, i, u_end, step(state.k + 1))
        return State(state.k + 1, v, i, jnp.where(new, state.k, state.found))

    start = jnp.broadcast_to(constants.start, shape).astype(dtype)
    final = lax.while_loop(
        is_running,
        walk,
        State(jnp.int32(0), start, jnp.zeros(shape, dtype), jnp.full(shape, never)),
    )
    is_spike = final.found < never
    k = jnp.where(is_spike, final.found, 0)
    begin = jnp.take_along_axis(intervals.begin, k, axis=1)
    u_end = jnp.take_along_axis(intervals.end, k, axis=1) - begin
    # The walk has decided; another rounding here must not undo it.
    bracket = look(final.v, final.i, u_end, over(u_end))._replace(exists=is_spike)
    u = solve_crossing(final.v, final.i, bracket, threshold, tau_mem, tau_syn, is_double)
    time = jnp.where(is_spike, begin + u, jnp.inf)
    undefined = undefined_neurons(events, constants, final.v, final.i)
    time = jnp.where(undefined, jnp.nan, time)
    current = jnp.where(is_spike, final.i * jnp.exp(-u / tau_syn), 0)
    return Spikes(
        time[..., None],
        current[..., None],
        jnp.zeros_like(current)[..., None],
        jnp.zeros(shape, bool),
        jnp.isfinite(time)[..., None],
    )


def all_spikes(
    events: Input,
    weight: Array,
    constants: Constants,
    max_spikes: int,
    t_max: Array | float,
    is_double: bool,
    is_refractory: bool,
) -> Spikes:
    """Simulate neurons that may spike several times.

    Within an interval between events every pair goes on by itself, from spike to spike, until it
    reaches the interval's end; a pair that has overflowed is not followed further.
    """
    batch, out = events.time.shape[0], weight.shape[0]
    shape, dtype = (batch, out), weight.dtype
    tau_mem, tau_syn = constants.tau_mem, constants.tau_syn
    threshold = constants.threshold
    intervals = intervals_between(events, weight, t_max)
    samples, neurons = jnp.arange(batch)[:, None], jnp.arange(out)

    class State(NamedTuple):
        clock: Array
        v: Array
        i: Array
        hold: Array
        fired: Array
        time: Array
        current: Array
        release_current: Array
        at_end: Array

    def record(store: Array, slot: Array, value: Array, when: Array) -> Array:
        slot = jnp.where(when, slot, max_spikes)
        return store.at[samples, neurons, slot].set(value, mode="drop")

    def release(state: State, i: Array, spiking: Array, released: Array) -> Array:
        if not is_refractory:
            return state.release_current
        # A refractory period of zero ends with the spike, others overwrite this later.
        store = record(state.release_current, state.fired, i, spiking)
        return record(store, state.fired - 1, i, released)

    def step(state: State, end: Array) -> State:
        u_end = end - state.clock
        is_finite = jnp.isfinite(u_end)
        to_end = propagator(jnp.where(is_finite, u_end, 0), tau_mem, tau_syn)
        v_end, i_end = advance(state.v, state.i, to_end)
        rest = jnp.where(is_finite, v_end, 0)
        bracket = find_bracket(state.v, state.i, u_end, rest, threshold, tau_mem, tau_syn)
        held = state.clock < state.hold if is_refractory else jnp.zeros(shape, bool)
        spiking = bracket.exists & ~held & (state.fired <= max_spikes)
        bracket = bracket._replace(exists=spiking)
        u = solve_crossing(state.v, state.i, bracket, threshold, tau_mem, tau_syn, is_double)
        released = held & (state.hold < end)
        u = jnp.where(released, state.hold - state.clock, u)
        stops = spiking | released
        clock = jnp.where(stops, state.clock + u, jnp.where(is_finite, end, state.clock))
        i = jnp.where(stops, state.i * jnp.exp(-u / tau_syn), i_end)
        return State(
            clock=jnp.where(released, state.hold, clock),
            v=jnp.where(spiking | held, constants.reset, v_end),
            i=i,
            hold=jnp.where(spiking, clock + constants.refractory, state.hold),
            fired=state.fired + spiking.astype(jnp.int32),
            time=record(state.time, state.fired, clock, spiking),
            current=record(state.current, state.fired, i, spiking),
            release_current=release(state, i, spiking, held & (state.hold <= end)),
            at_end=~stops,
        )

    def walk(loop: tuple[Array, State]) -> tuple[Array, State]:
        k, state = loop
        end = column(intervals.end, k)[:, None]
        arriving = intervals.weight[column(intervals.pre, k)]
        state = state._replace(i=state.i + arriving, at_end=jnp.zeros(shape, bool))
        state = lax.while_loop(
            lambda state: ~jnp.all(state.at_end), lambda state: step(state, end), state
        )
        return k + 1, state

    def is_running(loop: tuple[Array, State]) -> Array:
        k, state = loop
        return (k < intervals.used) & ~jnp.all(state.fired > max_spikes)

    zero = jnp.zeros(shape, dtype)
    none = jnp.zeros((*shape, max_spikes), dtype)
    _, final = lax.while_loop(
        is_running,
        walk,
        (
            jnp.int32(0),
            State(
                clock=zero,
                v=jnp.broadcast_to(constants.start, shape).astype(dtype),
                i=zero,
                hold=zero,
                fired=jnp.zeros(shape, jnp.int32),
                time=jnp.full_like(none, jnp.inf),
                current=none,
                release_current=none,
                at_end=jnp.zeros(shape, bool),
            ),
        ),
    )
    undefined = undefined_neurons(events, constants, final.v, final.i)
    time = jnp.where(undefined[..., None], jnp.nan, final.time)
    return Spikes(
        time,
        final.current,
        final.release_current if is_refractory else final.current,
        final.fired > max_spikes,
        jnp.isfinite(time),
    )
