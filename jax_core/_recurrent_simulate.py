"""Event-driven simulation of a recurrent layer of LIF neurons in continuous time.

The neurons of a sample interact, so they share a clock. It goes from event to event: to the next
input, to the next spike in the population, or to the arrival of an earlier, delayed spike,
whichever comes first. Samples of a batch do so in lockstep, each with a clock of its own. The work
is one pass over all neurons per event.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ._constants import Constants
from ._crossing import advance
from ._earliest import Population, earliest_crossings
from ._kernel import propagator
from ._simulate import Input, Spikes


class Order(NamedTuple):
    """The order in which things happen: numbers of moments, int32 ``(batch, out, K)``.

    They ascend with time; spikes of one moment have the same.
    """

    emitted: Array
    """The moment of each spike."""
    heard: Array
    """The moment at which it arrives at the layer's neurons, ``NEVER`` if none."""


NEVER = jnp.iinfo(jnp.int32).max


class _State(NamedTuple):
    step: Array
    clock: Array
    """Time of each sample, ``(batch,)``."""
    arrived: Array
    """How many input events of each sample have arrived, int32 ``(batch,)``."""
    done: Array
    v: Array
    """Voltages ``(batch, out)``, at the clock or, if that is later, at the end of ``hold``."""
    i: Array
    """Currents at the same time as the voltages, same shape."""
    hold: Array
    """When the refractory period ends."""
    at_release: Array
    """Currents at the end of the last refractory period."""
    fired: Array
    heard: Array | None
    """With delays: how many spikes of each neuron have arrived, int32 ``(batch, out)``."""
    due: Array | None
    """With delays: when the first of the others arrives, ``inf`` where there is none."""
    overflow: Array
    spikes: "_Record"


class _Record(NamedTuple):
    """What is written down of each spike, ``(batch, out * K)``."""

    time: Array
    current: Array
    release_current: Array
    emitted: Array
    heard: Array


class _Emission(NamedTuple):
    """Spikes of one moment on their way, one neuron of a sample after the other."""

    waiting: Array
    arriving: Array
    """What the spikes so far add to the currents."""
    spikes: _Record


