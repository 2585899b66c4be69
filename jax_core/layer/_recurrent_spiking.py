"""A recurrent layer of neurons of any model: simulation with exact gradients."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._compiled import compiled
from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from ..adjoint._recurrent_replay import replay_recurrent
from ..adjoint._single import single_derivative, undefined_change
from ..neuron._constants import Constant
from ..neuron._protocol import Neuron, can_rest
from ..simulate._events import sort_input
from ..simulate._recurrent_any import simulate_recurrent_any
from ..simulate._start import Start
from ._differentiable import Health, tally, without_derivative
from ._prepared import counted_samples, prepare
from ._recurrent_lif import ends_samples, prepare_recurrence
from ._spiking import Given, Window, check_window, chosen


def recurrent_spiking(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array | np.ndarray,
    neuron: Neuron,
    *,
    recurrent_delay: Constant | None = None,
    max_spikes: int = 1,
    t_max: float | Array = math.inf,
    min_slope: float | Array = 1e-3,
    on_overflow: OnOverflow = "error",
    return_health: bool = False,
    samples: int | Array | None = None,
    validate: bool = True,
) -> Any:
    """Spikes of a layer of neurons of any model that are also connected to each other.

    A spike of neuron ``i`` arrives at each neuron ``j`` as an input of weight
    ``recurrent_weight[j, i]``, at the time of the spike or ``recurrent_delay[i]`` later. Neurons
    that reach their threshold at the same time, to rounding, all spike before any of these spikes
    arrives. A sample ends where a neuron has more than ``max_spikes`` spikes, as in
    `recurrent_lif`, which is faster for CuBa-LIF neurons.

    Differentiable, once, with respect to spike times, both weights, the delay and the neuron's
    constants. Time: a pass over ``(batch, out)`` for each input event and each spike of the
    population, forwards, and two per spike backwards; memory likewise.

    **Arguments:** ``neuron`` as in `spiking`; ``recurrent_delay``: seconds, >= 0, scalar or
    ``(out,)``; ``None``, no time at all, is faster than 0; all others as in `recurrent_lif`.

    **Returns:** spike times, ``(..., out, max_spikes)``, with ``return_health`` a tuple of them and
    `Health`.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument.
    """
    check_policy(on_overflow)
    layer = prepare(spikes, weight, Given(neuron), validate)
    window = check_window(t_max, min_slope, max_spikes, False, counted_samples(samples))
    recurrent, delay = prepare_recurrence(
        recurrent_weight, recurrent_delay, weight, layer.neurons, validate
    )
    if delay is not None and delay.ndim == 2:
        raise ValueError(
            f"recurrent_delay must be a scalar or have one value per neuron that sends, shape "
            f"({layer.neurons},), got {delay.shape}; recurrent_lif has delays of connections"
        )
    out, health = _run(window, layer.events, layer.weight, recurrent, delay, layer.constants)
    if not (return_health or neuron.once):
        handle_overflow(health.overflow, on_overflow, ends_samples(max_spikes, can_rest(neuron)))
    return chosen(layer.unflatten(out), health, None, return_health)


@jax.custom_jvp
def _differentiable(
    window: Window,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: Neuron,
) -> tuple[Array, Health]:
    order = sort_input(events, weight)[0]
    spikes, _ = _simulate(window, order, weight, recurrent_weight, delay, neuron)
    return spikes.time, _count(window, neuron, spikes)


@_differentiable.defjvp
def _jvp(primals: tuple, tangents: tuple) -> tuple:
    window, events, *layer = single_derivative(primals)
    weight, *_, neuron = layer
    order, place = sort_input(events, weight)
    spikes, moments = _simulate(window, order, *layer)

    def run(time: Array, layer: Any) -> Array:
        if place is not None:
            time = jnp.take_along_axis(time, place, axis=1)
        weight, recurrent_weight, delay, neuron = layer
        given = weight, recurrent_weight, delay, neuron, _start(order, weight, neuron)
        again = order._replace(time=time)
        limits = window.t_max, window.min_slope
        return replay_recurrent(again, *given, spikes, moments, *limits)[0]

    _, of_events, *of_layer = tangents
    at, moves = (events.time, tuple(layer)), (of_events.time, tuple(of_layer))
    _, moved = jax.jvp(run, at, moves)
    health = _count(window, neuron, spikes)
    moved = moved + undefined_change(spikes.time, of_events.time, tuple(of_layer[:2]), of_layer[3])
    return (spikes.time, health), (moved, without_derivative(health))


def _start(order: Any, weight: Array, neuron: Neuron) -> Start:
    return Start.at_rest(neuron, (order.time.shape[0], weight.shape[0]), weight.dtype)


def _simulate(
    window: Window,
    order: Any,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: Neuron,
) -> Any:
    room = 1 if neuron.once else window.max_spikes
    layer = weight, recurrent_weight, delay, neuron, room, window.t_max
    return simulate_recurrent_any(order, *layer, _start(order, weight, neuron))


def _count(window: Window, neuron: Neuron, spikes: Any) -> Health:
    floor = jnp.asarray(window.min_slope * neuron.scale)
    return tally(spikes, spikes.current, floor[..., None], window.counted)


@compiled("recurrent_spiking")
def _run(
    window: Window,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: Neuron,
) -> tuple[Array, Health]:
    out, health = _differentiable(window, events, weight, recurrent_weight, delay, neuron)
    room = ((0, 0), (0, 0), (0, window.max_spikes - out.shape[-1]))
    return jnp.pad(out, room, constant_values=jnp.inf), health
