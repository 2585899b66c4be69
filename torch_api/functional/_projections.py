"""LIF layers with input of several kinds, as a function of tensors."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jax import Array
from torch import Tensor

from ... import jax_core
from ...jax_core import Connections, Projection
from ...jax_core.layer._projections import lif_ports
from .._validate import check_constants, check_times_and_weight, check_weight
from ..layers._constants import Constant
from ..layers._overflow import OnOverflow, report_overflow
from ..layers._room import Room
from ._growing import grown
from ._layer import call_with_health, check_layer
from ._lif import check_settings, lif, spikes_once
from ._lif_state import LIFState, check_current, check_end, check_state

# In front of the numbers of projections beyond the first, and of the names of currents.
_TAU, _CURRENT = "tau_syn_", "state_i_"


def lif_projections(
    projections: Mapping[str, Projection],
    *,
    tau_mem: Constant = 2e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    max_spikes: Room = 1,
    t_max: float = math.inf,
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    connections: Connections | None = None,
    current: Constant | None = None,
    state: LIFState | None = None,
    return_state: bool = False,
    return_health: bool = False,
) -> Any:
    """Spikes of a layer of LIF neurons that several projections act on, such as an excitatory and
    an inhibitory one, each through a current with a time constant of its own.

    ``tau_mem dV/dt = v_leak - V + sum_p I_p``, ``tau_p dI_p/dt = -I_p``; all else as in `lif`.

    **Arguments:**

    - ``projections``: by name, ``jax_core.Projection(spikes, weight, tau_syn)`` with tensors, of as
      many samples each; delays are added to their spikes.
    - ``connections``: those of all inputs, one projection after the other, such as
      ``jax_core.SynapticDelays`` with a tensor ``(out, all inputs)``.
    - ``state``: a `LIFState` whose currents ``i`` are a dict by name.

    All others as in `lif`. If all ``tau_syn`` are one number, this is `lif` with the inputs one
    after the other. Otherwise gradients take time and memory for all (neuron, event) pairs.

    **Returns:** as `lif`.
    """
    if isinstance(max_spikes, str):
        return grown(lif_projections, locals())
    spikes, weight, ports = _together(projections)
    taus = [each.tau_syn for each in projections.values()]
    constants = {
        "tau_mem": tau_mem,
        "tau_syn": taus[0],
        "v_threshold": v_threshold,
        "v_leak": v_leak,
        "v_reset": v_reset,
        "refractory": refractory,
    }
    limits: dict[str, Any] = {"max_spikes": max_spikes, "t_max": t_max, "min_slope": min_slope}
    if state is None and not return_state and _are_one_number(taus):
        run: Any = lif
        others: dict[str, Any] = {
            "on_overflow": on_overflow,
            "return_health": return_health,
            "connections": connections,
            "current": current,
        }
        return run(spikes, weight, **constants, **limits, **others)
    check_settings(max_spikes, t_max, "eventprop", min_slope, on_overflow, refractory)
    check_layer(spikes, weight, constants, connections)
    check_end(t_max, return_state)
    given = check_current(current, spikes) | _state(state, projections, spikes)
    for position, tau in enumerate(taus[1:], 1):
        check_constants({"tau_syn": tau}, spikes, weight.shape[0])
        given[f"{_TAU}{position}"] = tau if isinstance(tau, Tensor) else float(tau)
    out, health, *end = call_with_health(
        lif_of_projections,
        spikes,
        weight,
        **constants,
        **limits,
        **given,
        connections=connections,
        kinds=tuple(projections),
        ports=ports,
        return_state=return_state,
    )
    if not (return_health or spikes_once(refractory)):
        report_overflow(health.overflow, on_overflow, max_spikes)
    found = [out, *([health] if return_health else [])]
    if return_state:
        v, left, *currents = end
        found.append(LIFState(v, dict(zip(projections, currents, strict=True)), left))
    return found[0] if len(found) == 1 else tuple(found)


def _are_one_number(taus: list[Any]) -> bool:
    return all(not isinstance(tau, Tensor) and tau == taus[0] for tau in taus)


def _together(
    projections: Mapping[str, Projection],
) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """All inputs in one tensor, all weights in one, and the number of each input's projection."""
    if not isinstance(projections, Mapping) or not projections:
        raise TypeError(
            f"projections must be a dict of Projection by name, such as {{'exc': "
            f"Projection(spikes, weight)}}, got {type(projections).__name__}"
        )
    for name, each in projections.items():
        _check(each, f"projections[{name!r}]", next(iter(projections.values())))
    spikes: list[Any] = [each.spikes for each in projections.values()]
    weights: list[Any] = [each.weight for each in projections.values()]
    room = max(each.shape[-1] for each in spikes)
    pad = torch.nn.functional.pad
    padded = [pad(each, (0, room - each.shape[-1]), value=math.inf) for each in spikes]
    ports = (kind for kind, each in enumerate(weights) for _ in range(each.shape[1]))
    return torch.cat(padded, dim=-2), torch.cat(weights, dim=1), tuple(ports)


