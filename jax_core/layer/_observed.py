"""Gradients from observed spikes: the model's derivative at the spikes that hardware emitted."""

import dataclasses
import math
from functools import partial
from typing import Literal, Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .._compiled import compiled
from .._events import Events
from .._validate import check_spike_times
from ..adjoint._directions import adjoint, tangent
from ..adjoint._eventprop import slope_at_spike, slope_floor
from ..adjoint._linear_map import linear_map
from ..connect._protocol import Connections
from ..neuron._constants import Constant, Constants, Form
from ..simulate._currents import currents_at
from ..simulate._events import Spikes, sort_input
from ..simulate._solver import Solver
from ._differentiable import (
    Gradient,
    Health,
    Settings,
    count,
    counting_rows,
    explicit,
    pad_slots,
    simulate,
    without_derivative,
)
from ._options import ObservedOptions
from ._prepared import Given, Layer, check_settings, prepare


@overload
def lif_observed(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    observed: Array | np.ndarray,
    *,
    return_health: Literal[False] = ...,
    **options: Unpack[ObservedOptions],
) -> Array: ...
@overload
def lif_observed(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    observed: Array | np.ndarray,
    *,
    return_health: Literal[True],
    **options: Unpack[ObservedOptions],
) -> tuple[Array, Health]: ...
def lif_observed(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    observed: Array | np.ndarray,
    *,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    t_max: float | Array = math.inf,
    gradient: Gradient = "eventprop",
    min_slope: float | Array = 1e-3,
    count_missing: bool = False,
    solver: Solver = "auto",
    form: Form | None = None,
    connections: Connections | None = None,
    return_health: bool = False,
    samples: int | Array | None = None,
    validate: bool = True,
) -> Array | tuple[Array, Health]:
    """Spikes that hardware emitted, with the gradients that the model of `lif` has there.

    Returns ``observed`` as it is. Backwards, the model's currents at the observed times stand for
    what was not measured, and its voltage is taken to be at threshold there. If the spikes are
    those of `lif`, so are the gradients; with EventProp to the last bit.

    A spike gets no gradient where the model's voltage does not rise (``tau_mem dV/dt <= 0`` at
    the threshold), nor within the refractory period of the one before. The neuron is reset there
    nevertheless. A spike that the model predicts and that was not observed has no gradient either,
    like any silence.

    **Arguments:**

    - ``observed``: spike times of this layer, seconds, shape ``(..., out, K)``, ascending, ``inf``
      where there is no spike; leading dimensions and dtype of ``spikes``.
    - ``t_max``: end of the observation, seconds; matters for ``count_missing`` only.
    - ``gradient``: ``"eventprop"``, or ``"fast_and_deep"`` for ``K = 1`` or ``refractory=inf``; the
      latter by the implicit function theorem for all time constants.
    - ``count_missing``: whether to simulate the layer too and count the spikes, among the first
      ``K`` of each neuron, that it has beyond the observed number.
    - ``connections``: as in `lif`; ``observed`` has the axes of its neurons.
    - ``return_health``: also return `Health` with ``unpredicted`` (and ``missing`` if counted).

    All others as in `lif`.

    **Returns:** ``observed``; with ``return_health`` a tuple of it and `Health`.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument.

    **References:** Cramer et al. 2022, doi:10.1073/pnas.2109194119 (in-the-loop training); Göltz et
    al. 2021, doi:10.1038/s42256-021-00388-x; Pehle et al. 2023, arXiv:2302.07141.
    """
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    layer = prepare(spikes, weight, given, validate, connections)
    check_observed(observed, layer, validate)
    room = max(observed.shape[-1], 1)
    settings = check_settings(given, room, t_max, gradient, min_slope, form, solver, samples)
    run = partial(run_observed, bool(count_missing), layer.suited(settings))
    out, health = layer.over(run, layer.flatten(observed))
    out, health = layer.unflatten(out), layer.counts(health)
    return (out, health) if return_health else out


def check_observed(
    observed: Array | np.ndarray, layer: Layer, validate: bool, name: str = "observed"
) -> None:
    """Check observed spikes of a layer."""
    neurons = layer.shape[-1] if layer.places else layer.neurons
    check_spike_times(observed, neurons, name, values=validate)
    axes = len(layer.shape) + 1
    if observed.shape[:-axes] != layer.leading:
        raise ValueError(
            f"{name} of shape {observed.shape} must have the leading dimensions {layer.leading} of "
            f"spikes"
        )
    if layer.places and observed.shape[-axes:-1] != layer.shape:
        raise ValueError(
            f"{name} of shape {observed.shape} must be of neurons {layer.shape}, one more axis "
            f"for their spikes"
        )
    if jax.dtypes.canonicalize_dtype(observed.dtype) != layer.weight.dtype:
        raise TypeError(
            f"{name} is {observed.dtype}, but weight is {layer.weight.dtype}; convert one of them"
        )


@compiled("lif_observed", static_argnums=0)
def run_observed(
    count_missing: bool,
    settings: Settings,
    events: Events,
    weight: Array,
    constants: Constants,
    time: Array,
) -> tuple[Array, Health]:
    """The observed spikes ``(batch, out, K)``, with the model's gradients, and their health."""
    if settings.gradient == "eventprop":
        return _by_eventprop(count_missing, settings, events, weight, constants, time)
    own, given, chosen, seen = lax.stop_gradient((events, weight, constants, time))
    spikes, health = _look(count_missing, settings, own, given, chosen, seen)
    # The closed forms differentiate the model's own crossing, which need not exist here.
    settings = dataclasses.replace(settings, form=settings.form._replace(ratio=None))
    given = explicit(settings, events, weight, constants, spikes)
    rest = time[..., given.shape[-1] :]
    out = jnp.concatenate([given, rest], axis=-1)[..., : time.shape[-1]]
    return _shown(out, spikes), health


