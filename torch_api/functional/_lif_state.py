"""LIF layers in pieces of time, and under a constant current."""

import math
from typing import Any, NamedTuple

from jax import Array
from torch import Tensor

from ... import jax_core
from ...jax_core import Connections, Events
from .._validate import check_constant_values, check_like, check_tensor, values_are_checked
from ..layers._constants import Constant
from ..layers._health import Health
from ._layer import call_with_health


class LIFState(NamedTuple):
    """What a layer is in the middle of, each ``(..., out)``: where one piece of a stream ends and
    the next begins. ``LIFState(*(x.detach() for x in state))`` cuts the gradient there."""

    v: Tensor
    """Membrane voltage."""
    i: Any
    """Synaptic current; of several projections a dict of one each, by name."""
    refractory: Tensor
    """How much is left of the refractory period, seconds; ``inf`` after a neuron's only spike.
    Without effect where neurons have no such period."""


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
    check_end(t_max, return_state)
    given = check_current(current, times)
    if state is not None:
        if not isinstance(state, LIFState) or not isinstance(state.i, Tensor):
            raise TypeError(
                f"state must be the LIFState that the layer returned with return_state=True, or "
                f"None, got {type(state).__name__}"
            )
        of_state = {f"state_{name}": x for name, x in state._asdict().items()}
        check_state(of_state, times)
        given |= of_state
    out, health, *end = call_with_health(
        lif_from_state,
        spikes,
        weight,
        **constants,
        **settings,
        **given,
        t_max=t_max,
        connections=connections,
        return_state=return_state,
    )
    return out, health, LIFState(*end) if return_state else None


def check_end(t_max: float, return_state: bool) -> None:
    """Check that there is an end at which a state is wanted."""
    if return_state and t_max == math.inf:
        raise ValueError("t_max must be finite with return_state=True: the state is that at t_max")


def check_current(current: Constant | None, times: Tensor) -> dict[str, Any]:
    """A constant current as an option of a JAX function, if there is one."""
    if current is None:
        return {}
    if not isinstance(current, Tensor):
        check_constant_values({"current": current}, 1)
        return {"current": float(current)}
    check_like(current, times, "current")
    if values_are_checked() and not bool(current.isfinite().all()):
        raise ValueError("current must be finite; replace NaN and inf")
    return {"current": current}


def check_state(state: dict[str, Any], times: Tensor) -> None:
    """Check the tensors of a state, by the names of arguments."""
    check_state_tensors({key.replace("_", ".", 1): x for key, x in state.items()}, times)


def check_state_tensors(state: dict[str, Any], times: Tensor) -> None:
    """Check the tensors of a state, by name; their shapes are checked with the layer's."""
    for name, x in state.items():
        check_tensor(x, name, "a tensor (..., out)")
        check_like(x, times, name)
        if not values_are_checked():
            continue
        if bool(x.isnan().any()):
            raise ValueError(f"{name} must not be NaN; start anew with state=None")
        if name not in ("state.refractory", "state.arrivals") and bool(x.isinf().any()):
            raise ValueError(f"{name} must be finite; start anew with state=None")
    if values_are_checked() and bool((state["state.refractory"] < 0).any()):
        raise ValueError("state.refractory must be >= 0: it is how much is left of the period")


def lif_from_state(
    spikes: Array,
    weight: Array,
    *,
    state_v: Array | None = None,
    state_i: Array | None = None,
    state_refractory: Array | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    """`jax_core.lif` with the parts of a state as arguments, and those at the end as results."""
    state = None
    if state_v is not None and state_i is not None and state_refractory is not None:
        state = jax_core.LIFState(state_v, state_i, state_refractory)
    out, health, *end = jax_core.lif(spikes, weight, state=state, **options)
    return out, health, *(end[0] if end else ())
