"""Neurons in continuous time behind the dense surface: exact spikes, traces and gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ....jax_core.readout._grid import li_grid
from ... import functional
from ...functional._layer import call, check_layer
from ...layers._health import Health
from .._handle import SynapseHandle
from ._call import Clock
from ._raster import check_room, with_same_room

_FIRST_ROOM = 4


def joined(title: str, inputs: Sequence[SynapseHandle]) -> tuple[Tensor, Tensor]:
    """The spikes and weights of all synapses of a population as those of one synapse."""
    events = [handle.events for handle in inputs if handle.events is not None]
    if len(events) < len(inputs):
        raise ValueError(
            f"{title}: its input has dense graded spikes only, without spike times; use "
            f"Experiment(engine='euler') for modules that compute on dense tensors"
        )
    outs = {int(weight.shape[0]) for _, weight in events}
    if len(outs) > 1:
        raise ValueError(f"{title}: its synapses end on {sorted(outs)} neurons")
    times = with_same_room([times for times, _ in events])
    return torch.cat(times, dim=1), torch.cat([weight for _, weight in events], dim=1)


def constant(value: Any, like: Tensor) -> Any:
    """A model value as the functional layers take it: a float, or a tensor of the right dtype."""
    if isinstance(value, Tensor):
        value = value.reshape(()) if value.numel() == 1 else value
        return value.to(dtype=like.dtype, device=like.device)
    return float(value)


def of_neuron(constants: dict[str, Any], index: int) -> dict[str, Any]:
    """The constants of one neuron of a population."""
    return {
        name: value[index : index + 1] if isinstance(value, Tensor) and value.ndim else value
        for name, value in constants.items()
    }


def spikes_with_room(simulate: Callable[..., Any], room: int) -> tuple[Tensor, Health, int]:
    """``simulate(max_spikes=...)`` with the room that spikes need, at least ``room``.

    The room grows by factors of two, as each size is compiled.
    """
    room = max(room, _FIRST_ROOM)
    while True:
        check_room(room)
        out, health = simulate(max_spikes=room)
        if not bool(health.overflow.any()):
            return out, health, room
        room *= 2


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
    return call(li_grid, times, weight, **constants, dt=clock.dt, steps=clock.steps)


def current_trace(times: Tensor, weight: Tensor, tau_syn: Any, clock: Clock) -> Tensor:
    """Synaptic currents ``(time, batch, neurons)``; in the step of an input spike it is there."""
    # Rounding must not hide a spike from its own step.
    ahead = 1e-3 * clock.dt
    at = looks(clock, times) + ahead
    constants = {"tau_mem": tau_syn, "tau_syn": tau_syn}
    current = functional.li_value(times, weight, at, **constants, quantity="current")
    growth = torch.as_tensor(ahead / tau_syn, dtype=times.dtype, device=times.device).exp()
    return current.movedim(-1, 0) * growth
