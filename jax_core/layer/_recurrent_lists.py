"""Recurrent layers with lists of connections, of the input and within the layer."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .._compiled import compiled
from .._events import Events
from .._validate import check_weight_values
from ..adjoint._directions import adjoint, pull_back_all
from ..adjoint._linear_map import linear_map
from ..adjoint._recurrent import go_back, go_back_to_start
from ..adjoint._recurrent_lists import total_gradients_by_list
from ..connect._lists import Sparse, at_place
from ..neuron._constants import Constants
from ..simulate._events import Spikes, sort_input
from ..simulate._recurrent_lists import Hearers, simulate_lists
from ..simulate._recurrent_state import Order
from ..simulate._solver import RecurrentSolver
from ._differentiable import Health, Settings, count, pad_slots, without_derivative
from ._prepared import Layer
from ._recurrent_connections import constants_together, neuron_by_neuron

# Lists are faster where each is at most one in so many neurons, in layers with at least so many
# (benchmarks/results/connections.md).
_ONE_IN, _LEAST_NEURONS = 5, 500


class Network(NamedTuple):
    """Who hears whom, and the input as it is simulated; nothing that has a derivative."""

    time: Array
    """All input spikes, ``(batch, in * k)``."""
    hearers: Array
    """Of inputs, ``(in, longest)``, ``out`` where a list is shorter."""
    weight: Array
    """Of the input, same shape."""
    own_hearers: Array
    """As `Hearers.neuron`, of the layer, ``(out, longest)``."""


def check_own(own: Sparse, recurrent_weight: Any, weight: Any, neurons: int, values: bool) -> None:
    """Check the connections within a layer, and that there is a weight for each.

    **Arguments:** ``weight``: that of the input.
    """
    if not isinstance(own, Sparse):
        raise TypeError(
            f"recurrent_connections must be Sparse, got {type(own).__name__}; leave them out for "
            f"a matrix of recurrent weights"
        )
    if (own.inputs, len(own.pre)) != (neurons, neurons):
        raise ValueError(
            f"recurrent_connections must be from the layer's {neurons} neurons to themselves, got "
            f"some from {own.inputs} to {len(own.pre)}"
        )
    if own.delay is not None:
        raise ValueError(
            "recurrent_connections must have no delay of their own; give recurrent_delay, of "
            "neurons (out,) or of connections (out, out)"
        )
    name = "recurrent_weight"
    check_weight_values(recurrent_weight, weight.dtype, name, values=values)
    if recurrent_weight.shape != (own.connections,):
        raise ValueError(
            f"{name} must have one value per connection, shape ({own.connections},), got "
            f"{tuple(recurrent_weight.shape)}"
        )


def found_lists(
    solver: RecurrentSolver, connections: Any, own: Any, is_each_delayed: bool
) -> tuple[Sparse, Sparse] | None:
    """The lists by which to simulate a layer, if that is faster, or what was asked for.

    ``is_each_delayed``: whether recurrent connections have delays of their own.
    """
    lists = [x for x in (connections, own) if isinstance(x, Sparse) and x.post is not None]
    if len(lists) < 2 or lists[0].delay is not None or is_each_delayed:
        if solver == "lists":
            raise ValueError(
                'solver="lists" is for layers whose connections and recurrent_connections are '
                "lists (Sparse.of with hearers=True, or masks) without delays of connections, and "
                "that neither begin nor end with a state"
            )
        return None
    longest = max(x.post.shape[1] for x in lists if x.post is not None)
    is_faster = len(own.pre) >= max(_LEAST_NEURONS, _ONE_IN * longest)
    return (lists[0], lists[1]) if solver == "lists" or (solver == "auto" and is_faster) else None


def run_lists(
    settings: Settings,
    layer: Layer,
    spikes: Any,
    weight: Array | np.ndarray,
    recurrent_weight: Array,
    connections: tuple[Sparse, Sparse],
    delay: Array | None,
) -> tuple[Array, Health]:
    """Spike times ``(batch, out, max_spikes)``, and health.

    **Arguments:** ``layer``: the input by neurons; ``spikes``, ``weight``, ``recurrent_weight``: as
    they were given; ``connections``: of the input, and within the layer.
    """
    of_input, own = connections
    # Groups, here neurons, are small, and a chunk goes on for all of them until the last is done.
    settings = dataclasses.replace(settings, solver="lockstep")
    hearers, own_weight = _own_hearers(own, recurrent_weight)
    assert of_input.post is not None
    assert of_input.post_place is not None
    batch, spikes = layer.events.time.shape[1], jnp.asarray(spikes)
    network = Network(
        spikes.reshape(batch, spikes.shape[-2] * spikes.shape[-1]),
        jnp.asarray(of_input.post),
        at_place(jnp.asarray(weight), of_input.post_place),
        hearers,
    )
    constants = constants_together(layer.constants)
    given = layer.events, layer.weight, own_weight, delay, constants
    return _run(settings, lax.stop_gradient(network), *given)


def _own_hearers(own: Sparse, weight: Array) -> tuple[Array, Array]:
    """The lists within a layer as in `Hearers`, and the weights, ``(out, longest)`` both."""
    assert own.post is not None
    assert own.post_place is not None
    out, _ = own.post.shape
    each = jnp.arange(out, dtype=jnp.int32)[:, None]
    is_self, values = own.post == each, at_place(weight, own.post_place)
    to_self = jnp.sum(jnp.where(is_self, values, 0), axis=1, keepdims=True)
    return (
        jnp.concatenate([each, jnp.where(is_self, out, own.post)], axis=1),
        jnp.concatenate([to_self, jnp.where(is_self, 0, values)], axis=1),
    )


@jax.custom_jvp
def _by_eventprop(
    settings: Settings,
    network: Network,
    events: Events,
    weight: Array,
    own_weight: Array,
    delay: Array | None,
    constants: Constants,
) -> tuple[Array, Health]:
    spikes, _ = _simulate(settings, network, own_weight, delay, constants)
    return pad_slots(settings, spikes.time, jnp.inf), count(settings, spikes, constants)


@_by_eventprop.defjvp
def _eventprop_jvp(primals: tuple, tangents: tuple) -> tuple:
    settings, network, _, _, own_weight, delay, constants = primals
    found = _simulate(settings, network, own_weight, delay, constants)
    spikes = found[0]
    out = pad_slots(settings, spikes.time, jnp.inf), count(settings, spikes, constants)
    _, _, of_events, *others = tangents
    moves = of_events.time, *others
    moved = linear_map(_tangent, _adjoint, (*primals, *found), moves, spikes.time)
    return out, (pad_slots(settings, moved, 0), without_derivative(out[1]))


def _simulate(
    settings: Settings,
    network: Network,
    own_weight: Array,
    delay: Array | None,
    constants: Constants,
) -> tuple[Spikes, Order]:
    form, (inputs, _) = settings.form, network.hearers.shape
    out = len(own_weight)
    # Its shape tells how many inputs the times are of.
    shape = jnp.zeros((out, inputs), own_weight.dtype)
    return simulate_lists(
        sort_input(Events(network.time, None), shape)[0],
        inputs,
        Hearers.of(network.hearers, network.weight, network.own_hearers, own_weight),
        delay,
        constants,
        1 if form.spikes_once else settings.max_spikes,
        settings.t_max,
        form.ratio == 2,
        form.pauses,
        form.spikes_once,
    )


def _adjoint(residuals: tuple, upstream: Array) -> tuple:
    """Gradients with respect to input times, both weights, the delay and the constants."""
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
    settings, network, events, weight, own_weight, delay, constants, spikes, order = residuals
    total = total_gradients_by_list(
        spikes,
        order,
        network.own_hearers,
        own_weight,
        delay,
        constants,
        upstream,
        settings.min_slope,
        settings.form.pauses,
        go_back,
    )
    inputs = settings, events, weight, constants, spikes
    time, of_weight, of_constants = neuron_by_neuron(of_input, inputs, total.spikes)
    of_constants = of_constants._replace(
        tau_mem=of_constants.tau_mem + total.tau[0], tau_syn=of_constants.tau_syn + total.tau[1]
    )
    return time, of_weight, total.weight, None if delay is None else total.delay, of_constants


_run = compiled("recurrent_lif")(_by_eventprop)
