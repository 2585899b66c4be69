"""LIF layers in pieces of time, and under a constant current."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from torch import Tensor

from ... import jax_core
from ...jax_core import Connections, Events
from .._validate import check_like, check_tensor, values_are_checked
from ..layers._constants import Constant
from ..layers._health import Health
from ._layer import call


class LIFState(NamedTuple):
    """What a layer is in the middle of, each ``(..., out)``: where one piece of a stream ends and
    the next begins. ``LIFState(*(x.detach() for x in state))`` cuts the gradient there."""

    v: Tensor
    """Membrane voltage."""
    i: Tensor
    """Synaptic current."""
    refractory: Tensor
    """How much is left of the refractory period, seconds; ``inf`` after a neuron's only spike."""


def lif_with_state(
    spikes: Tensor | Events,
    weight: Tensor,
    constants: dict[str, Any],
    connections: Connections | None,
    current: Constant | None,
    state: LIFState | None,
    return_state: bool,
    t_max: float,
    **settings: Any,
) -> tuple[Tensor, Health, LIFState | None]:
    """Spikes, health and, if asked for, the state at the end, of checked arguments."""
    times = spikes.time if isinstance(spikes, Events) else spikes
    if return_state and t_max == math.inf:
        raise ValueError(
            "t_max must be finite with return_state=True, whose state is that at t_max"
        )
    given: dict[str, Tensor] = {}
    if isinstance(current, Tensor):
        check_like(current, times, "current")
        given["current"] = current
    elif current is not None:
        settings["current"] = float(current)
    if state is not None:
        given |= _checked(state, times)
    out, counts, *end = call(
        _run,
        spikes,
        weight,
        **constants,
        **settings,
        **given,
        t_max=t_max,
        connections=connections,
        return_state=return_state,
    )
    return out, Health(*counts.unbind()), LIFState(*end) if return_state else None


def _checked(state: Any, times: Tensor) -> dict[str, Tensor]:
    if not isinstance(state, LIFState):
        raise TypeError(
            f"state must be the LIFState that the layer returned with return_state=True, or None, "
            f"got {type(state).__name__}"
        )
    for name, x in state._asdict().items():
        check_tensor(x, f"state.{name}", "a tensor (..., out)")
        check_like(x, times, f"state.{name}")
    if values_are_checked():
        for name, x in state._asdict().items():
            if bool(x.isnan().any()):
                raise ValueError(f"state.{name} must not be NaN; start anew with state=None")
        if bool((state.refractory < 0).any()):
            raise ValueError("state.refractory must be >= 0: it is how much is left of the period")
    return {f"state_{name}": x for name, x in state._asdict().items()}


def _run(
    spikes: Array,
    weight: Array,
    *,
    state_v: Array | None = None,
    state_i: Array | None = None,
    state_refractory: Array | None = None,
    return_state: bool,
    **options: Any,
) -> tuple[Array, ...]:
    state = None
    if state_v is not None and state_i is not None and state_refractory is not None:
        state = jax_core.LIFState(state_v, state_i, state_refractory)
    found: Any = jax_core.lif(
        spikes, weight, state=state, return_state=return_state, return_health=True, **options
    )
    out, health, *end = found
    counts = jnp.stack([count for count in health if count is not None])
    return (out, counts, *(end[0] if end else ()))
