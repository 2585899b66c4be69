"""The input of a layer, checked and brought into one form for all kinds of connections."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from .._events import Events
from .._validate import (
    check_constant,
    check_duration,
    check_integer,
    check_less,
    check_spike_times,
    check_spikes,
    check_weight,
    check_weight_values,
)
from ..connect._protocol import Connections
from ..neuron._constants import Constant, Constants, Form, as_array, checked_form
from ..simulate._solver import Solver, check_solver
from ..spikes._resolution import warn_if_late
from ._differentiable import Gradient, Health, Settings

T = TypeVar("T")


class Given(NamedTuple):
    """Neuron constants as users give them: arrays, or numbers."""

    tau_mem: Constant
    tau_syn: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant

    def checked(self, neurons: int, dtype: DTypeLike, validate: bool) -> Constants:
        """Check them, and turn them into arrays."""
        check = partial(check_constant, neurons=neurons, dtype=dtype, values=validate)
        check(self.tau_mem, "tau_mem", positive=True)
        check(self.tau_syn, "tau_syn", positive=True)
        check(self.v_threshold, "v_threshold")
        check(self.v_leak, "v_leak")
        check(self.v_reset, "v_reset")
        check(self.refractory, "refractory", nonnegative=True, infinite=True)
        check_less(self.v_reset, self.v_threshold, "v_reset", "v_threshold")
        return Constants(*(as_array(value, dtype) for value in self))

    def warn_if_late(self, spikes: Array | np.ndarray | Events, validate: bool) -> None:
        """Warn of spikes that are too late for the time constants."""
        warn_if_late(spikes, self.tau_mem, self.tau_syn, values=validate)


class AsGiven(Protocol):
    """Neurons as users give them, to be checked and brought into the form of `Layer`."""

    def checked(self, neurons: int, dtype: DTypeLike, validate: bool) -> Any: ...
    def warn_if_late(self, spikes: Array | np.ndarray | Events, validate: bool) -> None: ...


class Layer(NamedTuple):
    """Checked input of a layer, with one axis for all samples.

    With ``places`` (see `Connections`), all fields have an axis in front, of groups that share
    weights, but for constants that are scalars; and a sample of a group is one place.
    """

    events: Events
    """Unsorted events ``(batch, M)``; from a spike-time tensor in its order, without ``index``."""
    weight: Array
    constants: Any
    """Those of the neurons: `Constants`, or a `Neuron`."""
    leading: tuple[int, ...]
    """The leading batch dimensions that the user's arrays had."""
    places: tuple[int, ...] | None = None
    """Axes of places; ``None`` for all-to-all."""

    @property
    def neurons(self) -> int:
        """How many have constants of their own."""
        return math.prod(self.weight.shape[:-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes of the output's neurons."""
        return (self.neurons, *(self.places or ()))

    def apart(self) -> "Layer":
        """The same, with a group for each neuron."""
        if self.places is not None:
            return self

        def to_each(x: Array) -> Array:
            return jnp.broadcast_to(x, (self.neurons, *x.shape))

        return Layer(
            jax.tree.map(to_each, self.events),
            self.weight[:, None],
            constants_apart(self.constants),
            self.leading,
            (),
        )

    def rows(self, samples: Array | None) -> Array | None:
        """How many rows of the batch so many samples are."""
        return samples if samples is None else samples * math.prod(self.places or ())

    def suited(self, settings: Settings) -> Settings:
        """The settings with a solver that suits how `over` goes over groups, and with rows of the
        batch for what were samples."""
        settings = dataclasses.replace(settings, counted=self.rows(settings.counted))
        is_mapped = self.places is not None and self.weight.shape[0] > 1
        if is_mapped and settings.solver == "auto":
            # Groups are small, and a chunk goes on for all of them until the last is done.
            return dataclasses.replace(settings, solver="lockstep")
        return settings

    def over(self, function: Callable[..., T], *of_spikes: Any) -> T:
        """``function(events, weight, constants, *of_spikes)``, for each group.

        **Arguments:** ``of_spikes``: pytrees of arrays in the form of `flatten`.
        """
        arguments = self.events, self.weight, self.constants, *of_spikes
        if self.places is None:
            return function(*arguments)
        if self.weight.shape[0] == 1:
            # Mapped, branches that are not taken would be computed, too.
            one = jax.tree.map(lambda x: x[0] if x.ndim else x, arguments)
            return jax.tree.map(lambda x: x[None], function(*one))
        axes = jax.tree.map(lambda x: 0 if x.ndim else None, arguments)
        mapped = jax.vmap(function, in_axes=axes)
        if 0 in self.events.time.shape[:2]:
            # Where there is nothing to compute, JAX's rules for mapped derivatives give shapes
            # that are wrong; there are no spikes, and counts of nothing are 0.
            shapes = jax.eval_shape(mapped, *arguments)
            return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return mapped(*arguments)

    def unflatten(self, x: Array) -> Array:
        """Give what there is of all neurons, ``(batch, out, ...)``, the user's dimensions."""
        if self.places is None:
            return x.reshape(*self.leading, *x.shape[1:])
        groups, _, neurons, *rest = x.shape
        x = x.reshape(groups, math.prod(self.leading), *self.places, neurons, *rest)
        x = jnp.moveaxis(jnp.moveaxis(x, 0, 1), 2 + len(self.places), 2)
        return x.reshape(*self.leading, *self.shape, *rest)

    def flatten(self, x: Array | np.ndarray) -> Array:
        """The inverse of `unflatten`."""
        x = jnp.asarray(x)
        rest = x.shape[len(self.leading) + len(self.shape) :]
        if self.places is None:
            return x.reshape(math.prod(self.leading), *self.shape, *rest)
        groups, neurons = self.weight.shape[:2]
        x = x.reshape(math.prod(self.leading), groups, neurons, *self.places, *rest)
        x = jnp.moveaxis(jnp.moveaxis(x, 2, 2 + len(self.places)), 1, 0)
        return x.reshape(groups, math.prod(x.shape[1 : -1 - len(rest)]), neurons, *rest)

    def looks(self, times: Array | np.ndarray) -> Array:
        """Times to look at, ``(batch, T)``, of all groups."""
        count = times.shape[-1]
        looks = jnp.broadcast_to(jnp.asarray(times), (*self.leading, count))
        looks = looks.reshape(math.prod(self.leading), count)
        if self.places is None:
            return looks
        looks = jnp.repeat(looks, math.prod(self.places), axis=0)
        return jnp.broadcast_to(looks, (self.weight.shape[0], *looks.shape))

    def counts(self, health: Health) -> Health:
        """Counts per neuron, ``(neurons,)``."""
        return health if self.places is None else jax.tree.map(jnp.ravel, health)


def constants_apart(constants: Constants) -> Constants:
    """Constants of neurons that are groups of one."""
    return Constants(*(x[:, None] if x.ndim else x for x in constants))


def too_many(max_spikes: int, can_rest: bool = True) -> str:
    """Why spikes were lost, and what to do about it; ``can_rest``: whether neurons may have a
    refractory period."""
    rest = ", or set refractory=inf for at most one spike per neuron" if can_rest else ""
    return f"neurons have more than max_spikes = {max_spikes} spikes; raise max_spikes{rest}"


def check_settings(
    given: Given,
    max_spikes: int,
    t_max: float | Array,
    gradient: Gradient,
    min_slope: float | Array,
    form: Form | None = None,
    solver: Solver = "auto",
    samples: int | Array | None = None,
) -> Settings:
    """Check settings, and find out what can be exploited at compile time."""
    check_integer(max_spikes, "max_spikes", 1)
    check_duration(t_max, "t_max", positive=True)
    check_duration(min_slope, "min_slope", infinite=False)
    form = checked_form(form, given.tau_mem, given.tau_syn, given.refractory)
    if gradient not in ("eventprop", "fast_and_deep") and not callable(gradient):
        raise ValueError(
            f'gradient must be "eventprop" or "fast_and_deep", or a function, got {gradient!r}'
        )
    if gradient == "fast_and_deep" and not (form.spikes_once or max_spikes == 1):
        raise ValueError(
            'gradient="fast_and_deep" covers first spikes only: set max_spikes=1 or '
            'refractory=inf, or use gradient="eventprop"'
        )
    check_solver(solver)
    return Settings(
        t_max, min_slope, int(max_spikes), gradient, form, solver, counted_samples(samples)
    )


def counted_samples(samples: int | Array | None) -> Array | None:
    """Check how many samples `Health` counts; **returns** an array, a value at run time."""
    if samples is None:
        return None
    if getattr(samples, "shape", None) != ():
        check_integer(samples, "samples", 0)
    return jnp.asarray(samples)


def prepare(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    given: AsGiven,
    validate: bool,
    connections: Connections | None = None,
) -> Layer:
    """Check all arrays and bring them into one form."""
    if connections is not None:
        return _connect(spikes, weight, given, validate, connections)
    check_spikes(spikes, values=validate)
    if isinstance(spikes, Events):
        check_weight(weight, None, spikes.time.dtype, values=validate)
        check_spikes(spikes, weight.shape[1], values=validate)
        leading, width = spikes.time.shape[:-1], spikes.time.shape[-1]
        events = Events(jnp.asarray(spikes.time), jnp.asarray(spikes.index, jnp.int32))
    else:
        check_weight(weight, spikes.shape[-2], spikes.dtype, values=validate)
        leading, width = spikes.shape[:-2], spikes.shape[-2] * spikes.shape[-1]
        events = Events(jnp.asarray(spikes), None)
    weight = jnp.asarray(weight)
    constants = given.checked(weight.shape[0], weight.dtype, validate)
    given.warn_if_late(spikes, validate)
    return Layer(
        jax.tree.map(lambda x: x.reshape(math.prod(leading), width), events),
        weight,
        constants,
        leading,
    )


def _connect(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    given: AsGiven,
    validate: bool,
    connections: Connections,
) -> Layer:
    if isinstance(spikes, Events):
        raise TypeError(
            "spikes must be a spike-time tensor where there are connections, not Events; convert "
            "them with spike_times_from_events"
        )
    check_spike_times(spikes, values=validate)
    check_weight_values(weight, spikes.dtype, values=validate)
    if spikes.ndim < connections.axes + 1:
        raise ValueError(
            f"spikes must have at least {connections.axes + 1} axes for these connections (input "
            f"neurons, and spikes), got shape {tuple(spikes.shape)}"
        )
    spikes, weight = jnp.asarray(spikes), jnp.asarray(weight)
    connections.check(spikes, weight, validate)
    leading = spikes.shape[: -connections.axes - 1]
    flat = spikes.reshape(math.prod(leading), *spikes.shape[len(leading) :])
    lists, rows = connections.lists(flat), connections.rows(weight)
    groups, neurons, inputs = rows.shape
    constants = given.checked(groups * neurons, rows.dtype, validate)
    given.warn_if_late(spikes, validate)
    constants = jax.tree.map(jnp.asarray, constants)
    return Layer(
        Events(lists.reshape(groups, math.prod(lists.shape[1:-2]), inputs * lists.shape[-1]), None),
        rows,
        jax.tree.map(lambda x: x.reshape(groups, neurons) if x.ndim else x, constants),
        leading,
        lists.shape[2:-2],
    )
