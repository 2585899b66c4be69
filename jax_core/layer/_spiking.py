"""A layer of neurons of any model: simulation with exact gradients."""

import dataclasses
import math
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._compiled import compiled
from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from .._validate import (
    check_constant,
    check_duration,
    check_integer,
    known,
)
from .._validate_layer import check_not_negative, check_per_neuron, check_ports
from ..adjoint._replay import replay
from ..adjoint._single import single_derivative, undefined_change
from ..connect._lists import check_nothing_lost
from ..connect._protocol import Connections
from ..neuron._protocol import Neuron, can_rest
from ..simulate._all_spikes import all_spikes
from ..simulate._events import Input, Spikes, sort_input, sorted_input, with_trial_end
from ..simulate._first_spikes import first_spikes
from ..simulate._start import Start, where
from ._differentiable import Health, tally, without_derivative
from ._prepared import Layer, counted_samples, prepare, too_many

State = TypeVar("State", bound=tuple)


class LayerState(NamedTuple):
    """What a layer is in the middle of: where one piece of a stream ends and the next begins."""

    state: Any
    """The neurons' own states, each leaf ``(..., out)``."""
    refractory: Array
    """How much is left of the refractory period, seconds, ``(..., out)``."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["t_max", "min_slope", "counted"],
    meta_fields=["max_spikes", "return_state", "beyond"],
)
@dataclasses.dataclass(frozen=True)
class Window:
    """What a layer does beside its neurons' dynamics."""

    t_max: Array | float
    min_slope: Array | float
    max_spikes: int
    return_state: bool
    counted: Array | None = None
    """How many rows of the batch `Health` counts, the first ones; ``None`` for all."""
    beyond: bool = False
    """Whether all goes on after ``t_max`` until there are ``max_spikes`` spikes."""

    @property
    def horizon(self) -> Array | float:
        """When the simulation ends."""
        return math.inf if self.beyond else self.t_max


def spiking(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    neuron: Neuron,
    *,
    ports: np.ndarray | None = None,
    max_spikes: int = 1,
    t_max: float | Array = math.inf,
    min_slope: float | Array = 1e-3,
    on_overflow: OnOverflow = "error",
    connections: Connections | None = None,
    state: LayerState | None = None,
    return_state: bool = False,
    return_health: bool = False,
    samples: int | Array | None = None,
    validate: bool = True,
) -> Any:
    """Spikes of a feed-forward layer of neurons of any model.

    Differentiable, once, with respect to spike times, weights, the neuron's constants and the
    state. Gradients come from going through the spikes again (implicit function theorem at each),
    with time and memory for all (neuron, event) pairs; `lif` is faster for CuBa-LIF neurons.

    **Arguments:**

    - ``neuron``: the model, see `Neuron`; its constants are numbers, scalars or ``(out,)``.
    - ``ports``: through which kind of synapses each input neuron acts, whole numbers ``(in,)``;
      ``None``: all through 0.
    - ``state``: what to start with: an earlier call's, whose end is this one's time 0. ``None``:
      at rest.
    - ``return_state``: also return the state at ``t_max``, which must be finite then; of a neuron
      that has overflowed it means nothing.

    All others as in `lif`.

    **Returns:** spike times, ``(..., out, max_spikes)``; a tuple of them and, as asked for, health
    and state.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument.
    """
    check_policy(on_overflow)
    check_nothing_lost(connections, return_state)
    layer = prepare(spikes, weight, Given(neuron), validate, connections)
    counted = layer.rows(counted_samples(samples))
    window = check_window(t_max, min_slope, max_spikes, return_state, counted)
    if neuron.needs_end:
        check_finite(t_max)
    if neuron.goes_on:
        window = beyond(window)
    if ports is not None:
        ports = check_ports(ports, layer.weight.shape[-1])
    start = None
    if state is not None:
        like = LayerState(neuron.start(), jnp.zeros(()))
        start = Start(*jax.tree.map(layer.flatten, check_state(state, like, layer, validate)))
    out, health, end = run_layer(layer, window, start, ports)
    if not (return_health or neuron.once):
        handle_overflow(health.overflow, on_overflow, too_many(max_spikes, can_rest(neuron)))
    return chosen(out, health, LayerState(*end) if end else None, return_health)


