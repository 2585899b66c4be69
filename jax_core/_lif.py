"""The LIF layer: simulation with exact gradients, by either of two methods."""

import dataclasses
import math
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ._constants import Constants
from ._eventprop import eventprop, slope_at_spike, slope_floor
from ._events import Events
from ._first_spike import first_spike_time
from ._overflow import OnOverflow, handle_overflow
from ._simulate import Input, Spikes, all_spikes, first_spikes
from ._sort import sort_times
from ._validate import (
    check_constant,
    check_duration,
    check_integer,
    check_less,
    check_spikes,
    check_weight,
)

Gradient = Literal["eventprop", "fast_and_deep"]


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


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What is fixed when the layer is compiled."""

    max_spikes: int
    t_max: float
    gradient: Gradient
    min_slope: float
    ratio: int | None
    """1 or 2 where ``tau_mem`` is known to be that multiple of ``tau_syn``."""
    spikes_once: bool
    is_refractory: bool


def lif(
    spikes: ArrayLike | Events,
    weight: ArrayLike,
    *,
    tau_mem: ArrayLike = 2e-2,
    tau_syn: ArrayLike = 1e-2,
    v_threshold: ArrayLike = 1.0,
    v_leak: ArrayLike = 0.0,
    v_reset: ArrayLike = 0.0,
    refractory: ArrayLike = 0.0,
    max_spikes: int = 1,
    t_max: float = math.inf,
    gradient: Gradient = "eventprop",
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    return_health: bool = False,
    validate: bool = True,
) -> Array | tuple[Array, Health]:
    """Spikes of a feed-forward layer of current-based leaky integrate-and-fire neurons.

    Between events ``tau_mem dV/dt = v_leak - V + I``, ``tau_syn dI/dt = -I``; an input spike adds
    its weight to ``I``; where ``V`` reaches ``v_threshold`` from below the neuron spikes and ``V``
    stays at ``v_reset`` for the time ``refractory``. ``V`` starts at ``v_leak`` (at ``v_reset`` if
    ``v_leak >= v_threshold``), ``I`` at 0. Spikes are found in continuous time, to float precision.

    Differentiable with respect to spike times, weights and all neuron constants. Constants given as
    Python numbers are compiled in; with ``tau_mem`` equal to ``tau_syn`` or twice that, closed
    forms are used.

    **Arguments:**

    - ``spikes``: input spike times, seconds, shape ``(..., in, k)``, ascending, ``inf`` where there
      is no spike; or `Events`, shape ``(..., M)``.
    - ``weight``: shape ``(out, in)``, in units of voltage, same dtype as the spikes.
    - ``tau_mem``, ``tau_syn``: membrane and synaptic time constant, seconds, > 0.
    - ``v_threshold``, ``v_leak``, ``v_reset``: potentials; ``v_reset < v_threshold``.
    - ``refractory``: refractory period, seconds, >= 0; ``inf`` allows one spike per neuron.
      All neuron constants are scalars or have shape ``(out,)``.
    - ``max_spikes``: room for this many spikes per neuron.
    - ``t_max``: end of the simulation, seconds; later spikes do not happen.
    - ``gradient``: ``"eventprop"`` (the adjoint method) or ``"fast_and_deep"`` (explicit
      differentiation of the first spike time; for at most one spike per neuron).
    - ``min_slope``: least slope ``tau_mem dV/dt`` at a spike that gradients divide by, as a
      fraction of ``v_threshold - v_reset``; 0 for unbounded gradients of grazing spikes.
    - ``on_overflow``: what to do if a neuron has more than ``max_spikes`` spikes: ``"error"``,
      ``"warn"``, or ``"truncate"`` (keep the first ones).
    - ``return_health``: also return `Health`, and leave acting on an overflow to the caller.
    - ``validate``: whether to check the values of arrays (shapes and dtypes always are).

    **Returns:** spike times, seconds, shape ``(..., out, max_spikes)``, ascending, ``inf`` where
    there is no spike; with ``return_health`` a tuple of them and `Health`.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument. Under ``jit`` an overflow makes
    the computation fail with a ``jax.errors.JaxRuntimeError``.

    **References:** Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z;
    Göltz et al. 2021, doi:10.1038/s42256-021-00388-x.
    """
    given = Constants(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    settings = _settings(given, max_spikes, t_max, gradient, min_slope)
    events, weight, constants = _prepare(spikes, weight, given, validate)
    batch_shape = events.time.shape[:-1]
    flat = jax.tree.map(lambda x: x.reshape(math.prod(batch_shape), x.shape[-1]), events)
    out, health = _run(settings, flat, weight, constants)
    out = out.reshape(*batch_shape, *out.shape[-2:])
    if return_health:
        return out, health
    if not settings.spikes_once:
        handle_overflow(
            health.overflow,
            on_overflow,
            f"neurons have more than max_spikes = {max_spikes} spikes; raise max_spikes, or set "
            f"refractory=inf for at most one spike per neuron",
        )
    return out


def _settings(
    given: Constants, max_spikes: int, t_max: float, gradient: Gradient, min_slope: float
) -> _Settings:
    """Check what is static, and find out what can be exploited at compile time."""
    check_integer(max_spikes, "max_spikes", 1)
    check_duration(t_max, "t_max", positive=True)
    check_duration(min_slope, "min_slope", infinite=False)
    spikes_once = _is_number(given.refractory) and math.isinf(given.refractory)
    if gradient not in ("eventprop", "fast_and_deep"):
        raise ValueError(f'gradient must be "eventprop" or "fast_and_deep", got {gradient!r}')
    if gradient == "fast_and_deep" and not (spikes_once or max_spikes == 1):
        raise ValueError(
            'gradient="fast_and_deep" covers first spikes only: set max_spikes=1 or '
            'refractory=inf, or use gradient="eventprop"'
        )
    ratio = None
    if _is_number(given.tau_mem) and _is_number(given.tau_syn):
        ratio = {float(given.tau_syn): 1, 2 * float(given.tau_syn): 2}.get(float(given.tau_mem))
    return _Settings(
        max_spikes=int(max_spikes),
        t_max=float(t_max),
        gradient=gradient,
        min_slope=float(min_slope),
        ratio=ratio,
        spikes_once=spikes_once,
        is_refractory=not (_is_number(given.refractory) and given.refractory == 0),
    )


def _is_number(x: ArrayLike) -> bool:
    return isinstance(x, int | float | np.number) and not isinstance(x, bool)


def _prepare(
    spikes: ArrayLike | Events, weight: ArrayLike, given: Constants, validate: bool
) -> tuple[Events, Array, Constants]:
    """Check arrays; bring spikes into the form of unsorted events, constants into arrays.

    Events made from a spike-time tensor keep its order: the ``index`` is ``None``.
    """
    is_events = isinstance(spikes, Events)
    check_spikes(spikes, values=validate)
    pre = None if is_events else spikes.shape[-2]
    check_weight(weight, pre, (spikes.time if is_events else spikes).dtype, values=validate)
    post, pre = weight.shape
    if is_events:
        check_spikes(spikes, pre, values=validate)
    weight = jnp.asarray(weight)
    dtype = weight.dtype
    check = partial(check_constant, neurons=post, dtype=dtype, values=validate)
    check(given.tau_mem, "tau_mem", positive=True)
    check(given.tau_syn, "tau_syn", positive=True)
    check(given.v_threshold, "v_threshold")
    check(given.v_leak, "v_leak")
    check(given.v_reset, "v_reset")
    check(given.refractory, "refractory", nonnegative=True, infinite=True)
    check_less(given.v_reset, given.v_threshold, "v_reset", "v_threshold")
    constants = Constants(*(jnp.asarray(value, dtype) for value in given))
    if is_events:
        index = jnp.asarray(spikes.index, jnp.int32)
        return Events(jnp.asarray(spikes.time), index), weight, constants
    spikes = jnp.asarray(spikes)
    *leading, pre, per_neuron = spikes.shape
    return Events(spikes.reshape(*leading, pre * per_neuron), None), weight, constants


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(
    settings: _Settings, events: Events, weight: Array, constants: Constants
) -> tuple[Array, Health]:
    return _forward(settings, events, weight, constants)[0]


def _forward(
    settings: _Settings, events: Events, weight: Array, constants: Constants
) -> tuple[tuple[Array, Health], tuple]:
    order = _sort(events, weight)
    is_double = settings.ratio == 2
    if settings.spikes_once:
        spikes = first_spikes(order, weight, constants, settings.t_max, is_double)
    else:
        spikes = all_spikes(
            order,
            weight,
            constants,
            settings.max_spikes,
            settings.t_max,
            is_double,
            settings.is_refractory,
        )
    slope = slope_at_spike(spikes.current, constants)
    floor = slope_floor(constants, settings.min_slope)[..., None]
    is_spike = jnp.isfinite(spikes.time)
    health = Health(
        silent=jnp.sum(~is_spike[..., 0], axis=0, dtype=jnp.int32),
        grazing=jnp.sum(is_spike & (slope < floor), axis=(0, 2), dtype=jnp.int32),
        overflow=jnp.sum(spikes.overflow, axis=0, dtype=jnp.int32),
    )
    room = settings.max_spikes - spikes.time.shape[-1]
    time = jnp.pad(spikes.time, ((0, 0), (0, 0), (0, room)), constant_values=jnp.inf)
    return (time, health), (events, weight, constants, spikes)


def _sort(events: Events, weight: Array) -> Input:
    """Order events by time; a spike-time tensor's place tells the neuron."""
    if events.index is not None:
        # Sorted by contract, checked where values are known.
        return Input(events.time, events.index)
    time, place = sort_times(events.time)
    per_neuron = max(events.time.shape[-1] // max(weight.shape[1], 1), 1)
    return Input(time, place // per_neuron)


def _backward(settings: _Settings, residuals: tuple, cotangents: tuple) -> tuple:
    events, weight, constants, spikes = residuals
    upstream = cotangents[0][..., : spikes.time.shape[-1]]
    upstream = jnp.where(jnp.isfinite(spikes.time), upstream, 0)
    if settings.gradient == "eventprop":
        event_weight, accumulate = _weights_of(events, weight)
        gradients = eventprop(
            events.time,
            event_weight,
            spikes,
            constants,
            upstream,
            settings.min_slope,
            settings.is_refractory and not settings.spikes_once,
        )
        time, weight_bar, constants_bar = (
            gradients.time,
            accumulate(gradients.weight),
            gradients.constants,
        )
    else:
        time, weight_bar, constants_bar = _fast_and_deep(
            settings, events, weight, constants, spikes, upstream
        )
    index_bar = None if events.index is None else np.zeros(events.index.shape, jax.dtypes.float0)
    return Events(time, index_bar), weight_bar, constants_bar


def _weights_of(events: Events, weight: Array) -> tuple:
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
    settings: _Settings,
    events: Events,
    weight: Array,
    constants: Constants,
    spikes: Spikes,
    upstream: Array,
) -> tuple[Array, Array, Constants]:
    spike = spikes.time[..., 0]

    def explicit(time: Array, weight: Array, constants: Constants) -> Array:
        event_weight, _ = _weights_of(events._replace(time=time), weight)
        return first_spike_time(time, event_weight, spike, constants, settings.ratio)

    slope = slope_at_spike(spikes.current, constants)[..., 0]
    floor = slope_floor(constants, settings.min_slope)
    bounded = jnp.where(slope < floor, slope / jnp.where(floor > 0, floor, 1), 1)
    _, pull_back = jax.vjp(explicit, events.time, weight, constants)
    return pull_back(jnp.where(jnp.isfinite(spike), upstream[..., 0] * bounded, 0))


_differentiable.defvjp(_forward, _backward)
_run = jax.jit(_differentiable, static_argnums=0)
