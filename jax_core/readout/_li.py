"""The leaky integrator (LI): a layer without threshold, read out through its voltage.

    tau_mem dV/dt = v_leak - V + I        tau_syn dI/dt = -I        V(0) = v_leak,  I(0) = 0

A spike over a synapse of weight ``w`` raises ``I`` by ``w``. The voltage is a sum over input
spikes, ``V(t) = v_leak + sum_i w_i kappa(t - t_i)``, with the postsynaptic potential
``kappa(u) = tau_syn / (tau_mem - tau_syn) (exp(-u/tau_mem) - exp(-u/tau_syn))`` for ``u >= 0``.

All functions work under ``jit``, ``vmap`` and ``grad`` and are differentiable with respect to the
times, the weights, and the neuron constants.
"""

import functools
import math
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from .._compiled import compiled
from .._events import Events
from .._validate import (
    canonical_dtype,
    check_constant,
    check_duration,
    check_query_times,
    check_spikes,
    check_weight,
    known,
)
from ..neuron._constants import as_array
from ..neuron._kernel import propagator
from ..spikes._resolution import warn_if_late
from ..walk._walk import Neurons, Quantity, check_quantity, walk
from ._integral import psp_integral, weight_integral
from ._maximum import maximum, maximum_with_time
from ._response import Inputs, inputs_of, map_in_pieces, respond, undefined, with_undefined

Readout = Literal["max", "integral", "value"]

# Up to so many times, sums over all spikes are quicker than a walk: more where neurons share their
# time constants, and so the response to a spike.
_FEW_IF_SHARED, _FEW = 64, 8


def li(
    spikes: ArrayLike | Events,
    weight: ArrayLike,
    *,
    tau_mem: ArrayLike = 2e-2,
    tau_syn: ArrayLike = 1e-2,
    v_leak: ArrayLike = 0.0,
    readout: Readout = "max",
    t_max: float | Array = math.inf,
    tau_weight: float | Array = math.inf,
    validate: bool = True,
) -> Array:
    """One number per leaky integrator: a summary of its voltage over ``[0, t_max]``.

    **Arguments:** as for `li_value`, and

    - ``readout``: ``"max"``, the largest voltage; ``"integral"`` of the voltage; or ``"value"``,
      the voltage at ``t_max``.
    - ``t_max``: end of the window, seconds.
    - ``tau_weight``: with ``"integral"``, time constant of the weight ``exp(-t / tau_weight)``,
      seconds; ``inf`` for no weight.

    **Returns:** shape ``(..., out)``.

    **Raises:** ``ValueError`` or ``TypeError`` for bad input, for an infinite ``t_max`` where the
    read-out has no value, and for a ``tau_weight`` where there is no integral.
    """
    check_tau_weight(tau_weight, readout)
    constants: dict[str, Any] = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    if readout == "max":
        return li_max(spikes, weight, **constants, t_max=t_max, validate=validate)
    if readout == "integral":
        window: dict[str, Any] = {"t_max": t_max, "tau_weight": tau_weight}
        return li_integral(spikes, weight, **constants, **window, validate=validate)
    if readout != "value":
        raise ValueError(f'readout must be "max", "integral" or "value", got {readout!r}')
    check_duration(t_max, 't_max (with readout="value")', infinite=False)
    check_spikes(spikes, values=False)
    times = as_array(t_max, _dtype_of(spikes))[None]
    return li_value(spikes, weight, times, **constants, validate=validate)[..., 0]


def li_value(
    spikes: ArrayLike | Events,
    weight: ArrayLike,
    times: ArrayLike,
    *,
    quantity: Quantity = "voltage",
    tau_mem: ArrayLike = 2e-2,
    tau_syn: ArrayLike = 1e-2,
    v_leak: ArrayLike = 0.0,
    validate: bool = True,
) -> Array:
    """Voltage, or synaptic current, of leaky integrators at given times.

    A spike exactly at such a time has arrived. For many times the cost is one walk along spikes
    and times, not their product.

    **Arguments:**

    - ``spikes``: spike times, seconds, shape ``(..., in, k)``, or `Events` ``(..., M)``.
    - ``weight``: shape ``(out, in)``, in units of the voltage.
    - ``times``: seconds, >= 0, finite, shape ``(T,)`` or ``(..., T)``, in any order.
    - ``quantity``: ``"voltage"``, or ``"current"``, in units of the weights.
    - ``tau_mem``, ``tau_syn``: membrane and synaptic time constant, seconds, scalar or ``(out,)``.
    - ``v_leak``: leak potential, scalar or ``(out,)``.
    - ``validate``: whether to check values (shapes and dtypes are always checked).

    **Returns:** shape ``(..., out, T)``.
    """
    spikes, weight, taus, v_leak = _checked(spikes, weight, tau_mem, tau_syn, v_leak, validate)
    check_quantity(quantity)
    check_query_times(times, _batch(spikes), weight.dtype, values=validate)
    return _value(spikes, weight, jnp.asarray(times), *taus, v_leak, quantity=quantity)


