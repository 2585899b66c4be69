"""The derivative of a layer's spikes by EventProp, in both directions.

Backwards, `adjoint` goes from gradients of spike times to those of input, weights and constants.
That map is linear; forwards, `tangent` is its transpose.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array

from .._events import Events
from ..neuron._constants import Constants
from ..simulate._events import Spikes
from ..simulate._solver import goes_in_chunks
from ._eventprop import adjoint_at_spikes, of_neurons
from ._through_chunks import through_chunks
from ._through_events import Part, Total, all_at_once, through_events

if TYPE_CHECKING:
    from ..layer._differentiable import Settings

Residuals = tuple["Settings", Events, Array, Constants, Spikes]
Moves = tuple[Array, Array, Constants]
"""Times of the input events ``(batch, M)``, weights, and constants: their tangents or gradients."""

_ThroughEvents = Callable[[Part, Array, Constants, bool], Total]


def adjoint(residuals: Residuals, upstream: Array) -> Moves:
    """Gradients of a loss, from that with respect to the spike times, ``(batch, out, K)``."""
    weight, spikes = residuals[2], residuals[4]
    settings, events = residuals[:2]
    batch, out, room = spikes.time.shape
    chunked = goes_in_chunks(settings.solver, events.time.shape[1], batch * out, room)
    through = through_chunks if chunked else through_events
    time, of_weight, constants = _pull_back(residuals, upstream, through)
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
    return _pull_back(residuals, upstream, all_at_once)


def _pull_back(residuals: Residuals, upstream: Array, through_events: _ThroughEvents) -> Moves:
    settings, events, weight, constants, spikes = residuals
    upstream = jnp.where(spikes.has_gradient, upstream, 0)
    pauses = settings.form.pauses
    at_spikes = adjoint_at_spikes(spikes, upstream, constants, settings.min_slope)
    own = of_neurons(spikes, at_spikes, constants, pauses)
    part = Part(events, spikes, at_spikes)
    time, of_weight, tau = through_events(part, weight, constants, pauses)
    own = own._replace(tau_mem=own.tau_mem + tau[0], tau_syn=own.tau_syn + tau[1])
    return time, of_weight, own
