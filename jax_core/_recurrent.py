"""The recurrent LIF layer: simulation with exact gradients by EventProp."""

import math
from functools import partial
from typing import Literal, TypedDict, Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ._constants import Constant, Constants
from ._events import Events
from ._layer import Health, Settings, count, pad_times, pull_back, sort_input
from ._lif import Given, Layer, check_settings, prepare
from ._overflow import OnOverflow, check_policy, handle_overflow
from ._recurrent_eventprop import time_constant_gradients, total_gradients
from ._recurrent_simulate import simulate_recurrent
from ._validate import check_constant, check_recurrent_weight


class Options(TypedDict, total=False):
    """The options of `recurrent_lif`, for the types of its two forms."""

    recurrent_delay: Constant | None
    tau_mem: Constant
    tau_syn: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant
    max_spikes: int
    t_max: float
    min_slope: float
    on_overflow: OnOverflow
    validate: bool


@overload
def recurrent_lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array | np.ndarray,
    *,
    return_health: Literal[False] = ...,
    **options: Unpack[Options],
) -> Array: ...
@overload
def recurrent_lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array | np.ndarray,
    *,
    return_health: Literal[True],
    **options: Unpack[Options],
) -> tuple[Array, Health]: ...
def recurrent_lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array | np.ndarray,
    *,
    recurrent_delay: Constant | None = None,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    max_spikes: int = 1,
    t_max: float = math.inf,
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    return_health: bool = False,
    validate: bool = True,
) -> Array | tuple[Array, Health]:
    """Spikes of a layer of LIF neurons that are also connected to each other.

    Neurons, input and options are those of `lif`. In addition, a spike of neuron ``i`` adds
    ``recurrent_weight[j, i]`` to the current of each neuron ``j``, itself included, at the time of
    the spike, or ``recurrent_delay[i]`` later. Neurons that reach their threshold at the same time,
    to floating-point rounding, all spike before any of these spikes arrives; an input at that time
    has arrived before.

    The simulation of a sample ends where a neuron has more than ``max_spikes`` spikes, as what
    follows depends on the lost spike: no neuron spikes thereafter. `Health` counts such samples
    for the neurons that had no room.

    Differentiable, by EventProp, with respect to spike times, both weights, delays and all
    constants. Time and memory: one pass over ``(batch, out)`` for each input event and each spike
    of the population, forwards, and for each spike backwards (two per spike with delays); memory
    for ``(batch, out, max_spikes)``, and in the backward for ``(batch, out, input events)`` in
    groups of samples.

    **Arguments:**

    - ``recurrent_weight``: shape ``(out, out)``, from neuron ``i`` to ``j`` at ``[j, i]``.
    - ``recurrent_delay``: how long spikes of each neuron take to those of the layer, seconds, >= 0,
      scalar or shape ``(out,)``; ``None``, no time at all, is faster than 0.

    All others as in `lif`.

    **Returns:** spike times, seconds, shape ``(..., out, max_spikes)``, ascending, ``inf`` where
    there is no spike; with ``return_health`` a tuple of them and `Health`.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument. Under ``jit`` an overflow makes
    the computation fail with a ``jax.errors.JaxRuntimeError``.

    **References:** Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z.
    """
    check_policy(on_overflow)
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    settings = check_settings(given, max_spikes, t_max, "eventprop", min_slope)
    layer = prepare(spikes, weight, given, validate)
    recurrent, delay = prepare_recurrence(recurrent_weight, recurrent_delay, layer, validate)
    out, health = run_recurrent(
        settings, layer.events, layer.weight, recurrent, delay, layer.constants
    )
    out = layer.unflatten(out)
    if return_health:
        return out, health
    if not settings.spikes_once:
        handle_overflow(health.overflow, on_overflow, ends_samples(max_spikes))
    return out


def prepare_recurrence(
    recurrent_weight: Array | np.ndarray,
    recurrent_delay: Constant | None,
    layer: Layer,
    validate: bool,
) -> tuple[Array, Array | None]:
    """Check the connections within a layer; **returns** them and their delay, if any, as arrays."""
    check_recurrent_weight(recurrent_weight, layer.weight, values=validate)
    recurrent = jnp.asarray(recurrent_weight)
    if recurrent_delay is None:
        return recurrent, None
    neurons, dtype = recurrent.shape[0], recurrent.dtype
    name = "recurrent_delay"
    check_constant(recurrent_delay, name, neurons, dtype, nonnegative=True, values=validate)
    return recurrent, jnp.asarray(recurrent_delay, dtype)


def ends_samples(max_spikes: int) -> str:
    """What is wrong, and what to do about it, where a neuron has no room for its spikes."""
    return (
        f"neurons have more than max_spikes = {max_spikes} spikes, and their samples end there; "
        f"raise max_spikes, lower t_max, or set refractory=inf for at most one spike per neuron"
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(
    settings: Settings,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
) -> tuple[Array, Health]:
    return _forward(settings, events, weight, recurrent_weight, delay, constants)[0]


def _forward(
    settings: Settings,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
) -> tuple[tuple[Array, Health], tuple]:
    spikes, order = simulate_recurrent(
        sort_input(events, weight),
        weight,
        recurrent_weight,
        delay,
        constants,
        1 if settings.spikes_once else settings.max_spikes,
        settings.t_max,
        settings.ratio == 2,
        _pauses(settings),
        settings.spikes_once,
    )
    result = pad_times(settings, spikes), count(settings, spikes, constants)
    return result, (events, weight, recurrent_weight, delay, constants, spikes, order)


def _pauses(settings: Settings) -> bool:
    """Whether any neuron has a refractory period and may spike again."""
    return settings.is_refractory and not settings.spikes_once


def _backward(settings: Settings, residuals: tuple, cotangents: tuple) -> tuple:
    events, weight, recurrent_weight, delay, constants, spikes, order = residuals
    common = spikes, order, recurrent_weight, delay, constants
    options = settings.min_slope, _pauses(settings)
    upstream = cotangents[0][..., : spikes.time.shape[-1]]
    total, *recurrent = total_gradients(*common, upstream, *options)
    residuals = events, weight, constants, spikes
    *of_input, of_constants = pull_back(settings, residuals, (total,))
    tau_mem, tau_syn = time_constant_gradients(*common, total, *options)
    of_constants = of_constants._replace(
        tau_mem=of_constants.tau_mem + tau_mem, tau_syn=of_constants.tau_syn + tau_syn
    )
    return *of_input, *recurrent, of_constants


_differentiable.defvjp(_forward, _backward)
run_recurrent = jax.jit(_differentiable, static_argnums=0)
