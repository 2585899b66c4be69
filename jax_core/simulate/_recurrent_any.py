"""Event-driven simulation of a recurrent layer of neurons of any model.

As `_recurrent`, from one thing that happens in a sample to the next. Here all neurons that may
cross their threshold before the next arrival are solved for, as nothing is known of them.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..adjoint._replay import Motion, Now
from ..neuron._protocol import Neuron
from ._arrivals import Arrivals, Arriving
from ._events import Input, Spikes, undefined_neurons
from ._recurrent_state import NEVER, Order, Record, Way
from ._start import Start, where
from ._targets import Targets


class _State(NamedTuple):
    """The state of all samples; what has a name in `State` is the same here."""

    step: Array
    clock: Array
    arrived: Array
    done: Array
    neurons: Any
    """The neurons' states at the clock."""
    hold: Array
    fired: Array
    overflow: Array
    way: Way | None
    spikes: Record


class _Emission(NamedTuple):
    waiting: Array
    neurons: Any
    spikes: Record


@dataclass(frozen=True, eq=False)
class _Simulation(Arrivals):
    """A layer and its input, with the steps of their simulation."""

    time: Array
    source: Array
    columns: Array
    delay: Array | None
    neuron: Neuron
    inputs: int
    max_spikes: int
    t_max: Array | float

    @property
    def motion(self) -> Motion:
        return Motion(self.neuron, jnp.zeros((), self.time.dtype))

    def walk(self, state: _State) -> _State:
        """Go on to the next event of each sample."""
        arrival, source = self.next_arrival(state)
        end = jnp.minimum(arrival, self.t_max)
        crossing = self.next_crossing(state, end)
        first = jnp.min(crossing, axis=1)
        is_spike = jnp.isfinite(first)
        is_arrival = ~is_spike & jnp.isfinite(arrival) & ~state.done
        clock = jnp.where(is_spike, jnp.minimum(state.clock + first, end), state.clock)
        state = self.go_on(state, jnp.where(is_arrival, arrival, clock))
        state = self.hear(state, source, is_arrival)
        lost = jnp.isfinite(crossing) & (state.fired >= self.max_spikes)
        state = self.spike(state, jnp.isfinite(crossing) & ~lost)
        return state._replace(
            step=state.step + 1,
            done=state.done | ~(is_spike | is_arrival) | jnp.any(lost, axis=1),
            overflow=state.overflow | lost,
        )

    def next_crossing(self, state: _State, end: Array) -> Array:
        """When from now on the first neurons spike, ``inf`` for all others."""
        now, neuron = state.neurons, self.neuron
        rest = jnp.maximum(state.hold - state.clock[:, None], 0)
        able = ~state.done[:, None] & jnp.isfinite(rest)
        rest = jnp.where(able, rest, 0)
        if neuron.pauses:
            released = neuron.held(now, neuron.go(now, neuron.flow(rest)), rest)
            now = where(rest > 0, released, now)
        u_end = (end - state.clock)[:, None] - rest
        able &= u_end > 0
        u_end = jnp.where(able, u_end, 0)
        flow = neuron.flow(jnp.where(jnp.isfinite(u_end), u_end, 0))
        found = neuron.find(now, u_end, flow)
        found = found._replace(exists=found.exists & able)
        crossing = jnp.where(found.exists, rest + neuron.solve(now, found), jnp.inf)
        first = jnp.min(crossing, axis=1, initial=jnp.inf, keepdims=True)
        # As in `earliest_crossings`: within rounding of the time it is one moment.
        until = first + 4 * jnp.finfo(first.dtype).eps * (state.clock[:, None] + first)
        return jnp.where(crossing <= until, first, jnp.inf)

    def go_on(self, state: _State, clock: Array) -> _State:
        """Propagate the neurons to the time of the next event."""
        before = jnp.broadcast_to(state.clock[:, None], state.hold.shape)
        now = self.motion.go_on(Now(before, state.neurons, state.hold), clock[:, None])
        return state._replace(clock=clock, neurons=now.state)

    def hear(self, state: _State, source: Array, is_arrival: Array) -> _State:
        """Let arrive what arrives now."""
        source = jnp.where(is_arrival, source, self.nothing)
        state = self.note_arrival(state, source, is_arrival)
        return state._replace(neurons=self.arrive(state.neurons, source))

    def arrive(self, neurons: Any, source: Array) -> Any:
        """The neurons after what comes from ``source`` has arrived in each sample."""
        moved = self.neuron.receive(neurons, self.columns[source], jnp.int32(0))
        return where((source != self.nothing)[:, None], moved, neurons)

    def spike(self, state: _State, spiking: Array) -> _State:
        """Let neurons spike, all of them before any of their spikes arrives."""
        slope, now = self.neuron.slope(state.neurons), state.clock[:, None]
        neurons = where(spiking, self.neuron.jump(state.neurons), state.neurons)

        def emit(emission: _Emission) -> _Emission:
            return self.emit(state, slope, emission)

        emission = lax.while_loop(
            lambda emission: jnp.any(emission.waiting),
            emit,
            _Emission(spiking, neurons, state.spikes),
        )
        return self.send(state, spiking, now)._replace(
            neurons=emission.neurons,
            hold=jnp.where(spiking, now + self.motion.pause, state.hold),
            fired=state.fired + spiking.astype(jnp.int32),
            spikes=emission.spikes,
        )

    def emit(self, state: _State, slope: Array, emission: _Emission) -> _Emission:
        """Write down the spike of one neuron of each sample, and let it arrive if it takes no
        time."""
        waiting, neurons, spikes = emission
        n = jnp.argmax(waiting, axis=1).astype(jnp.int32)
        at = self.samples, n
        is_spike = jnp.any(waiting, axis=1)
        slot = jnp.where(is_spike, self.place(state, n), self.nowhere)

        def note(store: Array, value: Array) -> Array:
            return store.at[self.samples, slot].set(value, mode="drop")

        if self.delay is None:
            neurons = self.arrive(neurons, jnp.where(is_spike, self.inputs + n, self.nothing))
        spikes = spikes._replace(
            time=note(spikes.time, state.clock),
            current=note(spikes.current, slope[at]),
            emitted=note(spikes.emitted, jnp.broadcast_to(state.step, n.shape)),
        )
        return _Emission(waiting.at[at].set(False), neurons, spikes)


