"""Event-driven simulation of a recurrent layer of LIF neurons in continuous time.

The neurons of a sample interact, so they share a clock. It goes from event to event: to the next
input, to the next spike in the population, or to the arrival of an earlier, delayed spike,
whichever comes first. Samples of a batch do so in lockstep, each with a clock of its own. The work
is one pass over all neurons per event.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..neuron._crossing import advance
from ..neuron._kernel import propagator
from ._arrivals import Arrivals, Arriving
from ._earliest import Population, earliest_crossings
from ._events import Input, Spikes, undefined_neurons
from ._recurrent_state import Order, Record, State, in_the_middle, state_at_start
from ._start import Start


class _Emission(NamedTuple):
    """Spikes of one moment on their way, one neuron of a sample after the other."""

    waiting: Array
    arriving: Array
    """What has arrived in this moment, ``(batch, out)``."""
    spikes: Record


@dataclass(frozen=True, eq=False)
class Simulation(Arrivals):
    """A layer and its input, with the steps of their simulation.

    What arrives is named by its ``source``: an input, ``in`` and more for a neuron of the layer, or
    ``nothing``.
    """

    time: Array
    """Times of input events, ``(batch, M + 1)``, ``inf`` for those that do not count."""
    source: Array
    columns: Array
    """What each source adds to the currents, ``(in + out + 1, out)``."""
    delay: Array | None
    constants: Constants
    inputs: int
    max_spikes: int
    t_max: Array | float
    is_double: bool
    is_refractory: bool
    spikes_once: bool

    def walk(self, state: State) -> State:
        """Go on to the next event of each sample."""
        arrival, source = self.next_arrival(state)
        end = jnp.minimum(arrival, self.t_max)
        crossing = self.next_crossing(state, end)
        first = jnp.min(crossing, axis=1)
        is_spike = jnp.isfinite(first)
        is_arrival = ~is_spike & jnp.isfinite(arrival) & ~state.done
        clock = jnp.where(is_spike, jnp.minimum(state.clock + first, end), state.clock)
        state = self.go_on(state, jnp.where(is_arrival, arrival, clock))
        state, source = self.arrive(state, source, is_arrival)
        lost = jnp.isfinite(crossing) & (state.fired >= self.max_spikes)
        state = self.spike(state, jnp.isfinite(crossing) & ~lost, source)
        return state._replace(
            step=state.step + 1,
            done=state.done | ~(is_spike | is_arrival) | jnp.any(lost, axis=1),
            overflow=state.overflow | lost,
        )

    def next_crossing(self, state: State, end: Array) -> Array:
        """When from now on the first neurons spike, ``inf`` for all others."""
        wait = jnp.zeros((), end.dtype)
        if self.is_refractory:
            wait = jnp.maximum(state.hold - state.clock[:, None], 0)
        able = ~state.done[:, None]
        if self.spikes_once:
            able = able & (state.fired == 0)
        population = Population(state.v, state.i, wait, able)
        return earliest_crossings(population, state.clock, end, self.constants, self.is_double)

    def go_on(self, state: State, clock: Array) -> State:
        """Propagate the neurons to the time of the next event."""
        before, after = state.clock[:, None], clock[:, None]
        u = after - before
        if self.is_refractory:
            held = state.hold > before
            state = state._replace(at_release=jnp.where(held, state.i, state.at_release))
            u = jnp.where(state.hold > after, 0, after - jnp.maximum(before, state.hold))
        step = propagator(u, self.constants.tau_mem, self.constants.tau_syn)
        v, i = advance(state.v, state.i, step)
        return state._replace(clock=clock, v=v, i=i)

    def arrive(self, state: State, source: Array, is_arrival: Array) -> tuple[State, Array]:
        """Take note of what arrives; **returns** that for `spike`."""
        source = jnp.where(is_arrival, source, self.nothing)
        return self.note_arrival(state, source, is_arrival), source

    def spike(self, state: State, spiking: Array, source: Array) -> State:
        """Let neurons spike, and add what arrives: ``source`` or, without delays, the spikes."""
        emission = _Emission(spiking, jnp.zeros_like(state.i), state.spikes)
        emission = self.emit(state, emission, source)
        # More than one of a sample is rare.
        nothing = jnp.full_like(source, self.nothing)
        emission = lax.while_loop(
            lambda emission: jnp.any(emission.waiting),
            lambda emission: self.emit(state, emission, nothing),
            emission,
        )
        i, arriving, now = state.i, emission.arriving, state.clock[:, None]
        if self.is_refractory:
            refractory, tau_syn = self.constants.refractory, self.constants.tau_syn
            hold = jnp.where(spiking, now + refractory, state.hold)
            i = jnp.where(spiking, i * jnp.exp(-refractory / tau_syn), i)
            at_release = jnp.where(spiking, i, state.at_release)
            state = state._replace(hold=hold, at_release=at_release)
            # The state of a refractory neuron is that at its release: so much is left then.
            arriving = arriving * jnp.exp(-jnp.maximum(hold - now, 0) / tau_syn)
        state = self.send(state, spiking, now)
        return state._replace(
            v=jnp.where(spiking, self.constants.reset, state.v),
            i=i + arriving,
            fired=state.fired + spiking.astype(jnp.int32),
            spikes=emission.spikes,
        )

    def drive(self, source: Array) -> Array:
        """What arrives adds so much to the currents, ``(batch, out)``."""
        return self.columns[source]

    def emit(self, state: State, emission: _Emission, source: Array) -> _Emission:
        """Write down the spike of one neuron; ``source`` arrives in samples without a spike."""
        waiting, arriving, spikes = emission
        n = jnp.argmax(waiting, axis=1).astype(jnp.int32)
        at = self.samples, n
        is_spike = jnp.any(waiting, axis=1)
        slot = self.place(state, n)

        def note(store: Array, slot: Array, value: Array) -> Array:
            slot = jnp.where(is_spike, slot, self.nowhere)
            return store.at[self.samples, slot].set(value, mode="drop")

        release_current = spikes.release_current
        if self.is_refractory:
            previous = jnp.where(state.fired[at] > 0, slot - 1, self.nowhere)
            release_current = note(release_current, previous, state.at_release[at])
        if self.delay is None:
            source = jnp.where(is_spike, self.inputs + n, source)
        return _Emission(
            waiting.at[at].set(False),
            arriving + self.drive(source),
            Record(
                note(spikes.time, slot, state.clock),
                note(spikes.current, slot, state.i[at]),
                release_current,
                note(spikes.emitted, slot, state.step),
                spikes.heard,
            ),
        )


def simulate_recurrent(
    events: Input,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
    max_spikes: int,
    t_max: Array | float,
    is_double: bool,
    is_refractory: bool,
    spikes_once: bool,
    kind: type[Simulation] = Simulation,
    begin: Start | None = None,
) -> tuple[Spikes, Order]:
    """Simulate until nothing can happen any more, in each sample up to its first overflow.

    Neurons that cross the threshold at the same moment all spike, in the order of their index,
    before any of these spikes arrives. An input at that time has arrived before. Spikes arrive in
    their moment, or ``delay``, a scalar or ``(out,)``, later.
    """
    batch, (out, inputs) = events.time.shape[0], weight.shape
    simulation = kind(
        *Arriving.of(events, weight, recurrent_weight, t_max),
        delay,
        constants,
        inputs,
        max_spikes,
        t_max,
        is_double,
        is_refractory,
        spikes_once,
    )
    start = constants.start.astype(weight.dtype)
    state = state_at_start(start, batch, out, max_spikes, delay is not None)
    if begin is not None:
        state = in_the_middle(state, begin, constants)
    if out > 0:
        state = lax.while_loop(lambda state: ~jnp.all(state.done), simulation.walk, state)
    shape = (batch, out, max_spikes)
    return result(events, constants, state, shape, is_refractory, delay is not None)


def result(
    events: Input,
    constants: Constants,
    state: State,
    shape: tuple[int, int, int],
    is_refractory: bool,
    delayed: bool,
) -> tuple[Spikes, Order]:
    """What a simulation found, given its last state; ``shape``: that of spike times."""
    time, current, release_current, emitted, heard = (x.reshape(shape) for x in state.spikes)
    # What one neuron does, all others may depend on.
    undefined = undefined_neurons(events, constants, (state.v, state.i))
    undefined = jnp.any(undefined, axis=1)[:, None, None]
    time = jnp.where(undefined, jnp.nan, time)
    spikes = Spikes(
        time,
        current,
        release_current if is_refractory else current,
        state.overflow,
        jnp.isfinite(time),
    )
    return spikes, Order(emitted, heard if delayed else emitted)
