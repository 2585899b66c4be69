"""Recurrent layers of neurons of any model, as a function of tensors."""

import math
from typing import Any

from torch import Tensor

from ... import jax_core
from ...jax_core import Events, Neuron, RecurrentLayerState
from ...jax_core.layer._spiking import chosen
from ...jax_core.neuron._protocol import can_rest
from .._validate import check_recurrent_delay, check_recurrent_weight
from ..layers._constants import Constant
from ..layers._overflow import OnOverflow, check_policy, report_overflow
from ..layers._room import Room
from ._growing import grown
from ._layer import call_with_health
from ._layer_state import recurrent_spiking_with_state
from ._spiking import check_spiking


def recurrent_spiking(
    spikes: Tensor | Events,
    weight: Tensor,
    recurrent_weight: Tensor,
    neuron: Neuron,
    *,
    recurrent_delay: Constant | None = None,
    max_spikes: Room = 1,
    t_max: float = math.inf,
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    state: RecurrentLayerState | None = None,
    return_state: bool = False,
    return_health: bool = False,
) -> Any:
    """Spikes of a layer of neurons of any model that are also connected to each other.

    A spike of neuron ``i`` arrives at each neuron ``j`` as an input of weight
    ``recurrent_weight[j, i]``, at the time of the spike or ``recurrent_delay[i]``, or
    ``recurrent_delay[j, i]``, later. Exact gradients with respect to spikes, both weights, the
    delay and those fields of the neuron that are tensors. A sample ends where a neuron has more
    than ``max_spikes`` spikes.

    **Arguments:** ``recurrent_weight``: ``(out, out)``, from ``i`` to ``j`` at ``[j, i]``;
    ``recurrent_delay``: seconds, >= 0, a number or a tensor, scalar or ``(out,)``, or of
    connections, ``(out, out)``, which costs more; ``None``: none; ``state``, ``return_state``: as
    in `spiking`, a ``jax_core.RecurrentLayerState``, not with delays of connections. All others as
    in `spiking`.

    **Returns:** as `spiking`.
    """
    if isinstance(max_spikes, str):
        return grown(recurrent_spiking, locals(), once=getattr(neuron, "once", False))
    check_policy(on_overflow)
    limits = check_spiking(spikes, weight, neuron, max_spikes, t_max, min_slope, None)
    check_recurrent_weight(recurrent_weight, weight, weight.shape[0])
    given: dict[str, Any] = {}
    if recurrent_delay is not None:
        check_recurrent_delay(recurrent_delay, recurrent_weight, weight.shape[0])
        given["recurrent_delay"] = recurrent_delay
    named: dict[str, Any] = {"neuron": neuron, **given, **limits}
    end = None
    if state is None and not return_state:
        layer = spikes, weight, recurrent_weight
        out, health = call_with_health(jax_core.recurrent_spiking, *layer, **named)
    else:
        out, health, end = recurrent_spiking_with_state(
            spikes, (weight, recurrent_weight), state, return_state=return_state, **named
        )
    if not (return_health or neuron.once):
        report_overflow(
            health.overflow,
            on_overflow,
            max_spikes,
            can_rest=can_rest(neuron),
            ends_sample=True,
        )
    return chosen(out, health, end, return_health)