def li_integral(
    spikes: ArrayLike | Events,
    weight: ArrayLike,
    *,
    tau_mem: ArrayLike = 2e-2,
    tau_syn: ArrayLike = 1e-2,
    v_leak: ArrayLike = 0.0,
    t_max: float | Array,
    tau_weight: float | Array = math.inf,
    validate: bool = True,
) -> Array:
    """Integral of ``V(t) exp(-t / tau_weight)`` over ``[0, t_max]``, in volts times seconds.

    **Arguments:** as for `li_value`, and

    - ``t_max``: end of the window, seconds; may be ``inf``.
    - ``tau_weight``: time constant of the weight, seconds; ``inf`` for no weight.

    **Returns:** shape ``(..., out)``.

    **Raises:** ``ValueError`` where the integral diverges: ``t_max`` and ``tau_weight`` infinite,
    and ``v_leak`` not known to be 0.
    """
    spikes, weight, taus, v_leak = _checked(spikes, weight, tau_mem, tau_syn, v_leak, validate)
    check_duration(t_max, "t_max")
    check_tau_weight(tau_weight, "integral")
    end, tau = _unless_infinite(t_max), _unless_infinite(tau_weight)
    if end is None and tau is None and (not known(v_leak) or np.any(np.asarray(v_leak))):
        raise ValueError(
            "t_max must be finite where v_leak is not 0 and there is no tau_weight: the "
            "integral of v_leak over all times diverges; choose a t_max or a tau_weight"
        )
    return _integral(spikes, weight, *taus, v_leak, end, tau)


def li_max(
    spikes: ArrayLike | Events,
    weight: ArrayLike,
    *,
    tau_mem: ArrayLike = 2e-2,
    tau_syn: ArrayLike = 1e-2,
    v_leak: ArrayLike = 0.0,
    t_max: float | Array = math.inf,
    validate: bool = True,
) -> Array:
    """Largest voltage of leaky integrators in ``[0, t_max]``; never below ``V(0) = v_leak``.

    The gradient is that of the voltage at the time of the maximum. Where that is the arrival of a
    spike (an inhibitory one, while the voltage rises), the gradient with respect to the spike's
    time is ``dV/dt`` just before it.

    **Arguments:** as for `li_value`, and ``t_max``: end of the window, seconds; may be ``inf``.

    **Returns:** shape ``(..., out)``.
    """
    spikes, weight, taus, v_leak = _checked(spikes, weight, tau_mem, tau_syn, v_leak, validate)
    check_duration(t_max, "t_max")
    return _max(spikes, weight, *taus, v_leak, _unless_infinite(t_max))


def li_peak(
    spikes: ArrayLike | Events,
    weight: ArrayLike,
    *,
    tau_mem: ArrayLike = 2e-2,
    tau_syn: ArrayLike = 1e-2,
    v_leak: ArrayLike = 0.0,
    t_max: float | Array = math.inf,
    validate: bool = True,
) -> tuple[Array, Array]:
    """Largest voltage of leaky integrators in ``[0, t_max]``, as `li_max`, and the time of it.

    The time moves with the peak: with the zero of the slope where the voltage is smooth, with the
    spike at whose arrival it turns. At ``t_max``, and at 0 of a voltage that never rises above
    ``v_leak``, it does not move.

    **Arguments:** as in `li_max`.

    **Returns:** the voltages and the times, seconds, shapes ``(..., out)``.
    """
    spikes, weight, taus, v_leak = _checked(spikes, weight, tau_mem, tau_syn, v_leak, validate)
    check_duration(t_max, "t_max")
    return _peak(spikes, weight, *taus, v_leak, _unless_infinite(t_max))


@compiled("li_value", static_argnames="quantity")
def _value(
    spikes: Any,
    weight: Array,
    times: Array,
    tau_mem: Array,
    tau_syn: Array,
    v_leak: Array,
    *,
    quantity: Quantity,
) -> Array:
    inputs, batch = inputs_of(spikes)
    rows, out = inputs.time.shape[0], weight.shape[0]
    count = times.shape[-1]
    times = jnp.broadcast_to(times, (*batch, count)).reshape(rows, count)
    is_shared = tau_mem.ndim == tau_syn.ndim == 0
    if count > (_FEW_IF_SHARED if is_shared else _FEW):
        zero = jnp.zeros((), weight.dtype)
        neurons = Neurons(tau_mem, tau_syn, zero, zero, None)
        found = walk(inputs.time, inputs.pre, weight, None, times, neurons, quantity)
    else:
        found = _sum_at(inputs, weight, times, tau_mem, tau_syn, quantity)
    if quantity == "voltage":
        found = found + v_leak[..., None]
    return with_undefined(found).reshape(*batch, out, count)


