"""Layers of neurons of any model, as a function of tensors."""

import math
from typing import Any

from torch import Tensor

from ... import jax_core
from ...jax_core import Connections, Events, Neuron
from ...jax_core._validate import check_duration, check_integer
from ..layers._health import Health
from ..layers._overflow import OnOverflow, check_policy, report_overflow
from ._layer import call_with_health, check_layer


def spiking(
    spikes: Tensor | Events,
    weight: Tensor,
    neuron: Neuron,
    *,
    max_spikes: int = 1,
    t_max: float = math.inf,
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    connections: Connections | None = None,
    return_health: bool = False,
) -> Tensor | tuple[Tensor, Health]:
    """Spikes of a feed-forward layer of neurons of any model.

    Exact gradients with respect to spikes, weights and those fields of the neuron that are tensors;
    in time and memory for all (neuron, event) pairs. See ``docs/architecture.md`` for how to write
    a model.

    **Arguments:** ``neuron``: a dataclass derived from ``jax_core.Neuron``; its fields are numbers
    or tensors, scalar or ``(out,)``. All others as in `lif`.

    **Returns:** as `lif`.
    """
    check_policy(on_overflow)
    check_integer(max_spikes, "max_spikes", 1)
    check_duration(t_max, "t_max", positive=True)
    check_duration(min_slope, "min_slope", infinite=False)
    if not isinstance(neuron, Neuron):
        raise TypeError(f"neuron must be a jax_core.Neuron, an object, got {neuron!r}")
    check_layer(spikes, weight, {}, connections)
    limits: dict[str, Any] = {"max_spikes": max_spikes, "t_max": t_max, "min_slope": min_slope}
    out, health = call_with_health(
        jax_core.spiking, spikes, weight, neuron=neuron, connections=connections, **limits
    )
    if return_health:
        return out, health
    if not neuron.once:
        report_overflow(health.overflow, on_overflow, max_spikes)
    return out
