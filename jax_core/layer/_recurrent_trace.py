"""Voltages and currents of a recurrent LIF layer at given times."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from .._validate import check_query_times
from ..connect._protocol import Connections
from ..neuron._constants import Constant, Form
from ..walk._moments import sources
from ..walk._walk import Quantity, check_quantity
from ._prepared import Given, Layer, check_settings
from ._recurrent_connections import prepare_recurrent
from ._recurrent_lif import ends_samples, prepare_recurrence, run_layer
from ._trace import look, prepare_output


def recurrent_lif_trace(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array | np.ndarray,
    times: Array | np.ndarray,
    *,
    output: Array | np.ndarray | None = None,
    quantity: Quantity = "voltage",
    recurrent_delay: Constant | None = None,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    max_spikes: int = 1,
    t_max: float | Array = math.inf,
    min_slope: float | Array = 1e-3,
    on_overflow: OnOverflow = "error",
    form: Form | None = None,
    connections: Connections | None = None,
    validate: bool = True,
) -> Array:
    """Membrane voltage, or current, of the layer that `recurrent_lif` simulates, as `lif_trace`.

    **Arguments:** ``times``, ``output`` and ``quantity`` as in `lif_trace`, but for the current
    the layer's spikes matter too; all others as in `recurrent_lif`. A sample that ends for want of
    room has no spikes thereafter, and voltages accordingly.

    **Returns:** voltages or currents, shape ``(..., out, T)``.
    """
    check_policy(on_overflow)
    check_quantity(quantity)
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    settings = check_settings(given, max_spikes, t_max, "eventprop", min_slope, form)
    layer = prepare_recurrent(spikes, weight, given, validate, connections)
    recurrent, delay = prepare_recurrence(
        recurrent_weight, recurrent_delay, weight, layer.neurons, validate
    )
    check_query_times(times, layer.leading, layer.weight.dtype, values=validate)
    if output is not None:
        own = prepare_output(output, layer, "output", validate)
        own = own if layer.places is None else jnp.swapaxes(own[:, :, 0], 0, 1)
    else:
        own, health = run_layer(settings, layer, recurrent, delay)
        if not settings.form.spikes_once:
            handle_overflow(health.overflow, on_overflow, ends_samples(max_spikes))
    if layer.places is None and (delay is None or delay.ndim < 2):
        received = layer._replace(
            events=_with_own(layer.events, layer.weight.shape[1], own, delay),
            weight=jnp.concatenate([layer.weight, recurrent], axis=1),
        )
    else:
        received = _each_with_own(layer.apart(), recurrent, own, delay)
        own = jnp.swapaxes(own, 0, 1)[:, :, None]
    return look(received, own, times, quantity, settings.form.is_refractory)


def _each_with_own(layer: Layer, recurrent_weight: Array, own: Array, delay: Array | None) -> Layer:
    """A layer in which each neuron hears all spikes after delays of its own."""
    delays = jnp.zeros((), own.dtype) if delay is None else delay
    delays = jnp.broadcast_to(delays, recurrent_weight.shape)
    with_own = partial(_with_own, inputs=layer.weight.shape[2], own=own)
    return layer._replace(
        events=jax.vmap(lambda events, delay: with_own(events, delay=delay))(layer.events, delays),
        weight=jnp.concatenate([layer.weight, recurrent_weight[:, None]], axis=2),
    )


def _with_own(events: Events, inputs: int, own: Array, delay: Array | None) -> Events:
    """Input events, and the layer's own spikes as if ``inputs`` more neurons had sent them."""
    samples, neurons, room = own.shape
    arriving = own if delay is None else own + jnp.broadcast_to(delay, (neurons,))[:, None]
    sender = inputs + jnp.repeat(jnp.arange(neurons, dtype=jnp.int32), room)
    sender = jnp.broadcast_to(sender, (samples, neurons * room))
    return Events(
        jnp.concatenate([events.time, arriving.reshape(samples, neurons * room)], axis=1),
        jnp.concatenate([sources(events, inputs), sender], axis=1),
    )
