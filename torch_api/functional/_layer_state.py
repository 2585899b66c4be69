"""Layers of neurons of any model in pieces of time."""

from typing import Any

import jax
import torch
from jax import Array
from torch import Tensor

from ... import jax_core
from ...jax_core import Events, LayerState, RecurrentLayerState
from ..layers._health import Health
from ._layer import call_with_health
from ._lif_state import check_end, check_state_tensors
from ._recurrent_lif_state import without_empty_slots


def spiking_with_state(
    spikes: Tensor | Events,
    weight: Tensor,
    state: LayerState | None,
    *,
    t_max: float,
    **named: Any,
) -> tuple[Tensor, Health, LayerState | None]:
    """Spikes, health and, if asked for, the state at the end, of checked arguments."""
    _check(state, LayerState, spikes, t_max, named["return_state"])
    out, health, *end = call_with_health(
        spiking_from_state, spikes, weight, state, t_max=t_max, **named
    )
    return out, health, end[0] if end else None


def recurrent_spiking_with_state(
    spikes: Tensor | Events,
    weights: tuple[Tensor, Tensor],
    state: RecurrentLayerState | None,
    *,
    t_max: float,
    **named: Any,
) -> tuple[Tensor, Health, RecurrentLayerState | None]:
    """`spiking_with_state` of a recurrent layer."""
    _check(state, RecurrentLayerState, spikes, t_max, named["return_state"])
    out, health, *end = call_with_health(
        recurrent_spiking_from_state, spikes, *weights, state, t_max=t_max, **named
    )
    if not end:
        return out, health, None
    return out, health, end[0]._replace(arrivals=without_empty_slots(end[0].arrivals))


def _check(
    state: Any, kind: type[Any], spikes: Tensor | Events, t_max: float, return_state: bool
) -> None:
    check_end(t_max, return_state)
    if state is None:
        return
    if not isinstance(state, kind):
        raise TypeError(
            f"state must be the {kind.__name__} that the layer returned with return_state=True, or "
            f"None, got {type(state).__name__}"
        )
    if torch.compiler.is_compiling():
        return  # `jax_core` checks types and shapes, and there are no values.
    leaves = jax.tree_util.tree_leaves_with_path(state)
    named = {f"state{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}
    check_state_tensors(named, spikes.time if isinstance(spikes, Events) else spikes)


def spiking_from_state(
    spikes: Array, weight: Array, state: LayerState | None, **options: Any
) -> tuple[Any, ...]:
    """`jax_core.spiking` with a state as an argument by position."""
    return jax_core.spiking(spikes, weight, state=state, **options)


def recurrent_spiking_from_state(
    spikes: Array,
    weight: Array,
    recurrent_weight: Array,
    state: RecurrentLayerState | None,
    **options: Any,
) -> tuple[Any, ...]:
    """`jax_core.recurrent_spiking` with a state as an argument by position."""
    layer = spikes, weight, recurrent_weight
    return jax_core.recurrent_spiking(*layer, state=state, **options)
