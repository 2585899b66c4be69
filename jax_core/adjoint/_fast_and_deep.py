"""The derivative of first spikes by Fast & Deep, in both directions and to second order."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._events import Events
from ..neuron._constants import Constants
from ..simulate._events import Spikes
from ._eventprop import slope_at_spike, slope_floor
from ._first_spike import change_of, first_spike_time
from ._method import in_order

if TYPE_CHECKING:
    from ..layer._differentiable import Settings


def with_derivative(
    settings: "Settings", events: Events, weight: Array, constants: Constants, spikes: Spikes
) -> Array:
    """The first spikes ``(batch, out, 1)``, as functions of what they depend on."""
    spikes = jax.tree.map(lax.stop_gradient, spikes)
    spike = spikes.time[..., 0]
    slope = slope_at_spike(spikes.current, constants)[..., 0]
    floor = slope_floor(constants, settings.min_slope)
    floor = lax.stop_gradient(jnp.where(slope < floor, floor, 0))

    explicit = first_spike_time(
        *in_order(events, weight), weight, spike, floor, constants, settings.form.ratio
    )
    has_gradient = spikes.has_gradient[..., 0] & jnp.isfinite(spike)
    time = spike + change_of(jnp.where(has_gradient, explicit, 0))
    undefined = jnp.isnan(spike)
    return (time + _undefined_change(undefined, events, weight, constants))[..., None]


def _undefined_change(
    undefined: Array, events: Events, weight: Array, constants: Constants
) -> Array:
    """0, with derivatives that are NaN where ``undefined``, ``(batch, out)``."""
    finite = jnp.where(jnp.isinf(events.time), 0, events.time)
    of_neurons = jnp.sum(weight, axis=1)
    for constant in constants[:-1]:
        of_neurons = of_neurons + constant
    depends = of_neurons + jnp.sum(finite, axis=1, keepdims=True)
    factor = jnp.where(undefined, jnp.nan, 0).astype(depends.dtype)
    return factor * change_of(depends)
