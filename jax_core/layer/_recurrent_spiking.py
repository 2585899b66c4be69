"""A recurrent layer of neurons of any model: simulation with exact gradients."""

import math
from typing import Any, NamedTuple

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
from ..simulate._events import Input, Spikes, sort_input
from ..simulate._recurrent_any import simulate_recurrent_any
from ..simulate._recurrent_state import Order
from ..simulate._start import Start
from ._differentiable import Health, tally, without_derivative
from ._prepared import Layer, counted_samples, prepare
from ._recurrent_lif import ends_samples, prepare_recurrence
from ._recurrent_lif_state import check_arrivals, still_on_their_way, with_arrivals
from ._spiking import (
    Given,
    LayerState,
    Window,
    begun,
    check_finite,
    check_state,
    check_window,
    chosen,
)


class RecurrentLayerState(NamedTuple):
    """What a recurrent layer is in the middle of: where one piece of a stream ends and the next
    begins."""

    state: Any
    """The neurons' own states, each leaf ``(..., out)``."""
    refractory: Array
    """How much is left of the refractory period, seconds, ``(..., out)``."""
    arrivals: Array
    """When spikes that are on their way will arrive at the layer's neurons, seconds from the begin
    of the next piece, ``(..., out, W)``, ascending, ``inf`` where there is none."""


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
    state: RecurrentLayerState | None = None,
    return_state: bool = False,
    return_health: bool = False,
    samples: int | Array | None = None,
    validate: bool = True,
) -> Any:
    """Spikes of a layer of neurons of any model that are also connected to each other.

    A spike of neuron ``i`` arrives at each neuron ``j`` as an input of weight
    ``recurrent_weight[j, i]``, at the time of the spike or ``recurrent_delay[i]``, or
    ``recurrent_delay[j, i]``, later. Neurons
    that reach their threshold at the same time, to rounding, all spike before any of these spikes
    arrives. A sample ends where a neuron has more than ``max_spikes`` spikes, as in
    `recurrent_lif`, which is faster for CuBa-LIF neurons.

    Differentiable, once, with respect to spike times, both weights, the delay, the neuron's
    constants and the state. Time: a pass over ``(batch, out)`` for each input event and each spike
    of the population, forwards, and two per spike backwards; memory likewise. With delays of
    connections there are up to ``out`` arrivals of a spike, each a pass, and gradients also go
    through empty slots for all of them, ``out max_spikes out``, which takes less time for each.

    **Arguments:** ``neuron`` as in `spiking`; ``recurrent_delay``: seconds, >= 0, scalar or
    ``(out,)``, or of connections, ``(out, out)``, as recurrent weights; ``None``, no time at all,
    is faster than 0; ``state``, ``return_state``: as in `spiking`, a `RecurrentLayerState`, not
    with delays of connections; all others as in `recurrent_lif`.

    **Returns:** spike times, ``(..., out, max_spikes)``; a tuple of them and, as asked for, health
    and state.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument.
    """
    check_policy(on_overflow)
    layer = prepare(spikes, weight, Given(neuron), validate)
    check_ends_in_time(neuron)
    if neuron.needs_end:
        check_finite(t_max)
    counted = counted_samples(samples)
    window = check_window(t_max, min_slope, max_spikes, return_state, counted)
    recurrent, delay = prepare_recurrence(
        recurrent_weight, recurrent_delay, weight, layer.neurons, validate
    )
    if delay is not None and delay.ndim == 2 and (state is not None or return_state):
        raise ValueError(
            "state and return_state do not go with delays of connections in recurrent layers; give "
            "each neuron that sends one recurrent_delay, or run the stream in one piece"
        )
    start, waiting = None, None
    if state is not None:
        start, waiting = _started(state, neuron, layer, validate)
        more = with_arrivals(spikes, jnp.asarray(weight), recurrent, waiting)
        layer = prepare(*more, Given(neuron), validate=False)
    connected = layer.weight, recurrent, delay, layer.constants
    out, health, end, arrivals = _run(window, layer.events, *connected, start)
    if not (return_health or neuron.once):
        handle_overflow(health.overflow, on_overflow, ends_samples(max_spikes, can_rest(neuron)))
    last = None
    if end is not None:
        arrivals = still_on_their_way(layer.unflatten(arrivals), waiting, t_max, delay)
        end = jax.tree.map(layer.unflatten, end)
        last = RecurrentLayerState(end.state, end.hold, arrivals)
    return chosen(layer.unflatten(out), health, last, return_health)


