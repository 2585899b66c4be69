"""LIF layers in pieces of time, and under a constant current."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._validate import check_per_neuron
from ..neuron._constants import Constants, is_number
from ..neuron._cuba_lif import VI, CubaLIF
from ..simulate._start import Start
from ._differentiable import Health, Settings
from ._prepared import Layer
from ._spiking import Window, check_state, check_window, run_layer


class LIFState(NamedTuple):
    """What a layer is in the middle of, each ``(..., out)``: where one piece of a stream ends and
    the next begins."""

    v: Array
    """Membrane voltage."""
    i: Array
    """Synaptic current."""
    refractory: Array
    """How much is left of the refractory period, seconds; ``inf`` after a neuron's only spike."""


def run_with_state(
    layer: Layer,
    settings: Settings,
    current: float | Array | np.ndarray | None,
    state: LIFState | None,
    return_state: bool,
    validate: bool,
) -> tuple[Array, Health, LIFState | None]:
    """Spikes, health and, if asked for, the state at the end.

    A constant current moves the potential that the voltage decays to.
    """
    if settings.gradient != "eventprop":
        raise ValueError(
            "gradient='fast_and_deep' covers layers that start at rest without a current; choose "
            "gradient='eventprop' with state, return_state or current"
        )
    shape = (*layer.leading, *layer.shape)
    drive = check_current(current, layer, validate)
    places = (1,) * (len(layer.shape) - 1)
    given: Constants = layer.constants
    leak, threshold, reset = (
        jnp.reshape(x, (-1, *places)) if x.ndim else x
        for x in (given.v_leak, given.v_threshold, given.v_reset)
    )
    if state is None:
        rest = jnp.broadcast_to(jnp.where(leak < threshold, leak, reset), shape)
        none = jnp.zeros(shape, layer.weight.dtype)
        state = LIFState(rest.astype(none.dtype), none, none)
    else:
        state = check_state(state, LIFState, None, layer, validate)
    origin = leak + drive
    start = Start(VI(state.v - origin, state.i), state.refractory)
    start = jax.tree.map(layer.flatten, start)
    moved = given._replace(v_leak=_moved(layer, drive))
    layer = layer._replace(constants=CubaLIF(moved, settings.form))
    window: Window = check_window(
        settings.t_max, settings.min_slope, settings.max_spikes, return_state
    )
    out, health, end = run_layer(layer, window, start)
    if end is None:
        return out, health, None
    return out, health, LIFState(end.state.v + origin, end.state.i, end.hold)


def check_current(current: Any, layer: Layer, validate: bool) -> Array:
    """A constant current as an array that broadcasts against ``(..., out)``."""
    if current is None:
        return jnp.zeros((), layer.weight.dtype)
    if not is_number(current) and tuple(current.shape) not in ((), layer.shape):
        shape = (*layer.leading, *layer.shape)
        check_per_neuron(current, "current", shape, layer.weight.dtype, values=validate)
    return jnp.asarray(current, layer.weight.dtype)


def _moved(layer: Layer, drive: Array) -> Array:
    """The leak potentials with a current, in the form of `Layer`: per neuron, or per sample."""
    leak = layer.constants.v_leak
    if drive.ndim == 0:
        return leak + drive
    full = layer.flatten(jnp.broadcast_to(drive, (*layer.leading, *layer.shape)))
    return full + (leak[:, None] if layer.places is not None and leak.ndim else leak)
