"""The LIF layer: simulation with exact gradients, by either of two methods."""

import math
from functools import partial
from typing import Literal, NamedTuple, TypedDict, Unpack, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from .._validate import (
    check_constant,
    check_duration,
    check_integer,
    check_less,
    check_spikes,
    check_weight,
)
from ..neuron._constants import Constant, Constants, Form, as_array, checked_form
from ..spikes._resolution import warn_if_late
from ._differentiable import Gradient, Health, Settings, run


class Options(TypedDict, total=False):
    """The options of `lif`, for the types of its two forms."""

    tau_mem: Constant
    tau_syn: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant
    max_spikes: int
    t_max: float | Array
    gradient: Gradient
    min_slope: float | Array
    on_overflow: OnOverflow
    form: Form | None
    validate: bool


@overload
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    return_health: Literal[False] = ...,
    **options: Unpack[Options],
) -> Array: ...
@overload
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    return_health: Literal[True],
    **options: Unpack[Options],
) -> tuple[Array, Health]: ...
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    max_spikes: int = 1,
    t_max: float | Array = math.inf,
    gradient: Gradient = "eventprop",
    min_slope: float | Array = 1e-3,
    on_overflow: OnOverflow = "error",
    form: Form | None = None,
    return_health: bool = False,
    validate: bool = True,
) -> Array | tuple[Array, Health]:
    """Spikes of a feed-forward layer of current-based leaky integrate-and-fire neurons.

    Between events ``tau_mem dV/dt = v_leak - V + I``, ``tau_syn dI/dt = -I``; an input spike adds
    its weight to ``I``; where ``V`` reaches ``v_threshold`` from below the neuron spikes and ``V``
    stays at ``v_reset`` for the time ``refractory``. ``V`` starts at ``v_leak`` (at ``v_reset`` if
    ``v_leak >= v_threshold``), ``I`` at 0. Spikes are found in continuous time, to float precision.

    Differentiable with respect to spike times, weights and all neuron constants. Numbers are values
    at run time: another one is not compiled anew, unless closed forms apply to it (``tau_mem``
    equal to ``tau_syn`` or twice that; ``refractory`` 0 or ``inf``).

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
      fraction of ``|v_threshold - v_leak|``; 0 for unbounded gradients of grazing spikes.
    - ``on_overflow``: what to do if a neuron has more than ``max_spikes`` spikes: ``"error"``,
      ``"warn"``, or ``"truncate"`` (keep the first ones).
    - ``form``: what is known of the constants where they are no numbers, as inside of ``jit``;
      ``None``: see `Form`.
    - ``return_health``: also return `Health`, and leave acting on an overflow to the caller.
    - ``validate``: whether to check the values of arrays (shapes and dtypes always are).

    **Returns:** spike times, seconds, shape ``(..., out, max_spikes)``, ascending, ``inf`` where
    there is no spike; with ``return_health`` a tuple of them and `Health`.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument. Under ``jit`` an overflow makes
    the computation fail with a ``jax.errors.JaxRuntimeError``.

    **References:** Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z;
    Göltz et al. 2021, doi:10.1038/s42256-021-00388-x.
    """
    check_policy(on_overflow)
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    settings = check_settings(given, max_spikes, t_max, gradient, min_slope, form)
    layer = prepare(spikes, weight, given, validate)
    out, health = run(settings, layer.events, layer.weight, layer.constants)
    out = layer.unflatten(out)
    if return_health:
        return out, health
    if not settings.form.spikes_once:
        handle_overflow(health.overflow, on_overflow, too_many(max_spikes))
    return out


class Given(NamedTuple):
    """Neuron constants as users give them: arrays, or numbers."""

    tau_mem: Constant
    tau_syn: Constant
    v_threshold: Constant
    v_leak: Constant
    v_reset: Constant
    refractory: Constant


class Layer(NamedTuple):
    """Checked input of a layer, with one axis for all samples."""

    events: Events
    """Unsorted events ``(batch, M)``; from a spike-time tensor in its order, without ``index``."""
    weight: Array
    constants: Constants
    leading: tuple[int, ...]
    """The leading batch dimensions that the user's arrays had."""

    def unflatten(self, x: Array) -> Array:
        """Give an array ``(batch, ...)`` the user's leading dimensions."""
        return x.reshape(*self.leading, *x.shape[1:])


def too_many(max_spikes: int) -> str:
    """Why spikes were lost, and what to do about it."""
    return (
        f"neurons have more than max_spikes = {max_spikes} spikes; raise max_spikes, or set "
        f"refractory=inf for at most one spike per neuron"
    )


def check_settings(
    given: Given,
    max_spikes: int,
    t_max: float | Array,
    gradient: Gradient,
    min_slope: float | Array,
    form: Form | None = None,
) -> Settings:
    """Check settings, and find out what can be exploited at compile time."""
    check_integer(max_spikes, "max_spikes", 1)
    check_duration(t_max, "t_max", positive=True)
    check_duration(min_slope, "min_slope", infinite=False)
    form = checked_form(form, given.tau_mem, given.tau_syn, given.refractory)
    if gradient not in ("eventprop", "fast_and_deep"):
        raise ValueError(f'gradient must be "eventprop" or "fast_and_deep", got {gradient!r}')
    if gradient == "fast_and_deep" and not (form.spikes_once or max_spikes == 1):
        raise ValueError(
            'gradient="fast_and_deep" covers first spikes only: set max_spikes=1 or '
            'refractory=inf, or use gradient="eventprop"'
        )
    return Settings(t_max, min_slope, int(max_spikes), gradient, form)


def prepare(
    spikes: Array | np.ndarray | Events, weight: Array | np.ndarray, given: Given, validate: bool
) -> Layer:
    """Check all arrays and bring them into one form."""
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
    check = partial(check_constant, neurons=weight.shape[0], dtype=weight.dtype, values=validate)
    check(given.tau_mem, "tau_mem", positive=True)
    check(given.tau_syn, "tau_syn", positive=True)
    check(given.v_threshold, "v_threshold")
    check(given.v_leak, "v_leak")
    check(given.v_reset, "v_reset")
    check(given.refractory, "refractory", nonnegative=True, infinite=True)
    check_less(given.v_reset, given.v_threshold, "v_reset", "v_threshold")
    warn_if_late(spikes, given.tau_mem, given.tau_syn, values=validate)
    return Layer(
        jax.tree.map(lambda x: x.reshape(math.prod(leading), width), events),
        weight,
        Constants(*(as_array(value, weight.dtype) for value in given)),
        leading,
    )
