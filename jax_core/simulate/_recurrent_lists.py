"""Event-driven simulation of a recurrent layer at a cost that follows connections.

Between two things that reach it a neuron is left alone, at the time of the last one, and only its
next crossing is known. An input, or a spike of the layer that arrives, moves those neurons that
hear it, and a spike its own neuron: all others, however many, cost a comparison of times. As in
`_recurrent` the samples of a batch go on in lockstep, each with a clock of its own.

With few neurons in a step, what it costs is how many operations XLA makes of it. So what belongs
to a neuron stands in one array.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..neuron._crossing import advance, find_bracket, solve_crossing
from ..neuron._kernel import propagator
from ._events import Input, Spikes, undefined_neurons
from ._recurrent_state import NEVER, Order

# Minima of rows of so many are found by vector instructions.
_WIDTH = 32


class Hearers(NamedTuple):
    """The neurons that hear each source: inputs, then neurons of the layer, then nothing.

    The first that hears a neuron of the layer is always itself, with a weight of 0 if need be.
    """

    neuron: Array
    """int32 ``(in + out + 1, longest)``, ``out`` where a list is shorter."""
    weight: Array

    @classmethod
    def of(cls, of_input: Array, weight: Array, own: Array, own_weight: Array) -> "Hearers":
        """From lists of inputs and of the layer's neurons, each as long as it is."""
        out, longest = len(own), max(of_input.shape[1], own.shape[1])

        def together(lists: tuple[Array, Array], absent: int) -> Array:
            padded = [
                jnp.pad(x, ((0, 0), (0, longest - x.shape[1])), constant_values=absent)
                for x in lists
            ]
            nothing = jnp.full((1, longest), absent, padded[0].dtype)
            return jnp.concatenate([*padded, nothing])

        return cls(together((of_input, own), out), together((weight, own_weight), 0))


class _Neurons(NamedTuple):
    """What neurons are; of all, of those that something reaches, or of one."""

    v: Array
    i: Array
    since: Array
    """When ``v`` and ``i`` hold: after the clock in a refractory period."""
    at_release: Array
    """Currents at the end of the last refractory period."""


class _State(NamedTuple):
    """The state of all samples; what has a name in `State` is the same here."""

    step: Array
    clock: Array
    until: Array
    """Spikes up to then are of one moment with that at the clock, ``-inf`` if none is there."""
    arrived: Array
    done: Array
    neurons: Array
    """All of `_Neurons`, ``(batch, out, 4)``."""
    crossing: Array
    """When neurons spike next if nothing else reaches them, ``inf`` for never, ``(batch, out)``."""
    fired: Array
    heard: Array
    """How many of these spikes have arrived at the layer's neurons."""
    due: Array
    """When the next of them arrives, ``inf`` where there is none."""
    under_way: Array
    """How many spikes are on their way, ``(batch,)``."""
    overflow: Array
    record: Array
    """Times of spikes, and currents at them and at their releases, ``(batch, out * K, 3)``."""
    order: Array
    """`Order`, ``(batch, out * K, 2)``."""


class _Step(NamedTuple):
    """What happens in a step, in each sample."""

    neuron: Array
    """That which spikes, or whose spike arrives."""
    is_spike: Array
    is_input: Array
    is_own: Array
    """Whether an earlier spike arrives."""
    at_once: Array
    """Whether a spike arrives in the same step, as it takes no time and nothing is before it."""
    row: Array
    """The source whose list of neurons this is about."""


