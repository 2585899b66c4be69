"""Voltages of neurons of any model at given times, simulated or given their spikes."""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from .._compiled import compiled
from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from .._validate import check_query_times
from ..connect._protocol import Connections
from ..neuron._protocol import Neuron, can_rest, variables
from ..simulate._events import sorted_input, with_trial_end
from ..simulate._start import Start
from ..walk._through_spikes import voltages
from ._prepared import prepare, too_many
from ._spiking import Given, beyond, check_window, run_layer
from ._trace import prepare_output


def spiking_trace(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    neuron: Neuron,
    times: Array | np.ndarray,
    *,
    output: Array | np.ndarray | None = None,
    quantity: str = "voltage",
    max_spikes: int = 1,
    t_max: float | Array = math.inf,
    min_slope: float | Array = 1e-3,
    on_overflow: OnOverflow = "error",
    connections: Connections | None = None,
    validate: bool = True,
) -> Array:
    """Membrane voltage of the layer that `spiking` simulates: for plots and for losses.

    Exact at every time, and differentiable like `spiking`, including the way in which the neurons'
    own spikes move. Time and memory: all (neuron, event or time) pairs.

    **Arguments:**

    - ``times``: when to look, seconds, shape ``(T,)`` or ``(..., T)``, any order. Input spikes at
      such a time have arrived; at a spike's own time the neuron is already reset.
    - ``output``: the spikes that `spiking` found for this input, shape ``(..., out, K)``. Then
      nothing is simulated, and gradients go on through it.

    - ``quantity``: ``"voltage"``, or the name of a variable of the model's state, such as ``"w"``,
      the adaptation of `AdaptiveLIF`.

    All others as in `spiking`; after ``t_max`` the voltage goes on with no spikes but pseudospikes.

    **Returns:** voltages, shape ``(..., out, T)``; see `Neuron.voltage`.
    """
    check_policy(on_overflow)
    window = check_window(t_max, min_slope, max_spikes, False, None)
    layer = prepare(spikes, weight, Given(neuron), validate, connections)
    check_quantity(neuron, quantity)
    if neuron.goes_on:
        window = beyond(window)
    check_query_times(times, layer.leading, layer.weight.dtype, values=validate)
    if output is not None:
        own = prepare_output(output, layer, "output", validate)
    else:
        out, health, _ = run_layer(layer, window, None)
        own = layer.flatten(out)
        if not neuron.once:
            handle_overflow(health.overflow, on_overflow, too_many(max_spikes, can_rest(neuron)))

    def look(events: Events, weight: Array, neuron: Neuron, own: Array, times: Array) -> Array:
        return _look(events, weight, neuron, own, times, t_max, quantity=quantity)

    return layer.unflatten(layer.over(look, own, layer.looks(times)))


def check_quantity(neuron: Neuron, quantity: str) -> None:
    """Check that neurons of a model have something of that name."""
    names = list(variables(neuron.start()))
    if quantity not in ("voltage", *names):
        raise ValueError(
            f'quantity must be "voltage", or a variable of the neuron\'s state, {names}, got '
            f"{quantity!r}"
        )


@compiled("spiking_trace", static_argnames="quantity")
def _look(
    events: Events,
    weight: Array,
    neuron: Neuron,
    own: Array,
    times: Array,
    t_max: float | Array,
    *,
    quantity: str,
) -> Array:
    """Voltages, or what else is asked for, ``(batch, out, T)``."""
    order = sorted_input(events, weight)
    start = Start.at_rest(neuron, (order.time.shape[0], weight.shape[0]), weight.dtype)
    if neuron.goes_on:
        order, weight = with_trial_end(order, weight, t_max)
    own = jnp.where(jnp.isfinite(own), own, jnp.inf)
    return voltages(order, weight, neuron, start, own, times, quantity)