def begun(start: Start, neuron: Neuron) -> Start:
    """A given start, with voltages that are held where they are held."""
    if neuron.once or neuron.pauses:
        held = where(start.hold > 0, neuron.hold(start.state), start.state)
        return start._replace(state=held)
    return start._replace(hold=jnp.zeros_like(start.hold))


def chosen(out: Any, health: Any, state: Any, return_health: bool) -> Any:
    """Spikes, or a tuple of them and of what else was asked for."""
    found = [out, *([health] if return_health else []), *([] if state is None else [state])]
    return out if len(found) == 1 else tuple(found)


def check_window(
    t_max: float | Array,
    min_slope: float | Array,
    max_spikes: int,
    return_state: bool,
    counted: Array | None,
) -> Window:
    """Check what a layer does beside its neurons' dynamics."""
    check_integer(max_spikes, "max_spikes", 1)
    check_duration(t_max, "t_max", positive=True)
    if return_state and known(t_max) and np.any(np.isinf(t_max)):
        raise ValueError(
            "t_max must be finite with return_state=True, whose state is that at t_max"
        )
    check_duration(min_slope, "min_slope", infinite=False)
    return Window(t_max, min_slope, int(max_spikes), bool(return_state), counted)


def beyond(window: Window) -> Window:
    """A window for neurons that go on after its end."""
    check_ends(window.t_max)
    if window.return_state:
        raise ValueError(
            "return_state=True is not for neurons with pseudospikes=True, which go on after t_max; "
            "leave one of them out"
        )
    return dataclasses.replace(window, beyond=True)


def check_ends(t_max: float | Array) -> None:
    """Check that there is a time after which spikes are pseudospikes."""
    if known(t_max) and np.any(np.isinf(t_max)):
        raise ValueError(
            "t_max must be finite with pseudospikes=True: they are the spikes after it"
        )


def check_finite(t_max: float | Array) -> None:
    """Check that there is an end to a motion without closed form."""
    if known(t_max) and np.any(np.isinf(t_max)):
        raise ValueError("t_max must be finite for neurons whose motion is integrated numerically")


def run_layer(
    layer: Layer, window: Window, start: Start | None, ports: np.ndarray | None = None
) -> tuple[Array, Health, Start | None]:
    """Spike times, health and, if asked for, the last state, in the user's dimensions.

    **Arguments:** ``layer``: with a `Neuron` for its constants; ``start``: in its form.
    """

    def run(events: Events, weight: Array, neuron: Neuron, *start: Start) -> Any:
        return _run(window, events, weight, neuron, ports, *start)

    out, health, end = layer.over(run) if start is None else layer.over(run, start)
    return layer.unflatten(out), layer.counts(health), jax.tree.map(layer.unflatten, end)


def check_state(state: Any, like: State, layer: Layer, validate: bool) -> State:
    """Check a layer's state: arrays as in ``like``, that of a new layer, one value per neuron."""
    if type(state) is not type(like) or jax.tree.structure(state) != jax.tree.structure(like):
        raise TypeError(
            f"state must be the {type(like).__name__} that a layer of such neurons returned with "
            f"return_state=True, or None, got {type(state).__name__}"
        )
    shape = (*layer.leading, *layer.shape)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        name = f"state{jax.tree_util.keystr(path)}"
        given: Any = {"infinite": leaf is state[-1], "values": validate}
        check_per_neuron(leaf, name, shape, layer.weight.dtype, **given)
    if validate:
        check_not_negative(state[-1], "state.refractory")
    return state


class Given(NamedTuple):
    """A neuron as users give it."""

    neuron: Neuron

    def checked(self, neurons: int, dtype: Any, validate: bool) -> Neuron:
        """The neuron with arrays for constants."""
        if not isinstance(self.neuron, Neuron):
            raise TypeError(
                f"neuron must be a Neuron, an object, got {self.neuron!r}; derive your model from "
                f"jax_core.Neuron and register it as a pytree (jax.tree_util.register_dataclass)"
            )

        def convert(path: Any, leaf: Any) -> Array:
            name = f"neuron{jax.tree_util.keystr(path)}"
            check_constant(leaf, name, neurons, dtype, infinite=True, values=validate)
            return jnp.asarray(leaf, dtype)

        checked = jax.tree_util.tree_map_with_path(convert, self.neuron)
        if validate:
            self.neuron.check()
        return checked

    def warn_if_late(self, spikes: Any, validate: bool) -> None:
        """Nothing is known of a model's time scales."""