def _check(projection: Any, name: str, first: Projection) -> None:
    is_projection = isinstance(projection, Projection)
    if not is_projection or not all(isinstance(x, Tensor) for x in projection[:2]):
        raise TypeError(
            f"{name} must be a Projection of spike times (..., in, k) and weights (out, in) as "
            f"tensors, got {type(projection).__name__}"
        )
    spikes: Any = projection.spikes
    weight: Any = projection.weight
    check_times_and_weight(spikes, weight)
    check_weight(weight)
    if spikes.ndim < 2 or weight.shape[1] != spikes.shape[-2]:
        raise ValueError(
            f"{name} has weights {tuple(weight.shape)} (out, in) for spikes "
            f"{tuple(spikes.shape)} (..., in, k); make the number of inputs equal"
        )
    samples, neurons = tuple(first.spikes.shape[:-2]), first.weight.shape[0]
    if tuple(spikes.shape[:-2]) != samples or weight.shape[0] != neurons:
        raise ValueError(
            f"{name} has {tuple(spikes.shape[:-2])} samples and {weight.shape[0]} neurons, but the "
            f"first projection has {samples} and {neurons}; they act on one layer in one run"
        )


def _state(state: LIFState | None, names: Mapping[str, Any], spikes: Tensor) -> dict[str, Tensor]:
    if state is None:
        return {}
    if (
        not isinstance(state, LIFState)
        or not isinstance(state.i, dict)
        or set(state.i) != set(names)
    ):
        raise TypeError(
            f"state must be the LIFState that a layer with projections {', '.join(names)} returned "
            f"with return_state=True, or None, got {type(state).__name__}"
        )
    given = {"state_v": state.v, "state_refractory": state.refractory}
    given |= {f"{_CURRENT}{name}": state.i[name] for name in names}
    check_state(given, spikes)
    return given


def lif_of_projections(
    spikes: Array,
    weight: Array,
    *,
    kinds: tuple[str, ...],
    ports: tuple[int, ...],
    tau_syn: Any,
    state_v: Array | None = None,
    state_refractory: Array | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    """`lif_ports` with constants by kind and the parts of a state as arguments, and as results."""
    taus = [tau_syn, *(options.pop(f"{_TAU}{kind}") for kind in range(1, len(kinds)))]
    state = None
    if state_v is not None and state_refractory is not None:
        currents = {name: options.pop(f"{_CURRENT}{name}") for name in kinds}
        state = jax_core.LIFState(state_v, currents, state_refractory)
    out, health, *end = lif_ports(
        spikes,
        weight,
        np.asarray(ports),
        dict(zip(kinds, taus, strict=True)),
        state=state,
        **options,
    )
    if not end:
        return out, health
    return out, health, end[0].v, end[0].refractory, *(end[0].i[name] for name in kinds)
