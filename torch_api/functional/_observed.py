"""Gradients from observed spikes, as a function of tensors."""

import math
from typing import Any

from torch import Tensor

from ... import jax_core
from ...jax_core.layer._trace import lif_delayed_trace
from ...jax_core.walk._walk import Quantity
from ..layers._constants import Constant
from ..layers._late import warn_if_late
from ._layer import call, call_with_health, check_layer, check_output, check_trace
from ._lif import Gradient, Solver, check_settings


def lif_observed(
    spikes: Tensor | jax_core.Events,
    weight: Tensor,
    observed: Tensor,
    *,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    t_max: float = math.inf,
    gradient: Gradient = "eventprop",
    min_slope: float = 1e-3,
    count_missing: bool = False,
    solver: Solver = "auto",
    connections: jax_core.Connections | None = None,
    return_health: bool = False,
) -> Any:
    """Spikes that hardware emitted, with the gradients that the model of `lif` has there.

    Returns ``observed`` as it is; differentiable with respect to ``spikes``, ``weight`` and
    constants given as tensors. Where the spikes are those of `lif`, so are the gradients. A spike
    at which the model's voltage does not rise, or within the refractory period, has no gradient
    and counts as unpredicted; one that the model predicts and that is not there, as missing.

    **Arguments:**

    - ``observed``: spike times of this layer, seconds, shape ``(..., out, K)``, ascending, ``inf``
      where there is no spike.
    - ``count_missing``: whether to simulate the layer too, to count missing spikes up to ``t_max``.
    - ``connections``: as in `lif`; ``observed`` has the axes of its neurons.
    - ``return_health``: also return ``Health``.

    All others as in `lif`.

    **Returns:** ``observed``, and ``Health`` if asked for.
    """
    room = max(observed.shape[-1], 1)
    check_settings(room, t_max, gradient, min_slope, "error", refractory, solver)
    constants = {
        "tau_mem": tau_mem,
        "tau_syn": tau_syn,
        "v_threshold": v_threshold,
        "v_leak": v_leak,
        "v_reset": v_reset,
        "refractory": refractory,
    }
    times = check_layer(spikes, weight, constants, connections)
    check_output(observed, weight, times, "observed", connections)
    warn_if_late(observed, constants, "observed spikes")
    out, health = call_with_health(
        jax_core.lif_observed,
        spikes,
        weight,
        observed.detach(),
        **constants,
        t_max=t_max,
        gradient=gradient,
        min_slope=min_slope,
        count_missing=count_missing,
        solver=solver,
        connections=connections,
    )
    return (out, health) if return_health else out


def lif_observed_trace(
    spikes: Tensor | jax_core.Events,
    weight: Tensor,
    observed: Tensor,
    times: Tensor,
    *,
    quantity: Quantity = "voltage",
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
) -> Tensor:
    """Membrane voltage, or current, of neurons that spiked when they were observed to.

    Each observed spike resets its neuron; nothing is simulated. Differentiable with respect to
    everything, ``observed`` included.

    **Arguments:** ``observed`` as in `lif_observed`, all others as in `lif_trace`.

    **Returns:** voltages or currents, shape ``(..., out, T)``.
    """
    constants = {
        "tau_mem": tau_mem,
        "tau_syn": tau_syn,
        "v_threshold": v_threshold,
        "v_leak": v_leak,
        "v_reset": v_reset,
        "refractory": refractory,
    }
    given = check_trace(spikes, weight, times, constants, quantity)
    check_output(observed, weight, given, "observed")
    warn_if_late(observed, constants, "observed spikes")
    arguments = spikes, weight, observed, times
    return call(jax_core.lif_observed_trace, *arguments, **constants, quantity=quantity)


def delayed_trace(
    spikes: Tensor | jax_core.Events,
    weight: Tensor,
    output: Tensor,
    times: Tensor,
    delay: Tensor,
    *,
    quantity: Quantity = "voltage",
    **constants: Constant,
) -> Tensor:
    """`lif_observed_trace` of neurons to which everything happens a delay later.

    **Arguments:** ``output``: their delayed spikes, seconds, shape ``(..., out, K)``; ``delay``:
    seconds, shape ``(out,)``. All others as in `lif_observed_trace`.

    **Returns:** voltages or currents, shape ``(..., out, T)``.
    """
    given = check_trace(spikes, weight, times, constants, quantity)
    check_output(output, weight, given)
    warn_if_late(output, constants, "output")
    arguments = spikes, weight, output, times, delay
    return call(lif_delayed_trace, *arguments, **constants, quantity=quantity)
