"""The membrane voltage of LIF neurons at given times, simulated or given their spikes."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ._adjoint import weights_of
from ._constants import Constant, Constants, Form
from ._events import Events
from ._kernel import propagator
from ._layer import run
from ._lif import Given, Layer, check_settings, prepare, too_many
from ._observed import check_observed
from ._overflow import OnOverflow, check_policy, handle_overflow
from ._validate import check_query_times


def lif_trace(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    times: Array | np.ndarray,
    *,
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
    validate: bool = True,
) -> Array:
    """Membrane voltage of the layer that `lif` simulates, for plots and for losses on voltages.

    Exact at every time, with no grid in between, and differentiable like `lif`, including the way
    in which the neurons' own spikes move.

    **Arguments:** ``times``: when to look, seconds, shape ``(T,)`` or ``(..., T)``, any order; at a
    spike's own time the voltage is already ``v_reset``. All others as in `lif`; ``max_spikes`` must
    have room for all spikes up to the times of interest, and ``t_max`` must not lie before them:
    after it the voltage goes on without spikes.

    **Returns:** voltages, shape ``(..., out, T)``.
    """
    check_policy(on_overflow)
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    settings = check_settings(given, max_spikes, t_max, "eventprop", min_slope, form)
    layer = prepare(spikes, weight, given, validate)
    check_query_times(times, layer.leading, layer.weight.dtype, values=validate)
    own, health = run(settings, layer.events, layer.weight, layer.constants)
    if not settings.form.spikes_once:
        handle_overflow(health.overflow, on_overflow, too_many(max_spikes))
    return look(layer, own, times)


def lif_observed_trace(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    observed: Array | np.ndarray,
    times: Array | np.ndarray,
    *,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    validate: bool = True,
) -> Array:
    """Membrane voltage of neurons that spiked when they were observed to.

    Each observed spike resets its neuron; nothing is simulated, and the voltage may be anywhere
    when they come. Differentiable with respect to everything, ``observed`` included. With a
    layer's own spikes it is the voltage of that layer, for one with recurrent connections too:
    append its spikes to the input, and its recurrent weights to the weights.

    **Arguments:** ``observed``: spike times of the neurons, seconds, shape ``(..., out, K)``,
    ascending, ``inf`` where there is no spike. All others as in `lif_trace`.

    **Returns:** voltages, shape ``(..., out, T)``.
    """
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    layer = prepare(spikes, weight, given, validate)
    check_observed(observed, layer.leading, layer.weight, validate)
    check_query_times(times, layer.leading, layer.weight.dtype, values=validate)
    own = jnp.asarray(observed).reshape(math.prod(layer.leading), *observed.shape[-2:])
    return look(layer, own, times)


def look(layer: Layer, own: Array, times: Array | np.ndarray) -> Array:
    """The voltage at ``times``, given the layer's own spikes."""
    count = times.shape[-1]
    looks = jnp.broadcast_to(jnp.asarray(times), (*layer.leading, count))
    looks = looks.reshape(math.prod(layer.leading), count)
    return layer.unflatten(_voltage(layer.events, layer.weight, own, looks, layer.constants))


@jax.jit
def _voltage(events: Events, weight: Array, own: Array, times: Array, c: Constants) -> Array:
    event_weight, _ = weights_of(events, weight)
    tau_mem, tau_syn = c.tau_mem[..., None], c.tau_syn[..., None]
    present = jnp.isfinite(events.time)[:, None, :]
    event = jnp.where(present, events.time[:, None, :], 0)

    def at(t: Array) -> Array:
        t = t[:, None]
        last = jnp.max(jnp.where(own <= t[..., None], own, -jnp.inf), axis=-1, initial=-jnp.inf)
        has_spiked = last > -jnp.inf
        release = jnp.where(has_spiked, jnp.where(has_spiked, last, 0) + c.refractory, 0)
        held = release > t
        # The current is never reset: an event before the release acts as its remainder then.
        start = jnp.minimum(release, t)[..., None]
        acting = jnp.maximum(event, start)
        arrived = present & (event <= t[..., None])
        wait = jnp.where(arrived, acting - event, 0)
        u = jnp.where(arrived, t[..., None] - acting, 0)
        response = jnp.exp(-wait / tau_syn) * propagator(u, tau_mem, tau_syn).psp
        driven = jnp.sum(jnp.where(arrived, event_weight, 0) * response, axis=-1)
        begin = jnp.where(has_spiked, c.reset, c.start)
        free = begin * jnp.exp(-(t - start[..., 0]) / c.tau_mem) + driven
        return c.v_leak + jnp.where(held, c.reset, free)

    return jnp.moveaxis(lax.map(at, times.T), 0, -1)