def simulate_recurrent(
    events: Input,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
    max_spikes: int,
    t_max: float,
    is_double: bool,
    is_refractory: bool,
    spikes_once: bool,
) -> tuple[Spikes, Order]:
    """Simulate until nothing can happen any more, in each sample up to its first overflow.

    Neurons that cross the threshold at the same moment all spike, in the order of their index,
    before any of these spikes arrives. An input at that time has arrived before. Spikes arrive in
    their moment, or ``delay``, a scalar or ``(out,)``, later.
    """
    batch, (out, inputs) = events.time.shape[0], weight.shape
    shape, dtype = (batch, out), weight.dtype
    tau_mem, tau_syn = constants.tau_mem, constants.tau_syn
    refractory = constants.refractory
    samples, neurons = jnp.arange(batch), jnp.arange(out, dtype=jnp.int32)
    nothing, nowhere = inputs + out, out * max_spikes
    columns = jnp.pad(jnp.concatenate([weight.T, recurrent_weight.T]), ((0, 1), (0, 0)))
    present = (events.time <= t_max) & jnp.isfinite(events.time)
    # One more than there are events, where a sample waits that has none left.
    one_more = ((0, 0), (0, 1))
    arrivals = jnp.pad(jnp.where(present, events.time, jnp.inf), one_more, constant_values=jnp.inf)
    known = present & (events.pre >= 0) & (events.pre < inputs)
    sources = jnp.pad(jnp.where(known, events.pre, nothing), one_more, constant_values=nothing)

    if out == 0:
        # There is no first neuron to spike.
        empty = jnp.zeros((*shape, max_spikes), dtype)
        some = jnp.zeros(shape, bool), jnp.zeros(empty.shape, bool)
        return Spikes(empty, empty, empty, *some), Order(*(empty.astype(jnp.int32),) * 2)

    def population(state: _State) -> Population:
        wait = jnp.zeros((), dtype)
        if is_refractory:
            wait = jnp.maximum(state.hold - state.clock[:, None], 0)
        able = ~state.done[:, None]
        if spikes_once:
            able = able & (state.fired == 0)
        return Population(state.v, state.i, wait, able)

    def elapsed(state: _State, clock: Array) -> Array:
        """For how long the state has to go on until it holds at the new clock."""
        before, after = state.clock[:, None], clock[:, None]
        if not is_refractory:
            return after - before
        return jnp.where(state.hold > after, 0, after - jnp.maximum(before, state.hold))

    def emit(emission: _Emission, state: _State, clock: Array, i: Array, other: Array) -> _Emission:
        """Note the spike of one neuron; ``other`` is what arrives in samples without one."""
        n = jnp.argmax(emission.waiting, axis=1).astype(jnp.int32)
        is_spike = jnp.any(emission.waiting, axis=1)
        slot = n * max_spikes + state.fired[samples, n]

        def note(store: Array, slot: Array, value: Array) -> Array:
            return store.at[samples, jnp.where(is_spike, slot, nowhere)].set(value, mode="drop")

        spikes = emission.spikes
        release_current = spikes.release_current
        if is_refractory:
            previous = jnp.where(state.fired[samples, n] > 0, slot - 1, nowhere)
            release_current = note(release_current, previous, state.at_release[samples, n])
        return _Emission(
            emission.waiting & (neurons != n[:, None]),
            emission.arriving + columns[jnp.where(is_spike, at_once(n), other)],
            _Record(
                note(spikes.time, slot, clock),
                note(spikes.current, slot, i[samples, n]),
                release_current,
                note(spikes.emitted, slot, jnp.broadcast_to(state.step, (batch,))),
                spikes.heard,
            ),
        )

    def at_once(n: Array) -> Array:
        return inputs + n if delay is None else jnp.full_like(n, nothing)

    def next_arrival(state: _State) -> tuple[Array, Array]:
        """When the next input or delayed spike arrives, and its column of weights."""
        time, source = arrivals[samples, state.arrived], sources[samples, state.arrived]
        if state.due is None:
            return time, source
        n = jnp.argmin(state.due, axis=1).astype(jnp.int32)
        due = state.due[samples, n]
        is_own = (due < time) & (due <= t_max)
        return jnp.where(is_own, due, time), jnp.where(is_own, inputs + n, source)

    def deliver(state: _State, source: Array, is_arrival: Array) -> tuple[_State, Array]:
        """Take note of an arrival; **returns** where it is a spike of the layer too."""
        is_own = is_arrival & (source >= inputs) & (source < nothing)
        if delay is None or state.heard is None or state.due is None:
            return state, is_own
        n = jnp.clip(source - inputs, 0, out - 1)
        heard = state.heard[samples, n]
        slot = n * max_spikes + heard
        record = state.spikes.heard.at[samples, jnp.where(is_own, slot, nowhere)]
        moment = jnp.broadcast_to(state.step, (batch,))
        following = jnp.minimum(slot + 1, nowhere - 1)
        due = state.spikes.time[samples, following] + jnp.broadcast_to(delay, (out,))[n]
        due = jnp.where(heard + 1 < state.fired[samples, n], due, jnp.inf)
        return state._replace(
            heard=state.heard.at[samples, n].add(is_own.astype(jnp.int32)),
            due=state.due.at[samples, n].set(jnp.where(is_own, due, state.due[samples, n])),
            spikes=state.spikes._replace(heard=record.set(moment, mode="drop")),
        ), is_own

    def walk(state: _State) -> _State:
        arrival, source = next_arrival(state)
        end = jnp.minimum(arrival, t_max)
        crossing = earliest_crossings(population(state), state.clock, end, constants, is_double)
        first = jnp.min(crossing, axis=1, initial=jnp.inf)
        is_spike = jnp.isfinite(first)
        is_arrival = ~is_spike & jnp.isfinite(arrival) & ~state.done
        clock = jnp.where(is_spike, jnp.minimum(state.clock + first, end), state.clock)
        clock = jnp.where(is_arrival, arrival, clock)
        if is_refractory:
            held = state.hold > state.clock[:, None]
            state = state._replace(at_release=jnp.where(held, state.i, state.at_release))
        step = propagator(elapsed(state, clock), tau_mem, tau_syn)
        v, i = advance(state.v, state.i, step)

        state, is_own = deliver(state, source, is_arrival)
        crossed = jnp.isfinite(crossing)
        lost = crossed & (state.fired >= max_spikes)
        spiking = crossed & ~lost
        emission = _Emission(spiking, jnp.zeros(shape, dtype), state.spikes)
        other = jnp.where(is_arrival, source, nothing)
        emission = emit(emission, state, clock, i, other)
        emission = lax.while_loop(
            lambda emission: jnp.any(emission.waiting),
            lambda emission: emit(emission, state, clock, i, jnp.full_like(other, nothing)),
            emission,
        )
        hold, at_release, arriving = state.hold, state.at_release, emission.arriving
        if is_refractory:
            hold = jnp.where(spiking, clock[:, None] + refractory, hold)
            i = jnp.where(spiking, i * jnp.exp(-refractory / tau_syn), i)
            at_release = jnp.where(spiking, i, at_release)
            # The state of a refractory neuron is that at its release: so much is left then.
            rest = jnp.maximum(hold - clock[:, None], 0)
            arriving = arriving * jnp.exp(-rest / tau_syn)
        due = state.due
        if delay is not None and due is not None:
            due = jnp.where(spiking & jnp.isinf(due), clock[:, None] + delay, due)
        return _State(
            step=state.step + 1,
            clock=clock,
            arrived=state.arrived + (is_arrival & ~is_own).astype(jnp.int32),
            done=state.done | ~(is_spike | is_arrival) | jnp.any(lost, axis=1),
            v=jnp.where(spiking, constants.reset, v),
            i=i + arriving,
            hold=hold,
            at_release=at_release,
            fired=state.fired + spiking.astype(jnp.int32),
            heard=state.heard,
            due=due,
            overflow=state.overflow | lost,
            spikes=emission.spikes,
        )

    zero = jnp.zeros(shape, dtype)
    none = jnp.zeros((batch, nowhere), dtype)
    never = jnp.full(none.shape, NEVER, jnp.int32)
    final = lax.while_loop(
        lambda state: ~jnp.all(state.done),
        walk,
        _State(
            step=jnp.int32(0),
            clock=jnp.zeros(batch, dtype),
            arrived=jnp.zeros(batch, jnp.int32),
            done=jnp.zeros(batch, bool),
            v=jnp.broadcast_to(constants.start, shape).astype(dtype),
            i=zero,
            hold=zero,
            at_release=zero,
            fired=jnp.zeros(shape, jnp.int32),
            heard=None if delay is None else jnp.zeros(shape, jnp.int32),
            due=None if delay is None else jnp.full(shape, jnp.inf, dtype),
            overflow=jnp.zeros(shape, bool),
            spikes=_Record(jnp.full_like(none, jnp.inf), none, none, *(never,) * 2),
        ),
    )
    time, current, release_current, emitted, heard = (
        x.reshape(*shape, max_spikes) for x in final.spikes
    )
    spikes = Spikes(
        time,
        current,
        release_current if is_refractory else current,
        final.overflow,
        jnp.isfinite(time),
    )
    return spikes, Order(emitted, emitted if delay is None else heard)
