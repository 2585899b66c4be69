"""What all input events of a layer contribute to its gradients, a few samples at a time.

Each pair of a neuron and an event has its share. Arrays of pairs are made for so few samples, or
events, that they stay in a processor's cache, and are summed up before the next ones are made.
Where most slots for events are empty, the events that are there are looked at in the order of their
times, some at a time, so that neither time nor memory grows with empty slots.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._anywhere import anywhere
from .._events import Events
from ..neuron._constants import Constants
from ..simulate._events import Spikes, sort_input
from ._eventprop import Adjoint, OfEvents, of_events

# About so many pairs at a time; more would leave the cache, fewer cost as much as that many.
_PAIRS = 1 << 15
# So many events at a time, if as many slots are there.
_SMALLEST_CHUNK, _LARGEST_CHUNK = 8, 32
# With so few slots for events, empty ones do not matter.
_FEW_SLOTS = 64


class Part(NamedTuple):
    """Some samples of a layer: arrays whose first axis is the samples."""

    events: Events
    """The input, unsorted; ``index`` is ``None`` if it comes neuron by neuron."""
    spikes: Spikes
    adjoint: Adjoint


Total = tuple[Array, Array, tuple[Array, Array]]
"""Gradients through all events: of their times, of weights, and of ``(tau_mem, tau_syn)``."""

_Sums = tuple[Array, tuple[Array, Array]]
"""What is summed up over samples: gradients of weights, and of ``(tau_mem, tau_syn)``."""
_Contributions = Callable[[Part, Array, Array], OfEvents]
"""`of_events` of some samples, given event times and weights."""


def through_events(part: Part, weight: Array, constants: Constants, is_refractory: bool) -> Total:
    """The gradients through the events of all samples."""
    contributions = _contributions(constants, is_refractory)
    in_order = partial(_in_order, part, weight, constants, contributions)
    if part.events.index is not None:
        return in_order()
    slots = part.events.time.shape[1]
    slot_by_slot = partial(_slot_by_slot, part, weight, constants, contributions)
    if slots <= _FEW_SLOTS:
        return slot_by_slot()
    used = jnp.max(jnp.sum(jnp.isfinite(part.events.time), axis=1), initial=0)
    return lax.cond(anywhere(2 * used > slots), slot_by_slot, in_order)


def all_at_once(part: Part, weight: Array, constants: Constants, is_refractory: bool) -> Total:
    """The same without loops, which JAX can transpose; memory grows with all pairs."""
    event_weight, accumulate = _weights_of(part.events, weight)
    found = _contributions(constants, is_refractory)(part, part.events.time, event_weight)
    return found.time, accumulate(found.weight), found.tau


def _contributions(constants: Constants, is_refractory: bool) -> _Contributions:
    def contributions(part: Part, time: Array, event_weight: Array) -> OfEvents:
        return of_events(time, event_weight, part.spikes, part.adjoint, constants, is_refractory)

    return contributions


def _slot_by_slot(
    part: Part, weight: Array, constants: Constants, contributions: _Contributions
) -> Total:
    event_weight, accumulate = _weights_of(part.events, weight)

    def add(sums: _Sums, part: Part) -> tuple[_Sums, Array]:
        found = contributions(part, part.events.time, event_weight)
        return (sums[0] + accumulate(found.weight), _add(sums[1], found.tau)), found.time

    start = jnp.zeros_like(weight), _no_tau(constants)
    pairs = weight.shape[0] * part.events.time.shape[1]
    (of_weight, tau), time = _by_groups(add, start, part, _PAIRS // max(pairs, 1))
    return time, of_weight, tau


def _in_order(
    part: Part, weight: Array, constants: Constants, contributions: _Contributions
) -> Total:
    slots, (out, inputs) = part.events.time.shape[1], weight.shape
    chunk = min(max(_PAIRS // max(out, 1), _SMALLEST_CHUNK), _LARGEST_CHUNK)
    order, place = sort_input(part.events, weight)
    to_width = ((0, 0), (0, chunk * max(-(-slots // chunk), 1) - slots))
    times = jnp.pad(order.time, to_width, constant_values=jnp.inf)
    pres = jnp.pad(jnp.clip(order.pre, 0, max(inputs - 1, 0)), to_width)
    by_input = weight.T

    def add(sums: _Sums, part: Part) -> tuple[_Sums, Array]:
        time, pre = part.events
        used = jnp.max(jnp.sum(jnp.isfinite(time), axis=1, dtype=jnp.int32), initial=0)

        def go_on(state: tuple[Array, _Sums, Array]) -> tuple[Array, _Sums, Array]:
            first, (of_weight, tau), of_time = state
            of_chunk = lax.dynamic_slice_in_dim(time, first, chunk, axis=1)
            source = lax.dynamic_slice_in_dim(pre, first, chunk, axis=1)
            found = contributions(part, of_chunk, jnp.swapaxes(by_input[source], 1, 2))
            of_time = lax.dynamic_update_slice_in_dim(of_time, found.time, first, axis=1)
            of_weight = of_weight.at[source].add(jnp.swapaxes(found.weight, 1, 2))
            return first + chunk, (of_weight, _add(tau, found.tau)), of_time

        start = jnp.int32(0), sums, jnp.zeros_like(time)
        return lax.while_loop(lambda state: anywhere(state[0] < used), go_on, start)[1:]

    start = jnp.zeros_like(by_input), _no_tau(constants)
    sorted_part = part._replace(events=Events(times, pres))
    pairs = out * chunk
    (of_weight, tau), time = _by_groups(add, start, sorted_part, _PAIRS // max(pairs, 1))
    time = time[:, :slots]
    if place is not None:
        rows = jnp.arange(time.shape[0])[:, None]
        time = jnp.zeros_like(time).at[rows, place].set(time)
    return time, of_weight.T, tau


def _by_groups(
    add: Callable[[_Sums, Part], tuple[_Sums, Array]], start: _Sums, part: Part, samples: int
) -> tuple[_Sums, Array]:
    """``add`` all samples, about so many at a time, and put together what it finds of times."""
    count = part.events.time.shape[0]
    groups = -(-count // max(samples, 1))
    if groups <= 1:
        return add(start, part)
    size = -(-count // groups)

    def cut(x: Array, absent: float) -> Array:
        to_groups = ((0, size * groups - count), *((0, 0) for _ in x.shape[1:]))
        return jnp.pad(x, to_groups, constant_values=absent).reshape(groups, size, *x.shape[1:])

    # Samples that fill up the last group have neither events nor spikes.
    cut_up = jax.tree.map(partial(cut, absent=0), part)
    cut_up = cut_up._replace(
        events=cut_up.events._replace(time=cut(part.events.time, jnp.inf)),
        spikes=cut_up.spikes._replace(time=cut(part.spikes.time, jnp.inf)),
    )
    sums, time = lax.scan(add, start, cut_up)
    return sums, time.reshape(groups * size, -1)[:count]


def _weights_of(events: Events, weight: Array) -> tuple[Array, Callable[[Array], Array]]:
    """The weight of each input event, ``(batch or 1, out, M)``, and the transpose of that map."""
    if events.index is None:
        per_neuron = events.time.shape[-1] // max(weight.shape[1], 1)

        def accumulate(x: Array) -> Array:
            return jnp.sum(x.reshape(x.shape[0], *weight.shape, per_neuron), axis=(0, 3))

        return jnp.repeat(weight, per_neuron, axis=1)[None], accumulate

    def gather(weight: Array) -> Array:
        columns = jnp.take(weight, events.index, axis=1, mode="clip")
        return jnp.where(events.index >= 0, columns, 0).swapaxes(0, 1)

    return gather(weight), lambda x: jax.linear_transpose(gather, weight)(x)[0]


def _no_tau(constants: Constants) -> tuple[Array, Array]:
    return jnp.zeros_like(constants.tau_mem), jnp.zeros_like(constants.tau_syn)


def _add(one: Any, other: Any) -> Any:
    return jax.tree.map(jnp.add, one, other)
