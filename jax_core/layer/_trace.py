"""Voltages and currents of LIF neurons at given times, simulated or given their spikes."""

import math
from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import Array

from .._compiled import compiled
from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from .._validate import check_query_times
from ..connect._protocol import Connections
from ..neuron._constants import Constant, Constants, Form, checked_form
from ..walk._moments import sources
from ..walk._walk import Neurons, Quantity, check_quantity, walk
from ..walk._walk_apart import walk_apart
from ._differentiable import run
from ._observed import check_observed
from ._prepared import Given, Layer, check_settings, prepare, too_many


def lif_trace(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    times: Array | np.ndarray,
    *,
    output: Array | np.ndarray | None = None,
    quantity: Quantity = "voltage",
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
    """Membrane voltage, or current, of the layer that `lif` simulates: for plots and for losses.

    Exact at every time, with no grid in between, and differentiable like `lif`, including the way
    in which the neurons' own spikes move. The cost is one walk along input events and ``times``,
    and that of `lif` unless ``output`` is given.

    **Arguments:**

    - ``times``: when to look, seconds, shape ``(T,)`` or ``(..., T)``, any order. Input spikes at
      such a time have arrived; at a spike's own time the voltage is already ``v_reset``.
    - ``output``: the spikes that `lif` found for this input, seconds, shape ``(..., out, K)``.
      Then nothing is simulated, and ``max_spikes``, ``t_max``, ``min_slope`` and ``on_overflow``
      have no effect. Gradients go on through it.
    - ``quantity``: ``"voltage"``, or ``"current"``: the synaptic current, in units of the weights,
      which no spike of the neuron itself touches, so that nothing is simulated either.
    - ``connections``: as in `lif`; ``output`` and what is returned have the axes of its neurons.

    All others as in `lif`; ``max_spikes`` must have room for all spikes up to the times of
    interest, and ``t_max`` must not lie before them: after it the voltage goes on without spikes.

    **Returns:** voltages or currents, shape ``(..., out, T)``.
    """
    check_policy(on_overflow)
    check_quantity(quantity)
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    settings = check_settings(given, max_spikes, t_max, "eventprop", min_slope, form)
    layer = prepare(spikes, weight, given, validate, connections)
    check_query_times(times, layer.leading, layer.weight.dtype, values=validate)
    if output is not None:
        own = prepare_output(output, layer, "output", validate)
    elif quantity == "current":
        own = None
    else:
        own, health = layer.over(partial(run, layer.suited(settings)))
        if not settings.form.spikes_once:
            handle_overflow(health.overflow, on_overflow, too_many(max_spikes))
    return look(layer, own, times, quantity, settings.form.is_refractory)


def lif_observed_trace(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    observed: Array | np.ndarray,
    times: Array | np.ndarray,
    *,
    quantity: Quantity = "voltage",
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    form: Form | None = None,
    connections: Connections | None = None,
    validate: bool = True,
) -> Array:
    """Membrane voltage, or current, of neurons that spiked when they were observed to.

    Each observed spike resets its neuron; nothing is simulated, and the voltage may be anywhere
    when they come. Differentiable with respect to everything, ``observed`` included. With a
    layer's own spikes it is the voltage of that layer, for one with recurrent connections too:
    append its spikes to the input, and its recurrent weights to the weights.

    **Arguments:** ``observed``: spike times of the neurons, seconds, shape ``(..., out, K)``,
    ascending, ``inf`` where there is no spike. All others as in `lif_trace`.

    **Returns:** voltages or currents, shape ``(..., out, T)``.
    """
    check_quantity(quantity)
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    layer = prepare(spikes, weight, given, validate, connections)
    own = prepare_output(observed, layer, "observed", validate)
    check_query_times(times, layer.leading, layer.weight.dtype, values=validate)
    form = checked_form(form, tau_mem, tau_syn, refractory)
    return look(layer, own, times, quantity, form.is_refractory)


def lif_delayed_trace(
    spikes: Array | Events,
    weight: Array,
    output: Array,
    times: Array,
    delay: Array,
    *,
    quantity: Quantity = "voltage",
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    form: Form | None = None,
) -> Array:
    """`lif_observed_trace` of neurons with a rest to which everything happens a delay later.

    **Arguments:** ``output``: their delayed spikes, seconds, shape ``(..., out, K)``; ``delay``:
    seconds, >= 0, shape ``(out,)``. All others as in `lif_observed_trace`; values are not checked.

    **Returns:** voltages or currents, shape ``(..., out, T)``.
    """
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    layer = prepare(spikes, weight, given, validate=False)
    own = prepare_output(jnp.maximum(output - delay[:, None], 0), layer, "output", validate=False)
    form = checked_form(form, tau_mem, tau_syn, refractory)
    delayed = partial(_delayed, quantity, form.is_refractory, delay)
    return layer.unflatten(layer.over(delayed, own, layer.looks(times)))


def prepare_output(output: Array | np.ndarray, layer: Layer, name: str, validate: bool) -> Array:
    """Check the spikes of a layer that are given; **returns** them as ``(batch, out, K)``."""
    check_observed(output, layer, validate, name)
    return layer.flatten(output)


def look(
    layer: Layer,
    own: Array | None,
    times: Array | np.ndarray,
    quantity: Quantity,
    is_refractory: bool,
) -> Array:
    """Voltages or currents at ``times``, given the layer's own spikes as `Layer.flatten` does."""
    states = partial(_states, quantity, is_refractory)
    found = layer.over(states, own, layer.looks(times))
    return layer.unflatten(found)


@compiled("lif_trace", static_argnums=(0, 1))
def _states(
    quantity: Quantity,
    is_refractory: bool,
    events: Events,
    weight: Array,
    c: Constants,
    own: Array | None,
    times: Array,
) -> Array:
    """Voltages or currents ``(batch, out, T)`` at ``times``, ``(batch, T)``."""
    neurons = _neurons(c, is_refractory)
    source = sources(events, weight.shape[1])
    if quantity == "current":
        return walk(events.time, source, weight, None, times, neurons, quantity)
    v = walk(events.time, source, weight, own, times, neurons, quantity)
    return v + c.v_leak[..., None]


@compiled("lif_trace", static_argnums=(0, 1))
def _delayed(
    quantity: Quantity,
    is_refractory: bool,
    delay: Array,
    events: Events,
    weight: Array,
    c: Constants,
    own: Array,
    times: Array,
) -> Array:
    """`_states` of neurons that each look at times of their own."""
    neurons = _neurons(c, is_refractory)
    source = sources(events, weight.shape[1])
    looks = times[:, None] - delay[:, None]
    if quantity == "current":
        return walk_apart(events.time, source, weight, None, looks, neurons, quantity)
    v = walk_apart(events.time, source, weight, own, looks, neurons, quantity)
    return v + c.v_leak[..., None]


def _neurons(c: Constants, is_refractory: bool) -> Neurons:
    refractory = c.refractory if is_refractory else None
    return Neurons(c.tau_mem, c.tau_syn, c.start, c.reset, refractory)
