"""The differentiable LIF layer: the simulation, with either gradient method as its derivative."""

import dataclasses
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ._constants import Constants
from ._eventprop import eventprop, slope_at_spike, slope_floor
from ._events import Events
from ._first_spike import first_spike_time
from ._simulate import Input, Spikes, all_spikes, first_spikes
from ._sort import sort_times

Gradient = Literal["eventprop", "fast_and_deep"]

# The backward pass works on arrays (samples, out, input events) of about this size at most.
_GROUP_SIZE = 1 << 22


class Health(NamedTuple):
    """How fit for gradients a layer's spikes are: counts per neuron, int32, shape ``(out,)``.

    Counted over all samples (leading batch axes).
    """

    silent: Array
    """Samples in which the neuron did not spike: it gets no gradient from them."""
    grazing: Array
    """Spikes with a slope below ``min_slope``: their gradients are bounded, not exact."""
    overflow: Array
    """Samples in which the neuron had more than ``max_spikes`` spikes."""
    unpredicted: Array | None = None
    """Observed spikes at which the model's voltage does not rise; they have no gradient."""
    missing: Array | None = None
    """Spikes that the model predicts and that were not observed, if asked for."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is fixed when the layer is compiled."""

    max_spikes: int
    t_max: float
    gradient: Gradient
    min_slope: float
    ratio: int | None
    """1 or 2 where ``tau_mem`` is known to be that multiple of ``tau_syn``."""
    spikes_once: bool
    is_refractory: bool


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(
    settings: Settings, events: Events, weight: Array, constants: Constants
) -> tuple[Array, Health]:
    return _forward(settings, events, weight, constants)[0]


def _forward(
    settings: Settings, events: Events, weight: Array, constants: Constants
) -> tuple[tuple[Array, Health], tuple]:
    spikes = simulate(settings, events, weight, constants)
    result = pad_times(settings, spikes), count(settings, spikes, constants)
    return result, (events, weight, constants, spikes)


def simulate(settings: Settings, events: Events, weight: Array, constants: Constants) -> Spikes:
    """Spikes by simulation, with one slot per neuron where it spikes once at most."""
    order = sort_input(events, weight)
    is_double = settings.ratio == 2
    if settings.spikes_once:
        return first_spikes(order, weight, constants, settings.t_max, is_double)
    return all_spikes(
        order,
        weight,
        constants,
        settings.max_spikes,
        settings.t_max,
        is_double,
        settings.is_refractory,
    )


def count(settings: Settings, spikes: Spikes, constants: Constants) -> Health:
    """Count what `Health` has of simulated and of observed spikes."""
    slope = slope_at_spike(spikes.current, constants)
    floor = slope_floor(constants, settings.min_slope)[..., None]
    is_silent = ~jnp.isfinite(spikes.time[..., 0])
    return Health(
        silent=jnp.sum(is_silent, axis=0, dtype=jnp.int32),
        grazing=jnp.sum(spikes.has_gradient & (slope < floor), axis=(0, 2), dtype=jnp.int32),
        overflow=jnp.sum(spikes.overflow, axis=0, dtype=jnp.int32),
    )


def pad_times(settings: Settings, spikes: Spikes) -> Array:
    """Spike times ``(batch, out, max_spikes)``."""
    room = settings.max_spikes - spikes.time.shape[-1]
    return jnp.pad(spikes.time, ((0, 0), (0, 0), (0, room)), constant_values=jnp.inf)