def _sum_at(
    inputs: Inputs,
    weight: Array,
    times: Array,
    tau_mem: Array,
    tau_syn: Array,
    quantity: Quantity,
) -> Array:
    """Sums over all spikes at ``times``, ``(batch, T)``; quicker than a walk for a few times."""

    def respond_at(at: Array) -> Array:
        def kernel(time: Array, tau_mem: Array, tau_syn: Array) -> Array:
            arrived = time <= at[:, None]
            since = jnp.where(arrived, at[:, None] - jnp.where(arrived, time, 0), 0)
            over = propagator(since, tau_mem, tau_syn)
            return jnp.where(arrived, over.psp if quantity == "voltage" else over.synapse, 0)

        return respond(kernel, inputs, weight, tau_mem, tau_syn) + undefined(inputs.time)

    is_shared = tau_mem.ndim == tau_syn.ndim == 0
    values = inputs.time.size * (1 if is_shared else weight.shape[0])
    return jnp.moveaxis(map_in_pieces(respond_at, (times.T,), values), 0, -1)


@compiled("li_integral")
def _integral(
    spikes: Any,
    weight: Array,
    tau_mem: Array,
    tau_syn: Array,
    v_leak: Array,
    t_max: Array | None,
    tau_weight: Array | None,
) -> Array:
    inputs, batch = inputs_of(spikes)
    kernel = functools.partial(psp_integral, t_max=t_max, tau_weight=tau_weight)
    integral = respond(kernel, inputs, weight, tau_mem, tau_syn) + undefined(inputs.time)
    if t_max is not None or tau_weight is not None:
        integral = integral + v_leak * weight_integral(t_max, tau_weight)
    return with_undefined(integral).reshape(*batch, weight.shape[0])


@compiled("li_max")
def _max(
    spikes: Any,
    weight: Array,
    tau_mem: Array,
    tau_syn: Array,
    v_leak: Array,
    t_max: Array | None,
) -> Array:
    inputs, batch = inputs_of(spikes)
    highest = maximum(inputs, weight, tau_mem, tau_syn, t_max)
    highest = with_undefined(highest + v_leak + undefined(inputs.time))
    return highest.reshape(*batch, weight.shape[0])


@compiled("li_peak")
def _peak(
    spikes: Any,
    weight: Array,
    tau_mem: Array,
    tau_syn: Array,
    v_leak: Array,
    t_max: Array | None,
) -> tuple[Array, Array]:
    inputs, batch = inputs_of(spikes)
    highest, time = maximum_with_time(inputs, weight, tau_mem, tau_syn, t_max)
    shape = *batch, weight.shape[0]
    nothing = undefined(inputs.time)
    highest = with_undefined(highest + v_leak + nothing).reshape(shape)
    return highest, with_undefined(time + nothing).reshape(shape)


def check_tau_weight(tau_weight: Any, readout: str) -> None:
    """Check the time constant of an integral's weight, and that there is an integral."""
    check_duration(tau_weight, "tau_weight", positive=True)
    if readout != "integral" and not (known(tau_weight) and tau_weight == math.inf):
        raise ValueError(
            f"tau_weight must be inf with readout={readout!r}, got {tau_weight}; only an integral "
            f'has weights: choose readout="integral", or leave tau_weight out'
        )


def _checked(
    spikes: Any, weight: Any, tau_mem: Any, tau_syn: Any, v_leak: Any, validate: bool
) -> tuple[Any, Array, tuple[Array, Array], Array]:
    """Check what every read-out takes, and make arrays of one dtype of it."""
    check_spikes(spikes, values=False)
    dtype = _dtype_of(spikes)
    check_weight(weight, None, dtype, values=validate)
    out, pre = weight.shape
    check_spikes(spikes, pre, values=validate)
    for name, tau in (("tau_mem", tau_mem), ("tau_syn", tau_syn)):
        check_constant(tau, name, out, dtype, positive=True, values=validate)
    check_constant(v_leak, "v_leak", out, dtype, values=validate)
    warn_if_late(spikes, tau_mem, tau_syn, values=validate)
    if isinstance(spikes, Events):
        spikes = Events(jnp.asarray(spikes.time), jnp.asarray(spikes.index, jnp.int32))
    else:
        spikes = jnp.asarray(spikes)
    if pre == 0:
        # Even where there is no input neuron, padding looks up a weight.
        weight = jnp.pad(weight, ((0, 0), (0, 1)))
    mem, syn, leak = (as_array(x, dtype) for x in (tau_mem, tau_syn, v_leak))
    return spikes, jnp.asarray(weight), (mem, syn), leak


def _unless_infinite(x: Any) -> Any:
    """A time at run time; ``None`` for infinity, for which other formulas are compiled."""
    return None if known(x) and np.isinf(x) else x


def _batch(spikes: Any) -> tuple[int, ...]:
    return spikes.time.shape[:-1] if isinstance(spikes, Events) else spikes.shape[:-2]


def _dtype_of(spikes: Any) -> Any:
    return canonical_dtype(spikes.time if isinstance(spikes, Events) else spikes)