def _shown(time: Array, spikes: Spikes) -> Array:
    """What was observed; NaN of neurons whose voltage in the model is NaN."""
    undefined = jnp.any(jnp.isnan(spikes.time), axis=-1, keepdims=True)
    return jnp.where(undefined, jnp.nan, time)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _by_eventprop(
    count_missing: bool,
    settings: Settings,
    events: Events,
    weight: Array,
    constants: Constants,
    time: Array,
) -> tuple[Array, Health]:
    spikes, health = _look(count_missing, settings, events, weight, constants, time)
    return _shown(time, spikes), health


@_by_eventprop.defjvp
def _eventprop_jvp(count_missing: bool, primals: tuple, tangents: tuple) -> tuple:
    settings, events, weight, constants, time = primals
    spikes, health = _look(count_missing, settings, events, weight, constants, time)
    _, of_events, *others, _ = tangents
    moves = of_events.time, *others
    moved = linear_map(tangent, adjoint, (*primals[:-1], spikes), moves, spikes.time)
    moved = pad_slots(settings, moved, 0)[..., : time.shape[-1]]
    return (_shown(time, spikes), health), (moved, without_derivative(health))


def _look(
    count_missing: bool,
    settings: Settings,
    events: Events,
    weight: Array,
    constants: Constants,
    time: Array,
) -> tuple[Spikes, Health]:
    """What a simulation would know of the observed spikes, and their health."""
    is_spike = counting_rows(settings.counted, time) & jnp.isfinite(time)
    spikes = _as_spikes(settings, events, weight, constants, time)
    counts = counting_rows(settings.counted, spikes.time)
    predicted = jnp.sum(counts & spikes.has_gradient, axis=(0, 2), dtype=jnp.int32)
    health = count(settings, spikes, constants)._replace(
        unpredicted=jnp.sum(is_spike, axis=(0, 2), dtype=jnp.int32) - predicted
    )
    if count_missing:
        simulated = simulate(settings, events, weight, constants).time
        expected = counting_rows(settings.counted, simulated) & jnp.isfinite(simulated)
        absent = jnp.sum(expected, axis=-1) - jnp.sum(is_spike, axis=-1)
        missing = jnp.sum(jnp.maximum(absent, 0), axis=0, dtype=jnp.int32)
        health = health._replace(missing=missing)
    return spikes, health


def _as_spikes(
    settings: Settings, events: Events, weight: Array, constants: Constants, time: Array
) -> Spikes:
    """What a simulation would know of the observed spikes."""
    if time.shape[-1] == 0:
        time = jnp.full((*time.shape[:-1], 1), jnp.inf, time.dtype)
    own = time[..., :1] if settings.form.spikes_once else time
    none = jnp.zeros_like(own)
    spikes = Spikes(own, none, none, jnp.zeros(own.shape[:2], bool), jnp.isfinite(own))
    spikes = _with_currents(settings, events, weight, constants, spikes)
    is_free = jnp.pad(
        own[..., 1:] >= own[..., :-1] + constants.refractory[..., None],
        ((0, 0), (0, 0), (1, 0)),
        constant_values=True,
    )
    slope = slope_at_spike(spikes.current, constants)
    # A grazing spike's slope may be rounded below 0; that spike is still the model's.
    size = jnp.abs(spikes.current) + jnp.abs(constants.threshold)[..., None]
    rises = slope > -8 * jnp.finfo(slope.dtype).eps * size
    divisible = jnp.maximum(slope, slope_floor(constants, settings.min_slope)[..., None]) > 0
    return spikes._replace(has_gradient=jnp.isfinite(spikes.time) & is_free & rises & divisible)


def _with_currents(
    settings: Settings, events: Events, weight: Array, constants: Constants, spikes: Spikes
) -> Spikes:
    """The spikes with the currents that the model has at their times.

    A spike at the very time of a simulated one gets that one's currents: no matter how either is
    rounded, what the hardware does as simulated has the simulation's gradients, bit by bit.
    """
    simulated = simulate(settings, events, weight, constants)
    time = spikes.time
    query = [time]
    if settings.form.pauses:
        query.append(time + constants.refractory[..., None])
    order, _ = sort_input(events, weight)
    found = currents_at(order, weight, constants.tau_syn, jnp.concatenate(query, axis=-1))
    room = max(time.shape[-1] - simulated.time.shape[-1], 0)

    def fit(x: Array, absent: float) -> Array:
        return jnp.pad(x, ((0, 0), (0, 0), (0, room)), constant_values=absent)[
            ..., : time.shape[-1]
        ]

    undefined = jnp.any(jnp.isnan(simulated.time), axis=-1, keepdims=True)
    as_simulated = time == fit(simulated.time, jnp.inf)
    return spikes._replace(
        time=jnp.where(undefined, jnp.nan, time),
        current=jnp.where(as_simulated, fit(simulated.current, 0), found[..., : time.shape[-1]]),
        release_current=jnp.where(
            as_simulated, fit(simulated.release_current, 0), found[..., -time.shape[-1] :]
        ),
    )
