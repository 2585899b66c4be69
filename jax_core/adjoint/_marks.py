"""Where the adjoint states of a layer's neurons jump, and how they go on from there.

A lane is a (sample, neuron) pair. Its marks are its spikes and the ends of refractory periods: what
comes before a mark acts on what follows through the lane's state there, and nothing else of it.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..neuron._constants import Constants
from ..neuron._kernel import Propagator, propagator
from ..simulate._events import Spikes
from ..spikes._sort import sort_times
from ._eventprop import Adjoint


class State(NamedTuple):
    """The gradient of the loss with respect to a lane's state at a time before its next mark.

    Its own derivatives are arrays, or ``None`` where nobody asks for them; that of ``v`` in
    ``tau_syn`` is 0.
    """

    v: Array
    """With respect to the voltage."""
    i: Array
    """With respect to the current."""
    v_mem: Any = None
    """The derivative of ``v`` in ``tau_mem``, with the state at the mark fixed."""
    i_mem: Any = None
    """That of ``i``."""
    i_syn: Any = None
    """The derivative of ``i`` in ``tau_syn``."""


class Step(NamedTuple):
    """The propagation over a time, and its derivatives in the time constants, or ``None``."""

    step: Propagator
    of_mem: Any = None
    of_syn: Any = None


def step_over(u: Array, tau_mem: Array, tau_syn: Array, sensitive: bool) -> Step:
    """The step over a time ``u``; with its derivatives if ``sensitive``."""
    if not sensitive:
        return Step(propagator(u, tau_mem, tau_syn))

    def over(tau_mem: Array, tau_syn: Array) -> Propagator:
        return propagator(u, tau_mem, tau_syn)

    taus = tau_mem, tau_syn
    step, of_mem = jax.jvp(over, taus, (jnp.ones_like(tau_mem), jnp.zeros_like(tau_syn)))
    _, of_syn = jax.jvp(over, taus, (jnp.zeros_like(tau_mem), jnp.ones_like(tau_syn)))
    return Step(step, of_mem, of_syn)


def back(state: State, over: Step) -> State:
    """The state before ``over``."""
    (step, of_mem, of_syn), (v, i, v_mem, i_mem, i_syn) = over, state
    earlier = State(step.membrane * v, step.synapse * i + step.psp * v)
    if of_mem is None:
        return earlier
    return earlier._replace(
        v_mem=step.membrane * v_mem + of_mem.membrane * v,
        i_mem=step.synapse * i_mem + step.psp * v_mem + of_mem.psp * v,
        i_syn=step.synapse * i_syn + of_syn.psp * v + of_syn.synapse * i,
    )


class Marks(NamedTuple):
    """The marks of all lanes, ``(batch, out, marks)`` each, ascending along the last axis."""

    time: Array
    exists: Array
    inclusive: Array
    """Whether an event at the very time comes before the mark."""
    v: Array
    """The state before the mark."""
    i: Array
    i_syn: Array
    """Not 0 before a release that an observed spike forestalls."""

    def states(self, constants: Constants, sensitive: bool) -> tuple[State, State]:
        """The states before the marks, and their difference from what they would be without."""
        state = State(self.v, self.i)
        if sensitive:
            none = jnp.zeros_like(self.v)
            state = State(self.v, self.i, none, none, self.i_syn)
        to_next = ((0, 0), (0, 0), (0, 1))
        later = jax.tree.map(lambda x: jnp.pad(x[..., 1:], to_next), state)
        follows = jnp.pad(self.exists[..., 1:], to_next) & self.exists
        u = jnp.where(follows, jnp.roll(self.time, -1, axis=-1), 0)
        u = jnp.maximum(u - jnp.where(follows, self.time, 0), 0)
        step = step_over(u, *_columns(constants), sensitive)
        return state, jax.tree.map(jnp.subtract, state, back(later, step))


def marks_of(spikes: Spikes, adjoint: Adjoint, constants: Constants, is_refractory: bool) -> Marks:
    """The marks, from what neurons did and the adjoint there."""
    tau_mem, tau_syn = _columns(constants)
    is_spike = jnp.isfinite(spikes.time)
    time = jnp.where(is_spike, spikes.time, jnp.inf)
    always = jnp.ones_like(is_spike)
    v, i = -tau_mem * adjoint.v, -tau_syn * adjoint.i
    v, i = jnp.where(is_spike, v, 0), jnp.where(is_spike, i, 0)
    at_spikes = Marks(time, is_spike, always, v, i, jnp.zeros_like(i))
    if not is_refractory:
        return at_spikes
    release = time + constants.refractory[..., None]
    following = jnp.pad(time[..., 1:], ((0, 0), (0, 0), (0, 1)), constant_values=jnp.inf)
    # Observed spikes may violate the refractory period.
    end = jnp.minimum(release, following)
    rest = jnp.where(jnp.isfinite(release), release - jnp.where(jnp.isfinite(end), end, 0), 0)
    held = -tau_syn * adjoint.i_release * jnp.exp(-rest / tau_syn)
    held = jnp.where(jnp.isfinite(release), held, 0)
    at_releases = Marks(
        end,
        jnp.isfinite(end),
        (following < release) | (release <= time),
        jnp.zeros_like(v),
        held,
        held * rest / (tau_syn * tau_syn),
    )

    def interleave(one: Array, other: Array) -> Array:
        return jnp.stack([one, other], axis=-1).reshape(*one.shape[:-1], -1)

    return jax.tree.map(interleave, at_spikes, at_releases)


class Order(NamedTuple):
    """The marks of a layer ordered by the chunk of events that lies before them."""

    begin: Array
    """Where the marks of each chunk begin, and of one more."""
    place: Array
    """Which of all marks, one lane after the other, each is."""
    last: Array
    """How many events lie before a mark, less one; for all marks."""
    is_first: Array
    """Whether a mark is the lane's first in its chunk; for all marks."""
    chunk: Array
    """The last chunk that has marks, -1 if there is none."""


def events_before(marks: Marks, time: Array) -> Array:
    """How many events of these times, ``(batch, M)``, lie before each mark, int32."""
    upto = jnp.where(marks.inclusive, marks.time, jnp.nextafter(marks.time, -jnp.inf))
    return jax.vmap(partial(jnp.searchsorted, side="right"))(time, upto).astype(jnp.int32)


def order_of(marks: Marks, before: Array, size: int, chunks: int) -> Order:
    """Order marks with so many events ``before`` by chunks of that ``size``, of which there are so
    many."""
    last = before - 1
    chunk = jnp.where(marks.exists & (last >= 0), last // size, -1)
    previous = jnp.pad(chunk[..., :-1], ((0, 0), (0, 0), (1, 0)), constant_values=-1)
    # Whole numbers of this size are exact, and floats are sorted fast with their places.
    key, place = sort_times(chunk.reshape(-1).astype(jnp.float32))
    bounds = jnp.arange(chunks + 1, dtype=jnp.float32)
    return Order(
        jnp.searchsorted(key, bounds).astype(jnp.int32),
        place,
        last.reshape(-1),
        (chunk != previous).reshape(-1),
        jnp.max(chunk, initial=-1),
    )


def _columns(constants: Constants) -> tuple[Array, Array]:
    """Time constants that broadcast against ``(batch, out, marks)``."""
    return constants.tau_mem[..., None], constants.tau_syn[..., None]
