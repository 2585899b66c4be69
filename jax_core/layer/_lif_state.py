"""LIF layers in pieces of time, under a constant current, and with synapses of several kinds."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._validate import check_constant
from .._validate_layer import check_per_neuron
from ..neuron._constants import Constants, is_number
from ..neuron._cuba_lif import VI, CubaLIF
from ..neuron._protocol import Neuron
from ..simulate._start import Start
from ._differentiable import Health, Settings
from ._prepared import Layer
from ._spiking import Window, check_state, check_window, run_layer


class LIFState(NamedTuple):
    """What a layer is in the middle of, each ``(..., out)``: where one piece of a stream ends and
    the next begins."""

    v: Array
    """Membrane voltage."""
    i: Any
    """Synaptic current; of several projections one each, by name."""
    refractory: Array
    """How much is left of the refractory period, seconds; ``inf`` after a neuron's only spike.
    Without effect where neurons have no such period."""


Run = Callable[[Layer, Window, Start], tuple[Any, Health, Start | None]]
"""What finds spikes, health and, if asked for, the last state: `run_layer`."""


class Model(NamedTuple):
    """A neuron of which a current moves the potential that the voltage decays to."""

    neuron: Callable[[Constants], Neuron]
    state: Callable[[Array, Any], Any]
    """The neuron's state of a voltage, measured from its rest, and currents."""
    currents: Callable[[Any], Any]
    """Currents of such a state, as in `LIFState`."""


def run_with_state(
    layer: Layer,
    settings: Settings,
    current: float | Array | np.ndarray | None,
    state: LIFState | None,
    return_state: bool,
    validate: bool,
    model: Model | None = None,
    run: Run = run_layer,
) -> tuple[Any, Health, LIFState | None]:
    """Spikes, health and, if asked for, the state at the end.

    **Arguments:** ``model``: of the neurons, `CubaLIF` by default; ``run``: what does the work.
    """
    if settings.gradient != "eventprop":
        raise ValueError(
            f"gradient={settings.gradient!r} covers layers that start at rest without a current; "
            f"choose gradient='eventprop' with state, return_state or current"
        )
    if model is None:
        form = settings.form
        model = Model(lambda constants: CubaLIF(constants, form), VI, lambda state: state.i)
    drive = check_current(current, layer, validate)
    given: Constants = layer.constants
    places = (1,) * (len(layer.shape) - 1)
    leak = jnp.reshape(given.v_leak, (-1, *places)) if given.v_leak.ndim else given.v_leak
    origin = leak + drive
    layer = layer._replace(constants=model.neuron(given._replace(v_leak=_moved(layer, drive))))
    rest = _at_rest(layer, given, model, places)
    state = rest if state is None else check_state(state, rest, layer, validate)
    start = Start(model.state(state.v - origin, state.i), state.refractory)
    limits = settings.t_max, settings.min_slope, settings.max_spikes
    window = check_window(*limits, return_state, layer.rows(settings.counted))
    out, health, end = run(layer, window, jax.tree.map(layer.flatten, start))
    if end is None:
        return out, health, None
    return out, health, LIFState(end.state.v + origin, model.currents(end.state), end.hold)


def check_current(current: Any, layer: Layer, validate: bool) -> Array:
    """A constant current as an array that broadcasts against ``(..., out)``."""
    if current is None:
        return jnp.zeros((), layer.weight.dtype)
    dtype, shape = layer.weight.dtype, (*layer.leading, *layer.shape)
    if is_number(current) or getattr(current, "shape", None) == ():
        check_constant(current, "current", layer.neurons, dtype, values=validate)
    else:
        if getattr(current, "shape", None) == layer.shape:
            shape = layer.shape
        check_per_neuron(current, "current", shape, dtype, infinite=False, values=validate)
    return jnp.asarray(current, dtype)


def _moved(layer: Layer, drive: Array) -> Array:
    """The leak potentials with a current, in the form of `Layer`: per neuron, or per sample."""
    leak = layer.constants.v_leak
    if drive.ndim == 0:
        return leak + drive
    full = layer.flatten(jnp.broadcast_to(drive, (*layer.leading, *layer.shape)))
    return full + (leak[:, None] if layer.places is not None and leak.ndim else leak)


def _at_rest(layer: Layer, given: Constants, model: Model, places: tuple[int, ...]) -> LIFState:
    """The state without anything in the past, nor a current."""
    shape, dtype = (*layer.leading, *layer.shape), layer.weight.dtype
    none = jnp.zeros(shape, dtype)
    v = given.v_leak + given.start
    v = jnp.broadcast_to(jnp.reshape(v, (-1, *places)) if v.ndim else v, shape).astype(dtype)
    currents = model.currents(layer.constants.start())
    return LIFState(v, jax.tree.map(lambda _: none, currents), none)