@dataclass(frozen=True, eq=False)
class _Simulation:
    """A layer and its input, with the steps of their simulation."""

    time: Array
    """Times of input events, ``(batch, M + 1)``, ``inf`` for those that do not count."""
    source: Array
    hearers: Hearers
    delay: Array | None
    """Of spikes on their way to the layer's neurons, ``(out,)``."""
    constants: Constants
    inputs: int
    out: int
    max_spikes: int
    t_max: Array | float
    is_double: bool
    is_refractory: bool
    spikes_once: bool

    @property
    def samples(self) -> Array:
        return jnp.arange(self.time.shape[0])

    def is_neuron(self, n: Array) -> Array:
        """Which of all neurons is neuron ``n`` of each sample, ``(batch, out)``."""
        return jnp.arange(self.out, dtype=jnp.int32) == n[:, None]

    def walk(self, state: _State) -> _State:
        """Go on to the next spike, input or arrival of each sample."""
        n, crossing = _first(state.crossing)
        at = self.samples, state.arrived
        arrival, source = self.time[at], self.source[at]
        m, due = lax.cond(
            jnp.any(state.under_way > 0), _first, lambda due: (n, due[:, 0]), state.due
        )
        is_own = (state.under_way > 0) & (due < arrival) & (due <= self.t_max)
        arrival = jnp.where(is_own, due, arrival)
        together = crossing <= state.until
        is_spike = ((crossing < arrival) | together) & ~state.done
        arrives = ~is_spike & jnp.isfinite(arrival) & ~state.done
        lost = is_spike & (state.fired[self.samples, n] >= self.max_spikes)
        clock = jnp.where(is_spike & ~together, crossing, state.clock)
        until = jnp.where(together, state.until, clock * (1 + 4 * jnp.finfo(clock.dtype).eps))
        at_once = jnp.zeros_like(is_spike)
        if self.delay is None:
            rest = jnp.where(self.is_neuron(n), jnp.inf, state.crossing)
            at_once = is_spike & (state.under_way == 0) & ~(_least(rest) <= until)
        neuron = jnp.where(is_own & arrives, m, n)
        of_layer = is_spike | is_own
        step = _Step(
            neuron=neuron,
            is_spike=is_spike & ~lost,
            is_input=arrives & ~is_own,
            is_own=arrives & is_own,
            at_once=at_once & ~lost,
            row=jnp.where(of_layer, self.inputs + neuron, source),
        )
        state = state._replace(
            step=state.step + 1,
            clock=jnp.where(arrives, arrival, clock),
            until=jnp.where(is_spike & ~at_once, until, -jnp.inf),
            arrived=state.arrived + step.is_input.astype(jnp.int32),
            done=state.done | lost | ~(is_spike | arrives),
            overflow=state.overflow | (lost[:, None] & self.is_neuron(n)),
        )
        return self.move(state, step)

    def move(self, state: _State, step: _Step) -> _State:
        """Let a neuron spike, and those that hear something receive it."""
        heard = self.hearers.neuron[step.row]
        sender = jnp.arange(heard.shape[1]) == 0
        spiking = step.is_spike[:, None] & sender
        arrives = step.is_input | step.is_own | step.at_once
        reached = jnp.where(arrives[:, None] | spiking, heard, self.out)
        c = Constants(*(x[reached] if x.ndim else x for x in self.constants))
        at = self.samples[:, None], reached
        clock = state.clock[:, None]
        before = _Neurons(*jnp.moveaxis(state.neurons.at[at].get(mode="clip"), 2, 0))
        u = jnp.maximum(clock - before.since, 0)
        v, i = advance(before.v, before.i, propagator(u, c.tau_mem, c.tau_syn))
        state = self.note(state, step, i[:, 0], before.at_release[:, 0])
        given = jnp.where(arrives[:, None], self.hearers.weight[step.row], 0)
        since, at_release = jnp.maximum(before.since, clock), before.at_release
        if self.is_refractory:
            since = jnp.where(spiking, clock + c.refractory, since)
            given = given * jnp.exp(-(since - clock) / c.tau_syn)
            i = jnp.where(spiking, i * jnp.exp(-c.refractory / c.tau_syn), i)
            # What arrives in a pause belongs to the release, but not where that is the spike.
            at_release = jnp.where(spiking, i, at_release)
            at_release = jnp.where(since > clock, i + given, at_release)
        i = i + given
        now = _Neurons(jnp.where(spiking, c.reset, v), i, since, at_release)
        able = reached < self.out
        if self.spikes_once:
            able &= ~spiking & (state.fired.at[at].get(mode="clip") == 0)
        return state._replace(
            neurons=state.neurons.at[at].set(jnp.stack(now, axis=2), mode="drop"),
            crossing=state.crossing.at[at].set(self.cross(now, able, c), mode="drop"),
        )

    def cross(self, now: _Neurons, able: Array, c: Constants) -> Array:
        """When neurons cross their thresholds if nothing else reaches them."""
        v, i, since, _ = now
        u_end = self.t_max - since
        is_finite = jnp.isfinite(u_end)
        v_end, _ = advance(v, i, propagator(jnp.where(is_finite, u_end, 0), c.tau_mem, c.tau_syn))
        v_end = jnp.where(is_finite, v_end, 0)
        bracket = find_bracket(v, i, u_end, v_end, c.threshold, c.tau_mem, c.tau_syn)
        bracket = bracket._replace(exists=bracket.exists & able & (u_end > 0))
        u = solve_crossing(v, i, bracket, c.threshold, c.tau_mem, c.tau_syn, self.is_double)
        return jnp.where(bracket.exists, since + u, jnp.inf)

    def note(self, state: _State, step: _Step, current: Array, at_release: Array) -> _State:
        """Write down a spike, and send it on its way; or take note of one that arrives."""
        samples, room, nowhere = self.samples, self.max_spikes, state.record.shape[1]
        at = samples, step.neuron
        fired, heard = state.fired[at], state.heard[at]
        slot = jnp.where(step.is_spike, step.neuron * room + fired, nowhere)
        spike = jnp.stack([state.clock, current, current], axis=1)
        record = state.record.at[samples, slot].set(spike, mode="drop")
        if self.is_refractory:
            previous = jnp.where(step.is_spike & (fired > 0), slot - 1, nowhere)
            record = record.at[samples, previous, 2].set(at_release, mode="drop")
        number = jnp.broadcast_to(2 * state.step, fired.shape)
        # Spikes precede what arrives in the same step.
        once_heard = jnp.where(step.at_once, number + 1, NEVER)
        order = state.order.at[samples, slot].set(
            jnp.stack([number, once_heard], axis=1), mode="drop"
        )
        arrives = step.is_own | step.at_once
        sets_out = (step.is_spike & ~step.at_once).astype(jnp.int32)
        later = jnp.where(step.is_own, step.neuron * room + heard, nowhere)
        order = order.at[samples, later, 1].set(number, mode="drop")
        fired, heard = fired + step.is_spike.astype(jnp.int32), heard + arrives.astype(jnp.int32)
        # Spikes of a neuron arrive one after the other.
        waiting = jnp.minimum(step.neuron * room + heard, nowhere - 1)
        due = record[samples, waiting, 0]
        due = due if self.delay is None else due + self.delay[step.neuron]
        return state._replace(
            fired=state.fired.at[at].set(fired),
            heard=state.heard.at[at].set(heard),
            due=state.due.at[at].set(jnp.where(heard < fired, due, jnp.inf)),
            under_way=state.under_way + sets_out - step.is_own.astype(jnp.int32),
            record=record,
            order=order,
        )