def sort_input(events: Events, weight: Array) -> Input:
    """Order events by time; a spike-time tensor's place tells the neuron."""
    if events.index is not None:
        # Sorted by contract, checked where values are known.
        return Input(events.time, events.index)
    time, place = sort_times(events.time)
    per_neuron = max(events.time.shape[-1] // max(weight.shape[1], 1), 1)
    return Input(time, place // per_neuron)


def pull_back(settings: Settings, residuals: tuple, cotangents: tuple) -> tuple:
    """Gradients with respect to events, weights and constants, of simulated or observed spikes."""
    events, weight, constants, spikes = residuals
    upstream = cotangents[0][..., : spikes.time.shape[-1]]
    upstream = jnp.where(spikes.has_gradient, upstream, 0)
    batch, width = events.time.shape
    group = max(_GROUP_SIZE // max(weight.shape[0] * width, 1), 1)
    if group >= batch:
        time, *shared = _gradients(settings, events, weight, constants, spikes, upstream)
    else:
        time, shared = _group_by_group(settings, group, events, weight, constants, spikes, upstream)
    index_bar = None if events.index is None else np.zeros(events.index.shape, jax.dtypes.float0)
    return Events(time, index_bar), *shared


def _group_by_group(
    settings: Settings,
    group: int,
    events: Events,
    weight: Array,
    constants: Constants,
    spikes: Spikes,
    upstream: Array,
) -> tuple[Array, tuple[Array, Constants]]:
    """`_gradients` of one group of samples after the other, which bounds the memory."""
    batch, width = events.time.shape
    groups = -(-batch // group)

    def split(x: Array, absent: float) -> Array:
        missing = ((0, groups * group - batch), *((0, 0),) * (x.ndim - 1))
        return jnp.pad(x, missing, constant_values=absent).reshape(groups, group, *x.shape[1:])

    parts = (
        Events(
            split(events.time, jnp.inf), None if events.index is None else split(events.index, -1)
        ),
        Spikes(split(spikes.time, jnp.inf), *(split(x, 0) for x in spikes[1:])),
        split(upstream, 0),
    )

    def add(total: tuple, part: tuple) -> tuple[tuple, Array]:
        time, *shared = _gradients(settings, part[0], weight, constants, *part[1:])
        return jax.tree.map(jnp.add, total, tuple(shared)), time

    shared, time = lax.scan(add, jax.tree.map(jnp.zeros_like, (weight, constants)), parts)
    return time.reshape(groups * group, width)[:batch], shared


def _gradients(
    settings: Settings,
    events: Events,
    weight: Array,
    constants: Constants,
    spikes: Spikes,
    upstream: Array,
) -> tuple[Array, Array, Constants]:
    """Gradients with respect to input times, weights and constants."""
    if settings.gradient == "fast_and_deep":
        return _fast_and_deep(settings, events, weight, constants, spikes, upstream)
    event_weight, accumulate = weights_of(events, weight)
    gradients = eventprop(
        events.time,
        event_weight,
        spikes,
        constants,
        upstream,
        settings.min_slope,
        settings.is_refractory and not settings.spikes_once,
    )
    return gradients.time, accumulate(gradients.weight), gradients.constants


def weights_of(events: Events, weight: Array) -> tuple:
    """The weight of each input event, ``(batch or 1, out, M)``, and the transpose of that map."""
    if events.index is None:
        per_neuron = events.time.shape[-1] // max(weight.shape[1], 1)

        def accumulate(x: Array) -> Array:
            return jnp.sum(x.reshape(x.shape[0], *weight.shape, per_neuron), axis=(0, 3))

        return jnp.repeat(weight, per_neuron, axis=1)[None], accumulate

    def gather(weight: Array) -> Array:
        columns = jnp.take(weight, events.index, axis=1, mode="clip")
        return jnp.where(events.index >= 0, columns, 0).swapaxes(0, 1)

    transpose = jax.linear_transpose(gather, weight)
    return gather(weight), lambda x: transpose(x)[0]


def _fast_and_deep(
    settings: Settings,
    events: Events,
    weight: Array,
    constants: Constants,
    spikes: Spikes,
    upstream: Array,
) -> tuple[Array, Array, Constants]:
    spike = spikes.time[..., 0]
    slope = slope_at_spike(spikes.current, constants)[..., 0]
    floor = slope_floor(constants, settings.min_slope)
    floor = jnp.where(slope < floor, floor, 0)

    def explicit(time: Array, weight: Array, constants: Constants) -> Array:
        event_weight, _ = weights_of(events._replace(time=time), weight)
        return first_spike_time(time, event_weight, spike, floor, constants, settings.ratio)

    _, pull_back = jax.vjp(explicit, events.time, weight, constants)
    return pull_back(jnp.where(jnp.isfinite(spike), upstream[..., 0], 0))


_differentiable.defvjp(_forward, pull_back)
run = jax.jit(_differentiable, static_argnums=0)
