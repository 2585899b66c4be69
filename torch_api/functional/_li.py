"""The leaky integrator as functions of tensors."""

import math
from typing import Any, Literal

from torch import Tensor

from ... import jax_core
from ...jax_core import Events
from ...jax_core._validate import check_duration
from ...jax_core.readout._li import check_tau_weight
from ...jax_core.walk._walk import Quantity
from ..layers._constants import Constant
from ._layer import call, check_layer, check_trace

Readout = Literal["max", "integral", "value"]


def li(
    spikes: Tensor | Events,
    weight: Tensor,
    *,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_leak: Constant = 0.0,
    readout: Readout = "max",
    t_max: float = math.inf,
    tau_weight: float = math.inf,
) -> Tensor:
    """A number per neuron from the voltage of a layer of leaky integrators.

    **Arguments:**

    - ``spikes``: input spike times, seconds, shape ``(..., in, k)``, ascending, ``inf`` where there
      is no spike; or ``Events`` of shape ``(..., M)``.
    - ``weight``: shape ``(out, in)``.
    - ``tau_mem``, ``tau_syn``: membrane and synaptic time constants, seconds, > 0.
    - ``v_leak``: leak potential, in the unit of the weights. Constants are numbers or tensors
      ``(out,)``.
    - ``readout``: the ``"max"`` of the voltage over [0, t_max], its ``"integral"`` over [0, t_max]
      in volt seconds, or its ``"value"`` at t_max.
    - ``t_max``: seconds; finite for ``"value"``, and for ``"integral"`` without ``tau_weight``.
    - ``tau_weight``: with ``"integral"``, that of ``V(t) exp(-t / tau_weight)``, seconds.

    **Returns:** shape ``(..., out)``. Differentiable in spikes, weight and tensor constants.
    """
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    check_readout(readout, t_max, tau_weight)
    check_layer(spikes, weight, constants)
    window: dict[str, Any] = {"t_max": t_max}
    if readout == "integral":
        window["tau_weight"] = tau_weight
    return call(jax_core.li, spikes, weight, **constants, readout=readout, **window)


def li_value(
    spikes: Tensor | Events,
    weight: Tensor,
    times: Tensor,
    *,
    quantity: Quantity = "voltage",
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_leak: Constant = 0.0,
) -> Tensor:
    """Voltage, or current, of the leaky integrators of `li` at given times: a trace, or a loss's.

    **Arguments:** ``times``: seconds, shape ``(T,)`` or ``(..., T)``; ``quantity``: ``"voltage"``,
    or ``"current"``: the synaptic current, in units of the weights; the others as in `li`.

    **Returns:** shape ``(..., out, T)``. Differentiable in spikes, weight and tensor constants.
    """
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    check_trace(spikes, weight, times, constants, quantity)
    return call(jax_core.li_value, spikes, weight, times, **constants, quantity=quantity)


def li_integral(
    spikes: Tensor | Events,
    weight: Tensor,
    *,
    t_max: float,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_leak: Constant = 0.0,
    tau_weight: float = math.inf,
) -> Tensor:
    """Integral of ``V(t) exp(-t / tau_weight)`` over [0, t_max] for the leaky integrators of `li`.

    **Arguments:** ``t_max``: seconds; ``tau_weight``: seconds, > 0, ``inf`` for equal weights; one
    of the two is finite; the others as in `li`.

    **Returns:** shape ``(..., out)``. Differentiable in spikes, weight and tensor constants.
    """
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    check_readout("integral", t_max, tau_weight)
    check_layer(spikes, weight, constants)
    return call(
        jax_core.li_integral, spikes, weight, **constants, t_max=t_max, tau_weight=tau_weight
    )


def li_max(
    spikes: Tensor | Events,
    weight: Tensor,
    *,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_leak: Constant = 0.0,
    t_max: float = math.inf,
) -> Tensor:
    """Maximum of the voltage over [0, t_max] for the leaky integrators of `li`.

    **Arguments:** as in `li`.

    **Returns:** shape ``(..., out)``. Differentiable in spikes, weight and tensor constants.
    """
    return li(
        spikes,
        weight,
        tau_mem=tau_mem,
        tau_syn=tau_syn,
        v_leak=v_leak,
        readout="max",
        t_max=t_max,
    )


def li_peak(
    spikes: Tensor | Events,
    weight: Tensor,
    *,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_leak: Constant = 0.0,
    t_max: float = math.inf,
) -> tuple[Tensor, Tensor]:
    """Maximum of the voltage over [0, t_max] for the leaky integrators of `li`, and its time.

    The time moves with the peak, unless that lies at ``t_max``, or at 0, where it stays for a
    voltage that never rises above ``v_leak``.

    **Arguments:** as in `li`.

    **Returns:** voltages and times, seconds, shapes ``(..., out)``. Differentiable in spikes,
    weight and tensor constants.
    """
    constants = {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak}
    check_readout("max", t_max, math.inf)
    check_layer(spikes, weight, constants)
    return call(jax_core.li_peak, spikes, weight, **constants, t_max=t_max)


def check_readout(readout: str, t_max: float, tau_weight: float) -> None:
    """Check the name of a read-out, its end, and the time constant of its weight."""
    if readout not in ("max", "integral", "value"):
        raise ValueError(f"readout must be 'max', 'integral' or 'value', got {readout!r}")
    check_duration(t_max, "t_max", positive=True)
    check_tau_weight(tau_weight, readout)
    if readout == "integral" and t_max == math.inf and tau_weight == math.inf:
        raise ValueError(
            "t_max must be finite where tau_weight is not, with readout='integral'; give either "
            "in seconds"
        )
    if readout == "value" and t_max == math.inf:
        raise ValueError("t_max must be finite with readout='value'; give it in seconds")
