"""Layers that run a stream in pieces, and the spikes that delays keep on their way meanwhile."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...jax_core import Events
from .. import functional
from .._validate import check_like, check_spikes
from ..functional._recurrent_lif_state import without_empty_slots
from ._connection_list import numbered, one_each, times_of_events
from ._delay_parameter import nonnegative


class DelayedState(NamedTuple):
    """What a layer with delays of its input is in the middle of: where one piece of a stream ends
    and the next begins."""

    state: Any
    """That of the neurons, as of a layer without delays."""
    arrivals: Tensor
    """When input spikes that are on their way will arrive, seconds from the begin of the next
    piece, ``(..., in, W)``, or with delays of connections ``(..., connections, W)``, row by row
    where that is all; ascending, ``inf`` where there is none."""


class Piece(NamedTuple):
    """What arrives at a layer in a piece, and after it."""

    arriving: Tensor | Events
    options: dict[str, Any]
    """What the layer's function is to take for it."""
    later: Tensor | None
    """As `DelayedState.arrivals`; ``None`` without delays."""

    def state(self, own: Any) -> Any:
        """The state at the end, given that of the neurons."""
        return own if self.later is None else DelayedState(own, self.later)


def run_piece(
    layer: Any, spikes: Tensor | Events, state: Any, return_state: bool, **options: Any
) -> Any:
    """Spikes of a layer in a piece of a stream; with ``return_state`` also the state at its end.

    **Arguments:** ``layer``: a `NeuronLayer` or `ModelLayer`; ``spikes``: those that set out in the
    piece; ``state``: as it was given; ``options``: further ones of the layer's function.
    """
    piece = _piece_of(layer, spikes, state)
    options = {**options, **piece.options, "return_state": return_state}
    out, health, *end = layer.simulated(piece.arriving, **options)
    layer.note(piece.arriving, out, health)
    layer.report_lost(health)
    # What is remembered is read as that of a layer at rest.
    layer.last_call = None
    return (out, *map(piece.state, end)) if return_state else out


def _piece_of(layer: Any, spikes: Tensor | Events, state: Any) -> Piece:
    if getattr(layer, "delay_type", None) is None:
        return Piece(layer.delay_input(spikes), {"state": state}, None)
    t_max = layer.t_max
    if isinstance(spikes, Events):
        spikes = times_of_events(spikes, layer.in_features, t_max)
    check_spikes(spikes, layer.in_features)
    # Those after the end are none of this piece's, as where there are no delays.
    arriving = _arrivals(layer, torch.where(spikes > t_max, math.inf, spikes))
    if state is not None:
        _check(state, arriving)
        state, waiting = state
        arriving = torch.cat([waiting, arriving], dim=-1)
    is_later = arriving > t_max
    later = torch.where(is_later, arriving - t_max, math.inf).sort(dim=-1).values
    arriving = torch.where(is_later, math.inf, arriving).sort(dim=-1).values
    options = {"state": state, **_by_connection(layer)}
    return Piece(arriving, options, without_empty_slots(later))


def _arrivals(layer: Any, spikes: Tensor) -> Tensor:
    """When spikes arrive, ``(..., in, k)``, or over each connection, ``(..., connections, k)``."""
    delay, sparse = nonnegative(layer.delay), layer.sparse
    if layer.delay_type == "axonal":
        return functional.delay(spikes, delay)
    if sparse is not None:
        return spikes[..., sparse.source, :] + delay[:, None]
    return (spikes.unsqueeze(-3) + delay[:, :, None]).flatten(-3, -2)


def _by_connection(layer: Any) -> dict[str, Any]:
    """Connections and weights for spikes of `_arrivals`, where these differ from the layer's."""
    if layer.delay_type != "synaptic":
        return {}
    weight, sparse = layer.weight, layer.sparse
    place = numbered(weight) if sparse is None else sparse.place
    return {"weight": weight.flatten(), "connections": one_each(place, weight.numel())}


def _check(state: Any, arriving: Tensor) -> None:
    if not isinstance(state, DelayedState):
        raise TypeError(
            f"state must be the DelayedState that the layer, which has delays of its input, "
            f"returned with return_state=True, or None, got {type(state).__name__}"
        )
    check_spikes(state.arrivals, arriving.shape[-2], "state.arrivals")
    check_like(state.arrivals, arriving, "state.arrivals")
    if state.arrivals.shape[:-1] != arriving.shape[:-1]:
        raise ValueError(
            f"state.arrivals has shape {tuple(state.arrivals.shape)}, but the samples are "
            f"{tuple(arriving.shape[:-2])}; the state must be of this layer and of as many samples"
        )
