"""Gradient methods of one's own, in place of the built-in ones."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._events import Events
from ..neuron._constants import Constants
from ..simulate._events import Spikes, sort_input
from ._eventprop import slope_at_spike
from ._first_spike import change_of


class LayerRun(NamedTuple):
    """What a layer was given and what it did; all but ``spikes`` and ``slope`` differentiable."""

    time: Array
    """Times of input events, first to last, ``inf`` where there is none, ``(batch, M)``."""
    pre: Array
    """The input neurons that they come from, int32 ``(batch, M)``."""
    weight: Array
    """``(out, in)``."""
    constants: Constants
    """By name, each a scalar or ``(out,)``."""
    spikes: Array
    """Spike times, ``inf`` where there is none, ``(batch, out, K)``."""
    slope: Array
    """``tau_mem dV/dt`` at each spike, from below, same shape."""


GradientMethod = Callable[[LayerRun], Array]
"""Spike times ``(batch, out, K)`` as a function of what they depend on; only their derivative
counts."""


def by_method(
    method: GradientMethod,
    events: Events,
    weight: Array,
    constants: Constants,
    spikes: Spikes,
) -> Array:
    """The spike times, with the derivative that a method gives them."""
    spikes = jax.tree.map(lax.stop_gradient, spikes)
    time, pre = in_order(events, weight)
    slope = slope_at_spike(spikes.current, lax.stop_gradient(constants))
    found = method(LayerRun(time, pre, weight, constants, spikes.time, slope))
    if found.shape != spikes.time.shape:
        raise ValueError(
            f"gradient must return spike times of shape {spikes.time.shape} (batch, out, spikes), "
            f"as its argument's spikes have, got {found.shape}"
        )
    has_gradient = spikes.has_gradient & jnp.isfinite(spikes.time)
    return spikes.time + change_of(jnp.where(has_gradient, found, 0))


def in_order(events: Events, weight: Array) -> tuple[Array, Array]:
    """Times, differentiable, and neurons of the input, first to last, absent ones at the end."""
    order, place = sort_input(lax.stop_gradient(events), weight)
    if place is None:
        return events.time, jnp.maximum(order.pre, 0)
    return jnp.take_along_axis(events.time, place, axis=-1), order.pre