def _least(x: Array) -> Array:
    """The minima of ``x``, ``(batch, n)``; ``inf`` of none."""
    rows = _in_rows(x, jnp.inf)
    return jnp.min(jnp.min(rows, axis=1, initial=jnp.inf), axis=1)


def _first(x: Array) -> tuple[Array, Array]:
    """Where the minima of ``x``, ``(batch, n)``, are first, and the minima."""
    least, last = _least(x), x.shape[1] - 1
    place = jnp.where(x == least[:, None], jnp.arange(x.shape[1], dtype=jnp.int32), last)
    return jnp.min(jnp.min(_in_rows(place, last), axis=1), axis=1), least


def _in_rows(x: Array, absent: float) -> Array:
    """``x``, ``(batch, n)``, as ``(batch, rows, _WIDTH)``, filled up with ``absent``."""
    batch, n = x.shape
    rows = -(-n // _WIDTH)
    filled = jnp.pad(x, ((0, 0), (0, rows * _WIDTH - n)), constant_values=absent)
    return filled.reshape(batch, rows, _WIDTH)


def simulate_lists(
    events: Input,
    inputs: int,
    hearers: Hearers,
    delay: Array | None,
    constants: Constants,
    max_spikes: int,
    t_max: Array | float,
    is_double: bool,
    is_refractory: bool,
    spikes_once: bool,
) -> tuple[Spikes, Order]:
    """What `simulate_recurrent` finds, with lists of who hears whom instead of matrices.

    `Order` numbers spikes and their arrivals one by one; of spikes of one moment all are emitted
    before any of them is heard.
    """
    batch, dtype = events.time.shape[0], events.time.dtype
    out = len(hearers.neuron) - 1 - inputs
    present = (events.time <= t_max) & jnp.isfinite(events.time)
    known = present & (events.pre >= 0) & (events.pre < inputs)
    one_more = ((0, 0), (0, 1))
    simulation = _Simulation(
        jnp.pad(jnp.where(present, events.time, jnp.inf), one_more, constant_values=jnp.inf),
        jnp.pad(jnp.where(known, events.pre, inputs + out), one_more),
        hearers,
        None if delay is None else jnp.broadcast_to(delay, (out,)),
        constants,
        inputs,
        out,
        max_spikes,
        t_max,
        is_double,
        is_refractory,
        spikes_once,
    )
    state = _at_start(simulation, constants.start.astype(dtype), batch)
    if out > 0:
        state = lax.while_loop(lambda state: ~jnp.all(state.done), simulation.walk, state)
    shape = batch, out, max_spikes
    time, current, release_current = (x.reshape(shape) for x in jnp.moveaxis(state.record, 2, 0))
    emitted, heard = (x.reshape(shape) for x in jnp.moveaxis(state.order, 2, 0))
    # What one neuron does, all others may depend on.
    state_of_all = state.neurons[..., 0], state.neurons[..., 1]
    undefined = jnp.any(undefined_neurons(events, constants, state_of_all), axis=1)
    if delay is not None:
        undefined |= jnp.any(jnp.isnan(delay))
    time = jnp.where(undefined[:, None, None], jnp.nan, time)
    spikes = Spikes(time, current, release_current, state.overflow, jnp.isfinite(time))
    return spikes, Order(emitted, heard)


def _at_start(simulation: _Simulation, start: Array, batch: int) -> _State:
    out = simulation.out
    zero = jnp.zeros((batch, out), start.dtype)
    count = jnp.zeros((batch, out), jnp.int32)
    none = jnp.zeros((batch, out * simulation.max_spikes), start.dtype)
    neurons = _Neurons(zero + start, zero, zero, zero)
    able = jnp.ones(zero.shape, bool)
    return _State(
        step=jnp.int32(0),
        clock=jnp.zeros(batch, start.dtype),
        until=jnp.full(batch, -jnp.inf, start.dtype),
        arrived=jnp.zeros(batch, jnp.int32),
        done=jnp.zeros(batch, bool),
        neurons=jnp.stack(neurons, axis=2),
        crossing=simulation.cross(neurons, able, simulation.constants),
        fired=count,
        heard=count,
        due=jnp.full_like(zero, jnp.inf),
        under_way=jnp.zeros(batch, jnp.int32),
        overflow=jnp.zeros((batch, out), bool),
        record=jnp.stack([jnp.full_like(none, jnp.inf), none, none], axis=2),
        order=jnp.full((*none.shape, 2), NEVER, jnp.int32),
    )
