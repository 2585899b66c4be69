"""Recurrent LIF layers in pieces of time, and under a constant current."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._compiled import compiled
from .._events import Events
from .._validate import check_spike_times, known
from ..adjoint._recurrent_replay import replay_recurrent
from ..adjoint._single import single_derivative, undefined_change
from ..neuron._cuba_lif import CubaLIF
from ..simulate._events import Input, Spikes, sort_input
from ..simulate._recurrent import simulate_recurrent
from ..simulate._recurrent_state import Order
from ..simulate._start import Start
from ._differentiable import Health, Settings, count, without_derivative
from ._lif_state import LIFState, run_with_state
from ._prepared import Given, Layer, prepare
from ._spiking import Window


class RecurrentLIFState(NamedTuple):
    """What a recurrent layer is in the middle of: where one piece of a stream ends and the next
    begins."""

    v: Array
    """Membrane voltage, ``(..., out)``."""
    i: Array
    """Synaptic current, ``(..., out)``."""
    refractory: Array
    """How much is left of the refractory period, seconds, ``(..., out)``; ``inf`` after a neuron's
    only spike."""
    arrivals: Array
    """When spikes that are on their way will arrive at the layer's neurons, seconds from the begin
    of the next piece, ``(..., out, W)``, ascending, ``inf`` where there is none."""


def run_recurrent_with_state(
    layer: Layer,
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array,
    delay: Array | None,
    given: Given,
    settings: Settings,
    current: Any,
    state: RecurrentLIFState | None,
    return_state: bool,
    validate: bool,
) -> tuple[Array, Health, RecurrentLIFState | None]:
    """Spikes, health and, if asked for, the state at the end.

    **Arguments:** ``layer``: what ``spikes`` and ``weight`` were prepared to.
    """
    own, waiting = None, None
    if state is not None:
        own, waiting = _checked(state, layer, validate)
        more = with_arrivals(spikes, jnp.asarray(weight), recurrent_weight, waiting)
        layer = prepare(*more, given, validate=False)

    def run(layer: Layer, window: Window, start: Start) -> Any:
        arguments = layer.events, layer.weight, recurrent_weight, delay, layer.constants, start
        out, health, end, arrivals = _run(window, *arguments)
        end = end and jax.tree.map(layer.unflatten, end)
        return (layer.unflatten(out), layer.unflatten(arrivals)), health, end

    options = current, own, return_state, validate
    (out, arrivals), health, end = run_with_state(layer, settings, *options, run=run)
    if end is None:
        return out, health, None
    arrivals = still_on_their_way(arrivals, waiting, settings.t_max, delay)
    return out, health, RecurrentLIFState(*end, arrivals)


def _checked(state: Any, layer: Layer, validate: bool) -> tuple[LIFState, Array]:
    if not isinstance(state, RecurrentLIFState):
        raise TypeError(
            f"state must be the RecurrentLIFState that a layer returned with return_state=True, or "
            f"None, got {type(state).__name__}"
        )
    return LIFState(state.v, state.i, state.refractory), check_arrivals(state, layer, validate)


def check_arrivals(state: Any, layer: Layer, validate: bool) -> Array:
    """Check the spikes of a state that are on their way."""
    waiting = state.arrivals
    check_spike_times(waiting, layer.neurons, "state.arrivals", values=validate and known(waiting))
    if waiting.shape[:-2] != layer.leading:
        raise ValueError(
            f"state.arrivals has shape {tuple(waiting.shape)}, but the samples are "
            f"{layer.leading}; the state must be of this layer and of as many samples"
        )
    return jnp.asarray(waiting)


def still_on_their_way(
    arrivals: Array, waiting: Array | None, t_max: float | Array, delay: Array | None
) -> Array:
    """When spikes of a piece, and those of pieces before, arrive in the next, ``(..., out, W)``."""
    if delay is None:
        arrivals = arrivals[..., :0]
    if waiting is not None:
        left = jnp.where(waiting > t_max, waiting - t_max, jnp.inf)
        arrivals = jnp.concatenate([arrivals, left], axis=-1)
    return jnp.sort(arrivals, axis=-1)


def with_arrivals(
    spikes: Array | np.ndarray | Events, weight: Array, recurrent_weight: Array, waiting: Array
) -> tuple[Any, Array]:
    """Spikes on their way as those of further inputs, one per neuron of the layer."""
    inputs, weight = weight.shape[1], jnp.concatenate([weight, recurrent_weight], axis=1)
    out, count = waiting.shape[-2:]
    if isinstance(spikes, Events):
        numbers = jnp.repeat(jnp.arange(inputs, inputs + out, dtype=jnp.int32), count)
        arriving = waiting.reshape(*waiting.shape[:-2], out * count)
        index = jnp.where(jnp.isfinite(arriving), numbers, -1)
        time = jnp.concatenate([jnp.asarray(spikes.time), arriving], axis=-1)
        index = jnp.concatenate([jnp.asarray(spikes.index, jnp.int32), index], axis=-1)
        order = jnp.argsort(jax.lax.stop_gradient(time), axis=-1, stable=True)
        return Events(*(jnp.take_along_axis(x, order, axis=-1) for x in (time, index))), weight
    room = max(spikes.shape[-1], count)

    def pad(x: Array) -> Array:
        widths = [(0, 0)] * (x.ndim - 1) + [(0, room - x.shape[-1])]
        return jnp.pad(x, widths, constant_values=jnp.inf)

    return jnp.concatenate([pad(jnp.asarray(spikes)), pad(waiting)], axis=-2), weight


@jax.custom_jvp
def _differentiable(
    window: Window,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: CubaLIF,
    start: Start,
) -> tuple[Array, Health, Start | None, Array]:
    layer = weight, recurrent_weight, delay, neuron, start
    order = sort_input(events, weight)[0]
    spikes, moments = _simulate(window, order, *layer)
    end, arrivals = None, jnp.zeros((*spikes.time.shape[:2], 0), spikes.time.dtype)
    if window.return_state:
        _, end, arrivals = _replayed(window, order, *layer, spikes, moments)
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
        found: Any = (*layer, spikes, moments)
        return _replayed(window, order._replace(time=time), *found)

    _, of_events, *of_layer = tangents
    at, moves = (events.time, tuple(layer)), (of_events.time, tuple(of_layer))
    (_, end, arrivals), (moved, of_end, of_arrivals) = jax.jvp(run, at, moves)
    health = _count(window, neuron, spikes)
    moved = moved + undefined_change(spikes.time, of_events.time, tuple(of_layer[:2]), of_layer[3])
    if not window.return_state:
        end, of_end = None, None
        arrivals, of_arrivals = arrivals[..., :0], of_arrivals[..., :0]
    out = spikes.time, health, end, arrivals
    return out, (moved, without_derivative(health), of_end, of_arrivals)


def _simulate(
    window: Window,
    order: Input,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: CubaLIF,
    start: Start,
) -> tuple[Spikes, Order]:
    form = neuron.form
    return simulate_recurrent(
        order,
        weight,
        recurrent_weight,
        delay,
        neuron.constants,
        1 if neuron.once else window.max_spikes,
        window.t_max,
        form.ratio == 2,
        neuron.pauses,
        neuron.once,
        begin=start,
    )


def _replayed(
    window: Window,
    order: Input,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: CubaLIF,
    start: Start,
    spikes: Spikes,
    moments: Order,
) -> tuple[Array, Start, Array]:
    layer = weight, recurrent_weight, delay, neuron, start, spikes, moments
    return replay_recurrent(order, *layer, window.t_max, window.min_slope)


def _count(window: Window, neuron: CubaLIF, spikes: Spikes) -> Health:
    options: Any = {"gradient": "eventprop", "form": neuron.form, "counted": window.counted}
    settings = Settings(window.t_max, window.min_slope, window.max_spikes, **options)
    return count(settings, spikes, neuron.constants)


@compiled("recurrent_lif")
def _run(
    window: Window,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    neuron: CubaLIF,
    start: Start,
) -> tuple[Array, Health, Start | None, Array]:
    if not (neuron.once or neuron.pauses):
        start = start._replace(hold=jnp.zeros_like(start.hold))
    layer = weight, recurrent_weight, delay, neuron, start
    out, health, end, arrivals = _differentiable(window, events, *layer)
    room = ((0, 0), (0, 0), (0, window.max_spikes - out.shape[-1]))
    return jnp.pad(out, room, constant_values=jnp.inf), health, end, arrivals
