"""Traces behind spikes in continuous time, exact and differentiable, when they are read."""

from typing import Any

import torch
from torch import Tensor

from ....jax_core.readout._grid import li_grid
from ... import functional
from ...functional._layer import call_as_is, check_layer
from ._arriving import arriving, joined
from ._call import Call, Clock
from ._constants import of_neuron
from ._madc import recorded
from ._neurons import adaptations, voltages
from ._raster import NEVER, SpikeRaster


def fill_spiking(call: Call, out: Tensor, clock: Clock) -> None:
    """Fill the handle of a population with its spike times ``(batch, neurons, k)`` and traces."""
    neurons, inputs = call.module, call.inputs

    def membrane() -> Tensor:
        times, weight = arriving(neurons, inputs)
        return voltages(neurons, times, weight, out, looks(clock, times)).movedim(-1, 0)

    def adaptation() -> Tensor:
        times, weight = arriving(neurons, inputs)
        return adaptations(neurons, times, weight, out, looks(clock, times)).movedim(-1, 0)

    def current() -> Tensor:
        # In its own unit, as on the grid: not through the conductance.
        times, weight = joined(neurons.title, inputs)
        return current_trace(times, weight, neurons.event_constants(times)["tau_syn"], clock)

    def madc() -> Tensor:
        times, weight = arriving(neurons, inputs)
        one = neurons.options["record_neuron_id"]
        constants = of_neuron(neurons.event_constants(times), one)
        return recorded(
            lambda at: functional.lif_observed_trace(
                times, weight[one : one + 1], out[:, one : one + 1], at, **constants
            )[:, 0],
            clock,
            times,
        )

    sent = out
    if neurons.mask is not None:
        sent = torch.where(neurons.mask.to(out.device)[:, None], out, NEVER)
    call.outputs[0].fill(
        sent,
        membrane_madc=madc if neurons.is_recorded() else None,
        spikes=lambda: SpikeRaster.draw(sent, clock.dt, clock.steps),
        membrane_cadc=membrane,
        current=current,
        **({"adaptation_cadc": adaptation} if neurons.adapts else {}),
    )


def fill_integrated(call: Call, clock: Clock) -> None:
    """Fill the handle of leaky integrators with their voltages and currents."""
    neurons = call.module
    times, weight = arriving(neurons, call.inputs)
    own_weight = joined(neurons.title, call.inputs)[1]
    constants = neurons.event_constants(times)

    def madc() -> Tensor:
        one = neurons.options["record_neuron_id"]
        row, own = weight[one : one + 1], of_neuron(constants, one)
        return recorded(lambda at: functional.li_value(times, row, at, **own)[:, 0], clock, times)

    call.outputs[0].fill(
        membrane_madc=madc if neurons.is_recorded() else None,
        membrane_cadc=lambda: integrator_trace(times, weight, constants, clock),
        current=lambda: current_trace(times, own_weight, constants["tau_syn"], clock),
    )


def looks(clock: Clock, like: Tensor) -> Tensor:
    """The times of all steps."""
    return torch.arange(clock.steps, dtype=like.dtype, device=like.device) * clock.dt


def integrator_trace(
    times: Tensor, weight: Tensor, constants: dict[str, Any], clock: Clock
) -> Tensor:
    """Voltages of leaky integrators ``(time, batch, neurons)``, exact and differentiable."""
    taus = (constants["tau_mem"], constants["tau_syn"])
    if any(isinstance(tau, Tensor) and tau.ndim for tau in taus):
        at = looks(clock, times)
        return functional.li_value(times, weight, at, **constants).movedim(-1, 0)
    check_layer(times, weight, constants)
    return call_as_is(li_grid, times, weight, **constants, dt=clock.dt, steps=clock.steps)


def current_trace(times: Tensor, weight: Tensor, tau_syn: Any, clock: Clock) -> Tensor:
    """Synaptic currents ``(time, batch, neurons)``; in the step of an input spike it is there."""
    # Rounding must not hide a spike from its own step.
    ahead = 1e-3 * clock.dt
    at = looks(clock, times) + ahead
    constants = {"tau_mem": tau_syn, "tau_syn": tau_syn}
    current = functional.li_value(times, weight, at, **constants, quantity="current")
    growth = torch.as_tensor(ahead / tau_syn, dtype=times.dtype, device=times.device).exp()
    return current.movedim(-1, 0) * growth