@dataclass(frozen=True, eq=False)
class _ByConnection(_Simulation):
    """The same where each connection within the layer has a delay of its own.

    The names of own spikes are ``inputs`` and more; a source of -1 gives nothing. When a spike is
    heard is written down for each neuron, ``(batch, out * K, out)``.
    """

    targets: Targets

    def hear(self, state: _State, source: Array, is_arrival: Array) -> _State:
        assert state.way is not None
        is_own, record = is_arrival & (source >= self.inputs), state.spikes
        spike, samples = jnp.where(is_own, source - self.inputs, 0), self.samples
        way, due, own = self.targets.reach(state.way, record.time, spike, is_own, state.clock)
        heard = jnp.where(due, state.step, record.heard[samples, spike])
        at = samples, jnp.where(is_own, spike, self.nowhere)
        is_input = is_arrival & ~is_own
        given = jnp.where(is_input, source, -1)
        moved = self.neuron.receive(state.neurons, own + self.columns[given], jnp.int32(0))
        return state._replace(
            arrived=state.arrived + is_input.astype(jnp.int32),
            neurons=where(is_arrival[:, None], moved, state.neurons),
            way=way,
            spikes=record._replace(heard=record.heard.at[at].set(heard, mode="drop")),
        )

    def send(self, state: _State, spiking: Array, now: Array) -> _State:
        assert state.way is not None
        return state._replace(way=self.targets.send(state.way, spiking, state.fired, now))


def simulate_recurrent_any(
    events: Input,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: Neuron,
    max_spikes: int,
    t_max: Array | float,
    start: Start,
) -> tuple[Spikes, Order]:
    """`simulate_recurrent` for neurons of any model; of each spike its slope is written down.

    With a delay for each connection, ``(out, out)``, `Order.heard` is ``(batch, out, K, out)``.
    """
    batch, (out, inputs) = events.time.shape[0], weight.shape
    arriving = Arriving.of(events, weight, recurrent_weight, t_max)
    layer = delay, neuron, inputs, max_spikes, t_max
    state = _at_start(start, max_spikes, delay is not None)
    if delay is not None and delay.ndim == 2:
        targets = Targets.of(recurrent_weight, delay)
        arriving = arriving._replace(
            source=jnp.where(arriving.source < inputs, arriving.source, -1)
        )
        simulation = _ByConnection(*arriving, *layer, targets)
        heard = jnp.full((batch, out * max_spikes, out), NEVER, jnp.int32)
        spikes = state.spikes._replace(heard=heard)
        state = state._replace(way=targets.start(spikes.time), spikes=spikes)
    else:
        simulation = _Simulation(*arriving, *layer)
    if out > 0:
        state = lax.while_loop(lambda state: ~jnp.all(state.done), simulation.walk, state)
    shape = batch, out, max_spikes
    *of_spikes, heard = state.spikes
    time, current, _, emitted = (x.reshape(shape) for x in of_spikes)
    heard = heard.reshape(*shape, *heard.shape[2:])
    # What one neuron does, all others may depend on.
    undefined = jnp.any(undefined_neurons(events, neuron, state.neurons), axis=1)
    time = jnp.where(undefined[:, None, None], jnp.nan, time)
    spikes = Spikes(time, current, current, state.overflow, jnp.isfinite(time))
    return spikes, Order(emitted, emitted if delay is None else heard)


def _at_start(start: Start, max_spikes: int, delayed: bool) -> _State:
    batch, out = start.hold.shape
    count = jnp.zeros((batch, out), jnp.int32)
    none = jnp.zeros((batch, out * max_spikes), start.hold.dtype)
    never = jnp.full(none.shape, NEVER, jnp.int32)
    return _State(
        step=jnp.int32(0),
        clock=jnp.zeros(batch, start.hold.dtype),
        arrived=jnp.zeros(batch, jnp.int32),
        done=jnp.zeros(batch, bool),
        neurons=start.state,
        hold=start.hold,
        fired=count,
        overflow=jnp.zeros((batch, out), bool),
        way=Way(count, jnp.full_like(start.hold, jnp.inf)) if delayed else None,
        spikes=Record(jnp.full_like(none, jnp.inf), none, none, never, never),
    )
