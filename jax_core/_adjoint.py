"""The derivative of a layer's spikes by EventProp, in both directions.

Backwards, `adjoint` goes from gradients of spike times to those of input, weights and constants.
That map is linear; forwards, `tangent` is its transpose.

What input events contribute is found for all of them at once, or for those that are there only, in
the order of their times and some at a time, so that neither time nor memory grows with empty slots.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array, lax

from ._constants import Constants
from ._eventprop import OfEvents, adjoint_at_spikes, of_events, of_neurons
from ._events import Events
from ._simulate import Spikes, sort_input

if TYPE_CHECKING:
    from ._layer import Settings

Residuals = tuple["Settings", Events, Array, Constants, Spikes]
Moves = tuple[Array, Array, Constants]
"""Times of the input events ``(batch, M)``, weights, and constants: their tangents or gradients."""

# With so few slots for input events, or with arrays (samples, out, slots) larger than that, there
# is one way to go through them; otherwise what is there decides.
_FEW_SLOTS = 64
_LARGEST = 1 << 22
# As many events at a time as give arrays (samples, out, events) of this size, within bounds.
_CHUNK_SIZE = 1 << 14
_SMALLEST_CHUNK, _LARGEST_CHUNK = 8, 32

_Contributions = Callable[[Array, Array], OfEvents]
"""`of_events` of event times and weights."""
_Total = tuple[Array, Array, tuple[Array, Array]]
"""Gradients through all events, of their times, of weights, and of ``(tau_mem, tau_syn)``."""


def adjoint(residuals: Residuals, upstream: Array) -> Moves:
    """Gradients of a loss, from that with respect to the spike times, ``(batch, out, K)``."""
    weight, spikes = residuals[2], residuals[4]
    time, of_weight, constants = _pull_back(residuals, upstream, _through_events)
    undefined = jnp.any(jnp.isnan(spikes.time), axis=-1)
    if weight.shape[0] == 0:
        return time, of_weight, constants
    of_neuron = jnp.where(jnp.any(undefined, axis=0), jnp.nan, 0).astype(weight.dtype)
    of_sample = jnp.where(jnp.any(undefined, axis=1), jnp.nan, 0).astype(weight.dtype)
    return (
        time + of_sample[:, None],
        of_weight + of_neuron[:, None],
        jax.tree.map(lambda x: x + (of_neuron if x.ndim else jnp.sum(of_neuron)), constants),
    )


def tangent(residuals: Residuals, moves: Moves) -> Array:
    """How spike times move, ``(batch, out, K)``; memory grows with all slots for input events."""
    spikes = residuals[-1]
    backwards = partial(pull_back_all, residuals)
    # A derivative of a linear map, from 0 like from anywhere.
    _, transpose = jax.vjp(backwards, jnp.zeros_like(spikes.time))
    (moved,) = transpose(moves)
    return jnp.where(jnp.isnan(spikes.time), jnp.nan, moved)


def pull_back_all(residuals: Residuals, upstream: Array) -> Moves:
    """`adjoint` of all slots at once, which JAX can transpose."""
    return _pull_back(residuals, upstream, _all_at_once)


def _pull_back(
    residuals: Residuals,
    upstream: Array,
    through_events: Callable[[Events, Array, Constants, _Contributions], _Total],
) -> Moves:
    settings, events, weight, constants, spikes = residuals
    upstream = jnp.where(spikes.has_gradient, upstream, 0)
    pauses = settings.form.pauses
    at_spikes = adjoint_at_spikes(spikes, upstream, constants, settings.min_slope)
    own = of_neurons(spikes, at_spikes, constants, pauses)

    def contributions(time: Array, event_weight: Array) -> OfEvents:
        return of_events(time, event_weight, spikes, at_spikes, constants, pauses)

    time, of_weight, tau = through_events(events, weight, constants, contributions)
    own = own._replace(tau_mem=own.tau_mem + tau[0], tau_syn=own.tau_syn + tau[1])
    return time, of_weight, own


def _through_events(
    events: Events, weight: Array, constants: Constants, contributions: _Contributions
) -> _Total:
    samples, slots = events.time.shape
    if slots <= _FEW_SLOTS:
        return _all_at_once(events, weight, constants, contributions)
    in_chunks = partial(_in_chunks, events, weight, constants, contributions)
    if samples * weight.shape[0] * slots > _LARGEST:
        return in_chunks()
    used = jnp.max(jnp.sum(jnp.isfinite(events.time), axis=1), initial=0)
    at_once = partial(_all_at_once, events, weight, constants, contributions)
    return lax.cond(2 * used > slots, at_once, in_chunks)


def _all_at_once(
    events: Events, weight: Array, _: Constants, contributions: _Contributions
) -> _Total:
    event_weight, accumulate = weights_of(events, weight)
    found = contributions(events.time, event_weight)
    return found.time, accumulate(found.weight), found.tau


def _in_chunks(
    events: Events, weight: Array, constants: Constants, contributions: _Contributions
) -> _Total:
    """The events that are there, some after the other."""
    (samples, slots), (out, inputs) = events.time.shape, weight.shape
    chunk = _CHUNK_SIZE // max(samples * out, 1)
    chunk = min(max(chunk, _SMALLEST_CHUNK), _LARGEST_CHUNK)
    order, place = sort_input(events, weight)
    used = jnp.max(jnp.sum(jnp.isfinite(order.time), axis=1, dtype=jnp.int32), initial=0)
    to_width = ((0, 0), (0, -slots % chunk))
    times = jnp.pad(order.time, to_width, constant_values=jnp.inf)
    pres = jnp.pad(jnp.clip(order.pre, 0, max(inputs - 1, 0)), to_width)
    by_input = weight.T

    def go_on(state: tuple[Array, _Total]) -> tuple[Array, _Total]:
        first, (time, of_weight, tau) = state
        part = lax.dynamic_slice_in_dim(times, first, chunk, axis=1)
        pre = lax.dynamic_slice_in_dim(pres, first, chunk, axis=1)
        found = contributions(part, jnp.swapaxes(by_input[pre], 1, 2))
        time = lax.dynamic_update_slice_in_dim(time, found.time, first, axis=1)
        of_weight = of_weight.at[pre].add(jnp.swapaxes(found.weight, 1, 2))
        return first + chunk, (time, of_weight, jax.tree.map(jnp.add, tau, found.tau))

    tau = jnp.zeros_like(constants.tau_mem), jnp.zeros_like(constants.tau_syn)
    start = jnp.zeros_like(times), jnp.zeros_like(by_input), tau
    state = lax.while_loop(lambda state: state[0] < used, go_on, (jnp.int32(0), start))
    time, of_weight, tau = state[1]
    if place is not None:
        rows = jnp.arange(samples)[:, None]
        time = jnp.zeros_like(order.time).at[rows, place].set(time[:, :slots])
    return time[:, :slots], of_weight.T, tau


def weights_of(events: Events, weight: Array) -> tuple[Array, Callable[[Array], Array]]:
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