def check_ends_in_time(neuron: Neuron) -> None:
    """Check that a model does not go on after the end."""
    if neuron.goes_on:
        raise ValueError(
            "pseudospikes=True is not for neurons that are connected to each other: a fast neuron "
            "would need room for ever more pseudospikes, on which those of slow ones depend, until "
            "these have theirs; leave it out"
        )


def _started(state: Any, neuron: Neuron, layer: Layer, validate: bool) -> tuple[Start, Array]:
    """What neurons start with, and the spikes on their way, of a state."""
    if not isinstance(state, RecurrentLayerState):
        raise TypeError(
            f"state must be the RecurrentLayerState that a layer returned with return_state=True, "
            f"or None, got {type(state).__name__}"
        )
    own = LayerState(state.state, state.refractory)
    like = LayerState(neuron.start(), jnp.zeros(()))
    start = Start(*jax.tree.map(layer.flatten, check_state(own, like, layer, validate)))
    return start, check_arrivals(state, layer, validate)


@jax.custom_jvp
def _differentiable(
    window: Window,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: Neuron,
    start: Start,
) -> tuple[Array, Health, Start | None, Array]:
    layer = weight, recurrent_weight, delay, neuron, start
    order = sort_input(events, weight)[0]
    spikes, moments = _simulate(window, order, *layer)
    end, arrivals = None, jnp.zeros((*spikes.time.shape[:2], 0), spikes.time.dtype)
    if window.return_state:
        limits = window.t_max, window.min_slope
        _, end, arrivals = replay_recurrent(order, *layer, spikes, moments, *limits)
    return spikes.time, _count(window, neuron, spikes), end, arrivals


@_differentiable.defjvp
def _jvp(primals: tuple, tangents: tuple) -> tuple:
    window, events, *layer = single_derivative(primals)
    weight, neuron = layer[0], layer[3]
    order, place = sort_input(events, weight)
    spikes, moments = _simulate(window, order, *layer)

    def run(time: Array, layer: Any) -> Any:
        if place is not None:
            time = jnp.take_along_axis(time, place, axis=1)
        limits = window.t_max, window.min_slope
        given: Any = (*layer, spikes, moments, *limits)
        found = replay_recurrent(order._replace(time=time), *given)
        return found if window.return_state else found[:1]

    _, of_events, *of_layer = tangents
    at, moves = (events.time, tuple(layer)), (of_events.time, tuple(of_layer))
    (_, *state), (moved, *of_state) = jax.jvp(run, at, moves)
    if not window.return_state:
        none = jnp.zeros((*spikes.time.shape[:2], 0), spikes.time.dtype)
        state = of_state = [None, none]
    health = _count(window, neuron, spikes)
    moved = moved + undefined_change(spikes.time, of_events.time, tuple(of_layer[:2]), of_layer[3])
    return (spikes.time, health, *state), (moved, without_derivative(health), *of_state)


def _simulate(
    window: Window,
    order: Input,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: Neuron,
    start: Start,
) -> tuple[Spikes, Order]:
    room = 1 if neuron.once else window.max_spikes
    layer = weight, recurrent_weight, delay, neuron, room, window.t_max
    return simulate_recurrent_any(order, *layer, start)


def _count(window: Window, neuron: Neuron, spikes: Spikes) -> Health:
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
    start: Start | None,
) -> tuple[Array, Health, Start | None, Array]:
    shape = events.time.shape[0], weight.shape[0]
    rest = Start.at_rest(neuron, shape, weight.dtype)
    start = rest if start is None else begun(start, neuron)
    layer = weight, recurrent_weight, delay, neuron, start
    out, health, end, arrivals = _differentiable(window, events, *layer)
    room = ((0, 0), (0, 0), (0, window.max_spikes - out.shape[-1]))
    return jnp.pad(out, room, constant_values=jnp.inf), health, end, arrivals
