"""What a recurrent layer is in the middle of its simulation."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..neuron._constants import Constants
from ._start import Start

NEVER = jnp.iinfo(jnp.int32).max


class Order(NamedTuple):
    """The order in which things happen: numbers of moments, int32 ``(batch, out, K)``.

    They ascend with time; spikes of one moment have the same.
    """

    emitted: Array
    """The moment of each spike, ``NEVER`` where there is none."""
    heard: Array
    """The moment at which it arrives at the layer's neurons, ``NEVER`` if none; where it arrives at
    each at a time of its own, ``(batch, out, K, out)``."""


class Record(NamedTuple):
    """What is written down of each spike, ``(batch, out * K)``; `Spikes` and `Order` explain it."""

    time: Array
    current: Array
    release_current: Array
    emitted: Array
    heard: Array


class Way(NamedTuple):
    """Delayed spikes on their way, those of a neuron one after the other.

    With a delay for each connection there is an entry per spike, ``(batch, out * K)``, that counts
    the neurons which it has reached.
    """

    arrived: Array
    """How many spikes of each neuron have arrived, int32 ``(batch, out)``."""
    due: Array
    """When the first of the others arrives, ``inf`` where there is none."""


class State(NamedTuple):
    """The state of all samples, each at a time of its own."""

    step: Array
    """The number of the present moment."""
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
    overflow: Array
    way: Way | None
    """``None`` without delays."""
    spikes: Record


def state_at_start(start: Array, batch: int, out: int, max_spikes: int, delayed: bool) -> State:
    """The state at time 0, with voltages ``start``, scalar or ``(out,)``."""
    dtype = start.dtype
    zero = jnp.zeros((batch, out), dtype)
    count = jnp.zeros((batch, out), jnp.int32)
    none = jnp.zeros((batch, out * max_spikes), dtype)
    never = jnp.full(none.shape, NEVER, jnp.int32)
    return State(
        step=jnp.int32(0),
        clock=jnp.zeros(batch, dtype),
        arrived=jnp.zeros(batch, jnp.int32),
        done=jnp.zeros(batch, bool),
        v=zero + start,
        i=zero,
        hold=zero,
        at_release=zero,
        fired=count,
        overflow=jnp.zeros((batch, out), bool),
        way=Way(count, jnp.full_like(zero, jnp.inf)) if delayed else None,
        spikes=Record(jnp.full_like(none, jnp.inf), none, none, never, never),
    )


def in_the_middle(state: State, begin: Start, constants: Constants) -> State:
    """The same, with neurons that something has happened to before."""
    (v, i), hold = begin
    pauses = (hold > 0) & jnp.isfinite(hold)
    rest = jnp.where(pauses, hold, 0)
    return state._replace(
        v=jnp.where(pauses, constants.reset, v),
        i=i * jnp.exp(-rest / constants.tau_syn),
        hold=rest,
        # After its only spike a neuron is done.
        fired=jnp.isinf(hold).astype(jnp.int32),
    )
