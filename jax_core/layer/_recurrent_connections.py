"""Recurrent layers in which connections, within the layer or from the input, have own delays."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._compiled import compiled
from .._events import Events
from ..adjoint._directions import adjoint, pull_back_all
from ..adjoint._linear_map import linear_map
from ..adjoint._recurrent import go_back, go_back_to_start
from ..adjoint._recurrent_connections import total_gradients_by_connection
from ..connect._lists import Sparse
from ..connect._protocol import Connections
from ..neuron._constants import Constants
from ..simulate._events import Spikes
from ..simulate._recurrent_connections import simulate_connections
from ._differentiable import Health, Settings, count, pad_slots, without_derivative
from ._prepared import Given, Layer, constants_apart, prepare


def prepare_recurrent(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    given: Given,
    validate: bool,
    connections: Connections | None,
) -> Layer:
    """`prepare` for a recurrent layer: all-to-all, or with a group for each neuron."""
    layer = prepare(spikes, weight, given, validate, connections)
    if layer.places is None:
        return layer
    if layer.places or layer.weight.shape[1] != 1:
        raise TypeError(
            f"connections must give each neuron of a recurrent layer a list of inputs of its own, "
            f"as Sparse and SynapticDelays do, got {type(connections).__name__}; put a layer of "
            f"its own with these connections in front"
        )
    if isinstance(connections, Sparse) and connections.delay is None:
        # Inputs that many neurons hear at once are one event then.
        return prepare(spikes, connections.dense(jnp.asarray(weight)), given, validate=False)
    return layer


def constants_together(constants: Constants) -> Constants:
    """Constants, scalars or ``(out,)``, of neurons that may be groups of one."""
    return Constants(*(x.reshape(-1) if x.ndim else x for x in constants))


@jax.custom_jvp
def _by_eventprop(
    settings: Settings,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array,
    constants: Constants,
) -> tuple[Array, Health]:
    spikes, _ = _simulate(settings, events, weight, recurrent_weight, delay, constants)
    return pad_slots(settings, spikes.time, jnp.inf), count(settings, spikes, constants)


@_by_eventprop.defjvp
def _eventprop_jvp(primals: tuple, tangents: tuple) -> tuple:
    settings, *_, constants = primals
    found = _simulate(*primals)
    spikes = found[0]
    out = pad_slots(settings, spikes.time, jnp.inf), count(settings, spikes, constants)
    _, of_events, *others = tangents
    moves = of_events.time, *others
    moved = linear_map(_tangent, _adjoint, (*primals, *found), moves, spikes.time)
    return out, (pad_slots(settings, moved, 0), without_derivative(out[1]))


def _simulate(
    settings: Settings,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array,
    constants: Constants,
) -> tuple[Spikes, Array]:
    form = settings.form
    return simulate_connections(
        events,
        weight,
        recurrent_weight,
        delay,
        constants,
        1 if form.spikes_once else settings.max_spikes,
        settings.t_max,
        form.ratio == 2,
        form.pauses,
        form.spikes_once,
    )


def _adjoint(residuals: tuple, upstream: Array) -> tuple:
    """Gradients with respect to input times, both weights, the delays and the constants."""
    return _pull_back(residuals, upstream, adjoint, go_back)


def _tangent(residuals: tuple, moves: tuple) -> Array:
    """How spike times move; the transpose of `_adjoint`."""
    spikes = residuals[-2]
    backwards = partial(_pull_back, residuals, of_input=pull_back_all, go_back=go_back_to_start)
    _, transpose = jax.vjp(backwards, jnp.zeros_like(spikes.time))
    (moved,) = transpose(moves)
    return jnp.where(jnp.isnan(spikes.time), jnp.nan, moved)


def _pull_back(
    residuals: tuple, upstream: Array, of_input: Callable[..., Any], go_back: Callable[..., Any]
) -> tuple:
    settings, events, weight, recurrent_weight, delay, constants, spikes, moment = residuals
    given = spikes, moment, recurrent_weight, delay, constants, upstream
    total = total_gradients_by_connection(
        *given, settings.min_slope, settings.form.pauses, go_back=go_back
    )
    of_layer = of_input if weight.ndim == 2 else partial(neuron_by_neuron, of_input)
    inputs = settings, events, weight, constants, spikes
    time, of_weight, of_constants = of_layer(inputs, total.spikes)
    of_constants = of_constants._replace(
        tau_mem=of_constants.tau_mem + total.tau[0], tau_syn=of_constants.tau_syn + total.tau[1]
    )
    return time, of_weight, total.weight, total.delay, of_constants


def neuron_by_neuron(of_input: Callable[..., Any], residuals: tuple, total: Array) -> tuple:
    """The gradients of a layer of which each neuron has its own input."""
    settings, events, weight, constants, spikes = residuals

    def of_neuron(
        events: Events, weight: Array, constants: Constants, spikes: Any, total: Any
    ) -> tuple:
        return of_input((settings, events, weight, constants, spikes), total)

    layer = Layer(events, weight, constants_apart(constants), (), ())
    apart = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1)[:, :, None], (spikes, total))
    time, of_weight, of_constants = layer.over(of_neuron, *apart)
    # A constant that all share has a part of its gradient from each.
    shared = Constants(
        *(
            jnp.sum(x, axis=0) if constant.ndim == 0 else x[:, 0]
            for x, constant in zip(of_constants, constants, strict=True)
        )
    )
    return time, of_weight, shared


_run = compiled("recurrent_lif")(_by_eventprop)


def run_connections(
    settings: Settings,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
) -> tuple[Array, Health]:
    """Spike times and health of a recurrent layer with delays of connections.

    **Arguments:** ``events``, ``weight``: as in `simulate_connections`; ``delay``: of recurrent
    connections, ``None``, scalar, ``(out,)`` of neurons that send, or ``(out, out)``.
    """
    delay = jnp.zeros((), weight.dtype) if delay is None else delay
    delays = jnp.broadcast_to(delay, recurrent_weight.shape)
    return _run(settings, events, weight, recurrent_weight, delays, constants)
