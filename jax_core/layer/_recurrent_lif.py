"""The recurrent LIF layer: simulation with exact gradients by EventProp."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._compiled import compiled
from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from .._validate import check_recurrent_delay, check_recurrent_weight
from ..adjoint._directions import adjoint, pull_back_all
from ..adjoint._linear_map import linear_map
from ..adjoint._recurrent import go_back, go_back_to_start, time_constant_gradients, total_gradients
from ..adjoint._through_chunks import tau_through_chunks
from ..connect._lists import Sparse
from ..connect._protocol import Connections
from ..neuron._constants import Constant, Constants, Form
from ..simulate._events import Spikes, sort_input
from ..simulate._recurrent import Simulation, simulate_recurrent
from ..simulate._recurrent_chunked import HurriedSimulation
from ..simulate._recurrent_state import Order
from ..simulate._solver import RecurrentSolver, check_solver, goes_in_chunks
from ._differentiable import Health, Settings, count, pad_slots, without_derivative
from ._options import RecurrentOptions
from ._prepared import Given, Layer, check_settings, prepare
from ._recurrent_connections import constants_together, prepare_recurrent, run_connections
from ._recurrent_lif_state import RecurrentLIFState, run_recurrent_with_state
from ._recurrent_lists import check_own, found_lists, run_lists
from ._spiking import chosen


@overload
def recurrent_lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array | np.ndarray,
    *,
    return_state: Literal[False] = ...,
    return_health: Literal[False] = ...,
    **options: Unpack[RecurrentOptions],
) -> Array: ...
@overload
def recurrent_lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array | np.ndarray,
    *,
    return_state: Literal[False] = ...,
    return_health: Literal[True],
    **options: Unpack[RecurrentOptions],
) -> tuple[Array, Health]: ...
@overload
def recurrent_lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array | np.ndarray,
    *,
    return_state: Literal[True],
    return_health: Literal[False] = ...,
    **options: Unpack[RecurrentOptions],
) -> tuple[Array, RecurrentLIFState]: ...
@overload
def recurrent_lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    recurrent_weight: Array | np.ndarray,
    *,
    return_state: Literal[True],
    return_health: Literal[True],
    **options: Unpack[RecurrentOptions],
) -> tuple[Array, Health, RecurrentLIFState]: ...
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
    t_max: float | Array = math.inf,
    min_slope: float | Array = 1e-3,
    on_overflow: OnOverflow = "error",
    solver: RecurrentSolver = "auto",
    form: Form | None = None,
    connections: Connections | None = None,
    recurrent_connections: Sparse | None = None,
    current: Constant | None = None,
    state: RecurrentLIFState | None = None,
    return_state: bool = False,
    return_health: bool = False,
    samples: int | Array | None = None,
    validate: bool = True,
) -> Any:
    """Spikes of a layer of LIF neurons that are also connected to each other.

    Neurons, input and options are those of `lif`. In addition, a spike of neuron ``i`` adds
    ``recurrent_weight[j, i]`` to the current of each neuron ``j``, itself included, at the time of
    the spike, or ``recurrent_delay[i]``, or ``recurrent_delay[j, i]``, later. Neurons that reach
    their threshold at the same time, to floating-point rounding, all spike before any of these
    spikes arrives; an input at that time has arrived before.

    The simulation of a sample ends where a neuron has more than ``max_spikes`` spikes, as what
    follows depends on the lost spike: no neuron spikes thereafter. `Health` counts such samples
    for the neurons that had no room.

    Differentiable, by EventProp, with respect to spike times, both weights, delays and all
    constants. Time and memory: one pass over ``(batch, out)`` for each input event and each spike
    of the population, forwards, and for each spike backwards (two per spike with delays); memory
    for ``(batch, out, max_spikes)``, and in the backward for ``(batch, out, input events)`` in
    groups of samples. With delays of single connections a spike is one more event for each moment
    in which it arrives anywhere, up to ``out`` of them, an input likewise, and each of these events
    is a pass over ``(batch, out, max_spikes)``.

    **Arguments:**

    - ``recurrent_weight``: shape ``(out, out)``, from neuron ``i`` to ``j`` at ``[j, i]``.
    - ``recurrent_delay``: how long spikes of each neuron take to those of the layer, seconds, >= 0,
      scalar or shape ``(out,)``, or on each connection, ``(out, out)``, as recurrent weights;
      ``None``, no time at all, is faster than 0.
    - ``connections``: as in `lif`, of the input: `Sparse`, `SynapticDelays`, or others that give
      each neuron a list of inputs of its own.
    - ``recurrent_connections``: those within the layer, `Sparse` without delays, from ``out``
      neurons to ``out``; ``recurrent_weight`` is ``(connections,)`` then. Lists cost what a matrix
      does, unless input and layer have them, both with ``hearers`` and without delays of
      connections: large layers with short lists (``solver="lists"``: any) then move only the
      neurons that hear something.
    - ``state``: a `RecurrentLIFState`, with the spikes that are on their way; not with delays of
      connections.

    All others as in `lif`; the chunked solver hurries through inputs between which nobody spikes,
    unless there is a ``recurrent_delay``.

    **Returns:** spike times, seconds, shape ``(..., out, max_spikes)``, ascending, ``inf`` where
    there is no spike; with ``return_health`` or ``return_state`` a tuple of them, `Health` and
    `RecurrentLIFState`, in this order.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument. Under ``jit`` an overflow makes
    the computation fail with a ``jax.errors.JaxRuntimeError``.

    **References:** Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z.
    """
    check_policy(on_overflow)
    check_solver(solver, RecurrentSolver)
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    is_stateful = not (current is None and state is None and not return_state)
    kinds = (None if is_stateful else connections), recurrent_connections
    lists = found_lists(solver, *kinds, getattr(recurrent_delay, "ndim", 0) == 2)
    solver = "lockstep" if solver == "lists" else solver
    settings = check_settings(
        given, max_spikes, t_max, "eventprop", min_slope, form, solver, samples
    )
    if lists is None:
        layer = prepare_recurrent(spikes, weight, given, validate, connections)
    else:
        layer = prepare(spikes, weight, given, validate, connections)
    recurrent, delay = prepare_recurrence(
        recurrent_weight, recurrent_delay, weight, layer.neurons, validate, recurrent_connections
    )
    end = None
    if recurrent_connections is not None and lists is None:
        recurrent = recurrent_connections.dense(recurrent)
    if lists is not None:
        out, health = run_lists(settings, layer, spikes, weight, recurrent, lists, delay)
        out = out.reshape(*layer.leading, *out.shape[1:])
    elif not is_stateful:
        out, health = run_layer(settings, layer, recurrent, delay)
        out = out.reshape(*layer.leading, *out.shape[1:])
    else:
        _check_stateful(connections, delay)
        network = spikes, weight, recurrent, delay
        stateful = given, settings, current, state, return_state, validate
        out, health, end = run_recurrent_with_state(layer, *network, *stateful)
    if not (return_health or settings.form.spikes_once):
        handle_overflow(health.overflow, on_overflow, ends_samples(max_spikes))
    return chosen(out, health, end, return_health)


def _check_stateful(connections: Connections | None, delay: Array | None) -> None:
    if connections is not None or (delay is not None and delay.ndim == 2):
        raise ValueError(
            "state, return_state and current do not go with connections or delays of connections "
            "in recurrent layers; leave these out, or run the stream in one piece"
        )


def prepare_recurrence(
    recurrent_weight: Array | np.ndarray,
    recurrent_delay: Constant | None,
    weight: Array | np.ndarray,
    neurons: int,
    validate: bool,
    connections: Sparse | None = None,
) -> tuple[Array, Array | None]:
    """Check the connections within a layer; **returns** them and their delay, if any, as arrays.

    **Arguments:** ``weight``: that of the input, as it was given; ``connections``: within the
    layer, if weights are those of a list.
    """
    if connections is None:
        check_recurrent_weight(recurrent_weight, weight, neurons, values=validate)
    else:
        check_own(connections, recurrent_weight, weight, neurons, values=validate)
    recurrent = jnp.asarray(recurrent_weight)
    if recurrent_delay is None:
        return recurrent, None
    matrix = jax.ShapeDtypeStruct((neurons, neurons), recurrent.dtype)
    check_recurrent_delay(recurrent_delay, matrix, values=validate)
    return recurrent, jnp.asarray(recurrent_delay, recurrent.dtype)


def run_layer(
    settings: Settings, layer: Layer, recurrent_weight: Array, delay: Array | None
) -> tuple[Array, Health]:
    """Spike times ``(batch, out, max_spikes)`` and health, by the program that suffices."""
    run = run_recurrent
    if layer.places is not None or (delay is not None and delay.ndim == 2):
        run, layer = run_connections, layer._replace(constants=constants_together(layer.constants))
    return run(settings, layer.events, layer.weight, recurrent_weight, delay, layer.constants)


def ends_samples(max_spikes: int, can_rest: bool = True) -> str:
    """What is wrong, and what to do about it, where a neuron has no room for its spikes;
    ``can_rest``: whether neurons may have a refractory period."""
    rest = ", or set refractory=inf for at most one spike per neuron" if can_rest else ""
    return (
        f"neurons have more than max_spikes = {max_spikes} spikes, and their samples end there; "
        f"raise max_spikes, lower t_max{rest}"
    )


@jax.custom_jvp
def _by_eventprop(
    settings: Settings,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
) -> tuple[Array, Health]:
    spikes, _ = _simulate(settings, events, weight, recurrent_weight, delay, constants)
    return pad_slots(settings, spikes.time, jnp.inf), count(settings, spikes, constants)


@_by_eventprop.defjvp
def _eventprop_jvp(primals: tuple, tangents: tuple) -> tuple:
    settings, *_, constants = primals
    spikes, order = _simulate(*primals)
    out = pad_slots(settings, spikes.time, jnp.inf), count(settings, spikes, constants)
    _, of_events, *others = tangents
    moves = of_events.time, *others
    moved = linear_map(_tangent, _adjoint, (*primals, spikes, order), moves, spikes.time)
    return out, (pad_slots(settings, moved, 0), without_derivative(out[1]))


def _simulate(
    settings: Settings,
    events: Events,
    weight: Array,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
) -> tuple[Spikes, Order]:
    batch, slots = events.time.shape
    lanes, room = batch * weight.shape[0], 1 if settings.form.spikes_once else settings.max_spikes
    hurries = delay is None and goes_in_chunks(settings.solver, slots, lanes, room)
    return simulate_recurrent(
        sort_input(events, weight)[0],
        weight,
        recurrent_weight,
        delay,
        constants,
        room,
        settings.t_max,
        settings.form.ratio == 2,
        settings.form.pauses,
        settings.form.spikes_once,
        HurriedSimulation if hurries else Simulation,
    )


def _adjoint(residuals: tuple, upstream: Array) -> tuple:
    """Gradients with respect to input times, both weights, the delay and the constants."""
    batch, out, room = residuals[-2].time.shape
    chunked = goes_in_chunks(residuals[0].solver, out * room, batch * out, room)
    of_tau = tau_through_chunks if chunked else time_constant_gradients
    return _pull_back(residuals, upstream, adjoint, go_back, of_tau)


def _tangent(residuals: tuple, moves: tuple) -> Array:
    """How spike times move; the transpose of `_adjoint`."""
    spikes = residuals[-2]
    backwards = partial(
        _pull_back,
        residuals,
        of_input=pull_back_all,
        go_back=go_back_to_start,
        of_tau=time_constant_gradients,
    )
    _, transpose = jax.vjp(backwards, jnp.zeros_like(spikes.time))
    (moved,) = transpose(moves)
    return jnp.where(jnp.isnan(spikes.time), jnp.nan, moved)


def _pull_back(
    residuals: tuple,
    upstream: Array,
    of_input: Callable[..., Any],
    go_back: Callable[..., Any],
    of_tau: Callable[..., Any],
) -> tuple:
    settings, events, weight, recurrent_weight, delay, constants, spikes, order = residuals
    common = spikes, order, recurrent_weight, delay, constants
    options = settings.min_slope, settings.form.pauses
    total, *recurrent = total_gradients(*common, upstream, *options, go_back)
    time, of_weight, of_constants = of_input((settings, events, weight, constants, spikes), total)
    tau_mem, tau_syn = of_tau(*common, total, *options)
    of_constants = of_constants._replace(
        tau_mem=of_constants.tau_mem + tau_mem, tau_syn=of_constants.tau_syn + tau_syn
    )
    return time, of_weight, *recurrent, of_constants


run_recurrent = compiled("recurrent_lif")(_by_eventprop)