@jax.custom_jvp
def _differentiable(
    window: Window,
    events: Events,
    weight: Array,
    neuron: Neuron,
    ports: np.ndarray | Array | None,
    start: Start,
) -> tuple[Array, Health, Start | None]:
    spikes = _simulate(window, events, weight, neuron, ports, start)
    end = None
    if window.return_state:
        order = sort_input(events, weight)[0]._replace(ports=ports)
        _, end = _replayed(window, order, weight, neuron, start, spikes)
    return spikes.time, _count(window, neuron, spikes), end


@_differentiable.defjvp
def _jvp(primals: tuple, tangents: tuple) -> tuple:
    window, events, weight, neuron, ports, start = single_derivative(primals)
    spikes = _simulate(window, events, weight, neuron, ports, start)
    order, place = sort_input(events, weight)
    order = order._replace(ports=ports)

    def run(time: Array, weight: Array, neuron: Neuron, start: Start) -> Any:
        if place is not None:
            time = jnp.take_along_axis(time, place, axis=1)
        again = order._replace(time=time)
        return _replayed(window, again, weight, neuron, start, spikes)

    _, of_events, of_weight, of_neuron, _, of_start = tangents
    (_, end), (moved, of_end) = jax.jvp(
        run,
        (events.time, weight, neuron, start),
        (of_events.time, of_weight, of_neuron, of_start),
    )
    health = _count(window, neuron, spikes)
    moved = moved + undefined_change(spikes.time, of_events.time, (of_weight,), of_neuron)
    if not window.return_state:
        end = of_end = None
    return (spikes.time, health, end), (moved, without_derivative(health), of_end)


def _simulate(
    window: Window,
    events: Events,
    weight: Array,
    neuron: Neuron,
    ports: Any,
    start: Start,
) -> Spikes:
    order = sort_input(events, weight)[0]._replace(ports=ports)
    common: dict[str, Any] = {"t_max": window.horizon, "mark": neuron.slope, "start": start}
    if window.beyond:
        spikes = all_spikes(order, weight, neuron, window.max_spikes + 1, **common)
        lost = spikes.time[..., -1] <= window.t_max
        kept = jax.tree.map(lambda x: x[..., :-1] if x.ndim == 3 else x, spikes)
        return kept._replace(overflow=lost)
    if neuron.once:
        spikes = first_spikes(order, weight, neuron, **common)
    else:
        spikes = all_spikes(order, weight, neuron, window.max_spikes, **common)
    return _in_room(spikes, window.max_spikes)


def _in_room(spikes: Spikes, max_spikes: int) -> Spikes:
    """The same with ``max_spikes`` slots per neuron."""
    room = max_spikes - spikes.time.shape[-1]
    if room == 0:
        return spikes

    def pad(x: Array, absent: Any) -> Array:
        return jnp.pad(x, ((0, 0), (0, 0), (0, room)), constant_values=absent)

    time, *others = spikes
    return Spikes(pad(time, jnp.inf), *(pad(x, 0) if x.ndim == 3 else x for x in others))


def _replayed(
    window: Window, order: Input, weight: Array, neuron: Neuron, start: Start, spikes: Spikes
) -> tuple[Array, Start]:
    return replay(
        order,
        weight,
        neuron,
        start,
        spikes.time,
        spikes.has_gradient,
        window.horizon,
        window.min_slope,
    )


def _count(window: Window, neuron: Neuron, spikes: Spikes) -> Health:
    floor = jnp.asarray(window.min_slope * neuron.scale)
    if window.beyond:
        spikes = spikes._replace(time=jnp.where(spikes.time > window.t_max, jnp.inf, spikes.time))
    return tally(spikes, spikes.current, floor[..., None], window.counted)


@compiled("spiking")
def _run(
    window: Window,
    events: Events,
    weight: Array,
    neuron: Neuron,
    ports: Any,
    start: Start | None = None,
) -> tuple[Array, Health, Start | None]:
    if window.beyond:
        order, weight = with_trial_end(sorted_input(events, weight, ports), weight, window.t_max)
        events, ports = Events(order.time, order.pre), order.ports
    if start is None:
        shape = events.time.shape[0], weight.shape[0]
        start = Start.at_rest(neuron, shape, weight.dtype)
    else:
        start = begun(start, neuron)
    return _differentiable(window, events, weight, neuron, ports, start)
