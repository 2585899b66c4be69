"""Layers of neurons of any model, as a function of tensors."""

import dataclasses
import math
from typing import Any

from torch import Tensor

from ... import jax_core
from ...jax_core import Connections, Events, LayerState, Neuron
from ...jax_core._validate import check_duration, check_integer
from ...jax_core.layer._spiking import chosen
from ...jax_core.neuron._protocol import can_rest
from .._validate import check_times, values_are_checked
from ..layers._overflow import OnOverflow, check_policy, report_overflow
from ..layers._room import Room
from ._growing import grown
from ._layer import call, call_with_health, check_layer, check_output
from ._layer_state import spiking_with_state


def spiking(
    spikes: Tensor | Events,
    weight: Tensor,
    neuron: Neuron,
    *,
    max_spikes: Room = 1,
    t_max: float = math.inf,
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    connections: Connections | None = None,
    state: LayerState | None = None,
    return_state: bool = False,
    return_health: bool = False,
) -> Any:
    """Spikes of a feed-forward layer of neurons of any model.

    Exact gradients with respect to spikes, weights and those fields of the neuron that are tensors;
    in time and memory for all (neuron, event) pairs. See ``docs/architecture.md`` for how to write
    a model.

    **Arguments:** ``neuron``: a dataclass derived from ``jax_core.Neuron``; its fields are numbers
    or tensors, scalar or ``(out,)``; ``state``, ``return_state``: as in `lif`, a
    ``jax_core.LayerState`` of the model's own state, for finite ``t_max``. All others as in `lif`.

    **Returns:** as `lif`.
    """
    if isinstance(max_spikes, str):
        return grown(spiking, locals(), once=getattr(neuron, "once", False))
    check_policy(on_overflow)
    limits = check_spiking(spikes, weight, neuron, max_spikes, t_max, min_slope, connections)
    named: dict[str, Any] = {"neuron": neuron, "connections": connections, **limits}
    end = None
    if state is None and not return_state:
        out, health = call_with_health(jax_core.spiking, spikes, weight, **named)
    else:
        out, health, end = spiking_with_state(
            spikes, weight, state, return_state=return_state, **named
        )
    if not (return_health or neuron.once):
        report_overflow(health.overflow, on_overflow, max_spikes, can_rest=can_rest(neuron))
    return chosen(out, health, end, return_health)


def spiking_trace(
    spikes: Tensor | Events,
    weight: Tensor,
    neuron: Neuron,
    times: Tensor,
    *,
    output: Tensor | None = None,
    quantity: str = "voltage",
    max_spikes: int = 1,
    t_max: float = math.inf,
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    connections: Connections | None = None,
) -> Tensor:
    """Membrane voltage of the layer that `spiking` simulates, for plots and for losses.

    **Arguments:** ``times``: when to look, seconds, ``(T,)`` or ``(..., T)``, any order;
    ``output``: the spikes that `spiking` found, so that nothing is simulated again; gradients go on
    through it; ``quantity``: ``"voltage"``, or a variable of the model's state by its name, such as
    ``"w"``, the adaptation of ``jax_core.AdaptiveLIF``. All others as in `spiking`. After ``t_max``
    the voltage goes on without spikes.

    **Returns:** voltages, shape ``(..., out, T)``.
    """
    check_policy(on_overflow)
    limits = check_spiking(spikes, weight, neuron, max_spikes, t_max, min_slope, connections)
    check_times(times, spikes, 1 if connections is None else connections.axes)
    common: dict[str, Any] = {"neuron": neuron, "connections": connections}
    if output is None:
        output, health = call_with_health(jax_core.spiking, spikes, weight, **common, **limits)
        if not neuron.once:
            report_overflow(health.overflow, on_overflow, max_spikes, can_rest=can_rest(neuron))
    else:
        like = spikes.time if isinstance(spikes, Events) else spikes
        check_output(output, weight, like, connections=connections)
    common |= {"times": times, "output": output, "t_max": t_max, "quantity": quantity}
    return call(jax_core.spiking_trace, spikes, weight, **common)


def check_spiking(
    spikes: Tensor | Events,
    weight: Tensor,
    neuron: Neuron,
    max_spikes: int,
    t_max: float,
    min_slope: float,
    connections: Connections | None,
) -> dict[str, Any]:
    """Check the arguments of a layer; **returns** how far its simulation goes."""
    check_integer(max_spikes, "max_spikes", 1)
    check_duration(t_max, "t_max", positive=True)
    check_duration(min_slope, "min_slope", infinite=False)
    if not isinstance(neuron, Neuron):
        raise TypeError(f"neuron must be a jax_core.Neuron, an object, got {neuron!r}")
    check_layer(spikes, weight, {}, connections)
    if values_are_checked():
        check_neuron(neuron)
    return {"max_spikes": max_spikes, "t_max": t_max, "min_slope": min_slope}


def check_neuron(neuron: Neuron) -> None:
    """Raise where constants of a neuron, numbers or tensors, are out of their range."""
    fields = {each.name: getattr(neuron, each.name) for each in dataclasses.fields(neuron)}  # pyright: ignore[reportArgumentType]
    tensors = {name: x for name, x in fields.items() if isinstance(x, Tensor)}
    if not any(x.is_meta for x in tensors.values()):
        arrays = {name: x.detach().cpu().numpy() for name, x in tensors.items()}
        dataclasses.replace(neuron, **arrays).check()  # pyright: ignore[reportArgumentType]
