"""Simulation of a recurrent layer in which each connection has a delay of its own.

A spike on its way arrives at one neuron after the other, see `_targets`.
Where the input has delays of connections too, an event of it is one connection's, into one neuron.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array, lax

from .._events import Events
from ..neuron._constants import Constants
from ..spikes._sort import sort_times
from ._events import Input, Spikes, sort_input
from ._recurrent import Simulation, result
from ._recurrent_state import State, state_at_start
from ._targets import Targets


@dataclass(frozen=True, eq=False)
class _Simulation(Simulation):
    """The steps of the simulation; what arrives is handed on as what it adds to the currents.

    The names of own spikes are ``inputs`` and more. `Way` has an entry for each of them.
    """

    targets: Targets
    single: Array | None
    """Weights of the input's connections, and one of 0, ``(out * longest + 1,)``, where events are
    of one each."""

    @property
    def nothing(self) -> int:
        return 0

    def drive(self, source: Array) -> Array:
        return source

    def arrive(self, state: State, source: Array, is_arrival: Array) -> tuple[State, Array]:
        is_own = is_arrival & (source >= self.inputs)
        state, own = self.reach(state, jnp.maximum(source - self.inputs, 0), is_own)
        is_input = is_arrival & ~is_own
        if self.single is None:
            given = jnp.where(is_input[:, None], self.columns[source], 0)
            return state._replace(arrived=state.arrived + is_input.astype(jnp.int32)), own + given
        arrived, given = self.hear(self.single, state, is_input)
        return state._replace(arrived=arrived), own + given

    def hear(self, weight: Array, state: State, is_input: Array) -> tuple[Array, Array]:
        """All connections whose input arrives in this moment: how many have, and what it adds."""
        samples, out = self.samples, state.v.shape[1]
        longest = self.inputs // max(out, 1)

        def is_now(arrived: Array) -> Array:
            return is_input & (self.time[samples, arrived] <= state.clock)

        def add(heard: tuple[Array, Array]) -> tuple[Array, Array]:
            arrived, given = heard
            now, connection = is_now(arrived), self.source[samples, arrived]
            given = given.at[samples, connection // max(longest, 1)].add(
                jnp.where(now, weight[connection], 0)
            )
            return arrived + now.astype(jnp.int32), given

        start = state.arrived, jnp.zeros_like(state.i)
        return lax.while_loop(lambda heard: jnp.any(is_now(heard[0])), add, start)

    def reach(self, state: State, spike: Array, is_own: Array) -> tuple[State, Array]:
        """Let a spike reach all neurons at which it is due, and **return** what it adds."""
        assert state.way is not None
        way, _, given = self.targets.reach(state.way, state.spikes.time, spike, is_own, state.clock)
        return state._replace(way=way), given

    def send(self, state: State, spiking: Array, now: Array) -> State:
        assert state.way is not None
        return state._replace(way=self.targets.send(state.way, spiking, state.fired, now))


def simulate_connections(
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array,
    constants: Constants,
    max_spikes: int,
    t_max: Array | float,
    is_double: bool,
    is_refractory: bool,
    spikes_once: bool,
) -> tuple[Spikes, Array]:
    """As `simulate_recurrent`, with a delay for each recurrent connection, ``(out, out)``.

    **Arguments:** ``events``, ``weight``: input to all neurons, ``(batch, M)`` and ``(out, in)``;
    or that of each, ``(out, batch, M)`` and ``(out, 1, inputs of a neuron)``.

    **Returns:** spikes, and the moment of each, as in `Order`.
    """
    batch, out = events.time.shape[-2], recurrent_weight.shape[0]
    is_single = weight.ndim == 3
    order = _sort_connections(events, weight) if is_single else sort_input(events, weight)[0]
    inputs = weight.size if is_single else weight.shape[1]
    present = (order.time <= t_max) & jnp.isfinite(order.time)
    known = present & (order.pre >= 0) & (order.pre < inputs)
    columns = jnp.zeros((0, out), weight.dtype) if is_single else weight.T
    one_more = ((0, 0), (0, 1))
    simulation = _Simulation(
        jnp.pad(jnp.where(present, order.time, jnp.inf), one_more, constant_values=jnp.inf),
        jnp.pad(jnp.where(known, order.pre, -1), one_more, constant_values=-1),
        # The last row is that of -1, too.
        jnp.pad(columns, ((0, 1), (0, 0))),
        delay,
        constants,
        inputs,
        max_spikes,
        t_max,
        is_double,
        is_refractory,
        spikes_once,
        Targets.of(recurrent_weight, delay),
        jnp.pad(weight.ravel(), (0, 1)) if is_single else None,
    )
    start = constants.start.astype(weight.dtype)
    state = state_at_start(start, batch, out, max_spikes, delayed=False)
    state = state._replace(way=simulation.targets.start(state.spikes.time))
    if out > 0:
        state = lax.while_loop(lambda state: ~jnp.all(state.done), simulation.walk, state)
    shape = (batch, out, max_spikes)
    spikes, moments = result(order, constants, state, shape, is_refractory, delayed=False)
    time = jnp.where(jnp.any(jnp.isnan(delay)), jnp.nan, spikes.time)
    return spikes._replace(time=time, has_gradient=jnp.isfinite(time)), moments.emitted


def _sort_connections(events: Events, weight: Array) -> Input:
    """All neurons' input in one order; ``pre`` is the connection's place in the weights."""
    out, batch, slots = events.time.shape
    time, place = sort_times(jnp.moveaxis(events.time, 0, 1).reshape(batch, out * slots))
    return Input(time, place // max(slots // max(weight.shape[2], 1), 1))
