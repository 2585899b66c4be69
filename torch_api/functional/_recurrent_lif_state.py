"""Recurrent LIF layers in pieces of time, and under a constant current."""

from typing import Any, NamedTuple

import torch
from jax import Array
from torch import Tensor

from ... import jax_core
from ...bridge._torch_internals import is_captured
from ...jax_core import Events
from ..layers._constants import Constant
from ..layers._health import Health
from ._layer import call_with_health
from ._lif_state import check_current, check_end, check_state


class RecurrentLIFState(NamedTuple):
    """What a recurrent layer is in the middle of: where one piece of a stream ends and the next
    begins."""

    v: Tensor
    """Membrane voltage, ``(..., out)``."""
    i: Tensor
    """Synaptic current, ``(..., out)``."""
    refractory: Tensor
    """How much is left of the refractory period, seconds, ``(..., out)``; ``inf`` after a neuron's
    only spike."""
    arrivals: Tensor
    """When spikes that are on their way will arrive at the layer's neurons, seconds from the begin
    of the next piece, ``(..., out, W)``, ascending, ``inf`` where there is none."""


def recurrent_lif_with_state(
    spikes: Tensor | Events,
    weights: tuple[Tensor, Tensor],
    options: dict[str, Any],
    current: Constant | None,
    state: RecurrentLIFState | None,
    return_state: bool,
) -> tuple[Tensor, Health, RecurrentLIFState | None]:
    """Spikes, health and, if asked for, the state at the end, of checked arguments."""
    times = spikes.time if isinstance(spikes, Events) else spikes
    check_end(options["t_max"], return_state)
    given = check_current(current, times)
    if state is not None:
        if not isinstance(state, RecurrentLIFState):
            raise TypeError(
                f"state must be the RecurrentLIFState that the layer returned with "
                f"return_state=True, or None, got {type(state).__name__}"
            )
        of_state = {f"state_{name}": x for name, x in state._asdict().items()}
        check_state(of_state, times)
        given |= of_state
    more: dict[str, Any] = {**options, **given, "return_state": return_state}
    out, health, *end = call_with_health(recurrent_lif_from_state, spikes, *weights, **more)
    if not return_state:
        return out, health, None
    v, i, refractory, arrivals = end
    arrivals = without_empty_slots(arrivals)
    return out, health, RecurrentLIFState(v, i, refractory, arrivals)


def without_empty_slots(arrivals: Tensor) -> Tensor:
    """The first slots, as many as are used, or a power of two, so that few numbers are compiled."""
    if arrivals.numel() == 0 or is_captured():
        return arrivals
    used = int(torch.func.debug_unwrap(arrivals).isfinite().sum(dim=-1).amax())
    room = 0 if used == 0 else 1 << (used - 1).bit_length()
    return arrivals[..., :room]


def recurrent_lif_from_state(
    spikes: Array,
    weight: Array,
    recurrent_weight: Array,
    *,
    state_v: Array | None = None,
    state_i: Array | None = None,
    state_refractory: Array | None = None,
    state_arrivals: Array | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    """`jax_core.recurrent_lif` with the parts of a state as arguments, and as results."""
    parts: Any = state_v, state_i, state_refractory, state_arrivals
    state = None if state_v is None else jax_core.RecurrentLIFState(*parts)
    layer = spikes, weight, recurrent_weight
    out, health, *end = jax_core.recurrent_lif(*layer, state=state, **options)
    return out, health, *(end[0] if end else ())
