"""The differentiable LIF layer: the simulation, with either gradient method as its derivative."""

import dataclasses
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .._compiled import compiled
from .._events import Events
from ..adjoint._directions import adjoint, tangent
from ..adjoint._eventprop import slope_at_spike, slope_floor
from ..adjoint._fast_and_deep import with_derivative
from ..adjoint._linear_map import linear_map
from ..adjoint._method import GradientMethod, by_method
from ..neuron._constants import Constants, Form
from ..neuron._cuba_lif import CubaLIF, current
from ..simulate._all_spikes import all_spikes
from ..simulate._chunked import spikes_in_chunks
from ..simulate._events import Spikes, sort_input
from ..simulate._first_spikes import first_spikes
from ..simulate._solver import Solver, simulates_in_chunks

Gradient = Literal["eventprop", "fast_and_deep"] | GradientMethod


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
    bound: Array
    """The largest factor, rounded up, by which the gradient of a grazing spike was reduced."""
    unpredicted: Array | None = None
    """Observed spikes at which the model's voltage does not rise; they have no gradient."""
    missing: Array | None = None
    """Spikes that the model predicts and that were not observed, if asked for."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["t_max", "min_slope", "counted"],
    meta_fields=["max_spikes", "gradient", "form", "solver"],
)
@dataclasses.dataclass(frozen=True)
class Settings:
    """What a layer does beside its neurons' dynamics; ``t_max``, ``min_slope`` and ``counted`` are
    values at run time, the rest is fixed when the layer is compiled."""

    t_max: Array | float
    min_slope: Array | float
    max_spikes: int
    gradient: Gradient
    form: Form
    solver: Solver = "auto"
    counted: Array | None = None
    """How many rows of the batch `Health` counts, the first ones; ``None`` for all."""


def simulate(settings: Settings, events: Events, weight: Array, constants: Constants) -> Spikes:
    """Spikes by simulation, with one slot per neuron where it spikes once at most."""
    order, _ = sort_input(events, weight)
    neuron = CubaLIF(constants, settings.form)
    batch, slots = order.time.shape
    lanes, room = batch * weight.shape[0], settings.max_spikes
    if simulates_in_chunks(settings.solver, slots, lanes, room, settings.form):
        return spikes_in_chunks(order, weight, neuron, room, settings.t_max)
    if neuron.once:
        return first_spikes(order, weight, neuron, settings.t_max, current)
    return all_spikes(order, weight, neuron, room, settings.t_max, current)


def count(settings: Settings, spikes: Spikes, constants: Constants) -> Health:
    """Count what `Health` has of simulated and of observed spikes."""
    slope = slope_at_spike(spikes.current, constants)
    floor = slope_floor(constants, settings.min_slope)[..., None]
    return tally(spikes, slope, floor, settings.counted)


def tally(spikes: Spikes, slope: Array, floor: Array, counted: Array | None) -> Health:
    """The same, given the slopes at spikes, those below which a spike grazes, and how many rows
    count."""
    counts = counting_rows(counted, spikes.time)
    grazing = counts & spikes.has_gradient & (slope < floor)
    factor = jnp.where(grazing, floor / jnp.maximum(slope, 0), 0)
    return Health(
        silent=jnp.sum(counts[..., 0] & jnp.isinf(spikes.time[..., 0]), axis=0, dtype=jnp.int32),
        grazing=jnp.sum(grazing, axis=(0, 2), dtype=jnp.int32),
        overflow=jnp.sum(counts[..., 0] & spikes.overflow, axis=0, dtype=jnp.int32),
        bound=jnp.max(_whole(factor), axis=(0, 2), initial=0),
    )


def counting_rows(counted: Array | None, time: Array) -> Array:
    """Which rows of ``(batch, out, K)`` count, ``(batch, 1, 1)``."""
    rows = time.shape[0]
    if counted is None:
        return jnp.ones((rows, 1, 1), bool)
    return (jnp.arange(rows, dtype=jnp.int32) < jnp.asarray(counted, jnp.int32))[:, None, None]


def _whole(factor: Array) -> Array:
    """The next integer, or the largest one."""
    return jnp.ceil(jnp.minimum(factor, 2.0**30)).astype(jnp.int32)


def pad_slots(settings: Settings, of_spikes: Array, absent: float) -> Array:
    """Something of each spike with ``max_spikes`` slots, ``(batch, out, max_spikes)``."""
    room = settings.max_spikes - of_spikes.shape[-1]
    return jnp.pad(of_spikes, ((0, 0), (0, 0), (0, room)), constant_values=absent)


@jax.custom_jvp
def _by_eventprop(
    settings: Settings, events: Events, weight: Array, constants: Constants
) -> tuple[Array, Health]:
    spikes = simulate(settings, events, weight, constants)
    return pad_slots(settings, spikes.time, jnp.inf), count(settings, spikes, constants)


@_by_eventprop.defjvp
def _eventprop_jvp(primals: tuple, tangents: tuple) -> tuple:
    settings, events, weight, constants = primals
    spikes = simulate(settings, events, weight, constants)
    out = pad_slots(settings, spikes.time, jnp.inf), count(settings, spikes, constants)
    _, of_events, *others = tangents
    moves = of_events.time, *others
    moved = linear_map(tangent, adjoint, (*primals, spikes), moves, spikes.time)
    return out, (pad_slots(settings, moved, 0), without_derivative(out[1]))


def _explicitly(
    settings: Settings, events: Events, weight: Array, constants: Constants
) -> tuple[Array, Health]:
    fixed = lax.stop_gradient((events, weight, constants))
    spikes = simulate(settings, *fixed)
    time = explicit(settings, events, weight, constants, spikes)
    return pad_slots(settings, time, jnp.inf), count(settings, spikes, fixed[-1])


@compiled("lif")
def run(
    settings: Settings, events: Events, weight: Array, constants: Constants
) -> tuple[Array, Health]:
    """Spike times ``(batch, out, max_spikes)`` and health of a layer."""
    by = _by_eventprop if settings.gradient == "eventprop" else _explicitly
    return by(settings, events, weight, constants)


def explicit(
    settings: Settings, events: Events, weight: Array, constants: Constants, spikes: Spikes
) -> Array:
    """Spike times as a function of what they depend on, for all methods but EventProp."""
    if callable(settings.gradient):
        return by_method(settings.gradient, events, weight, constants, spikes)
    return with_derivative(settings, events, weight, constants, spikes)


def without_derivative(tree: Any) -> Any:
    """The tangents of what is counted: none."""
    return jax.tree.map(lambda x: np.zeros(x.shape, jax.dtypes.float0), tree)
