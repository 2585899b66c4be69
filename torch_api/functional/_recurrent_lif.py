"""The recurrent LIF layer as functions of tensors."""

import math
from typing import Any, Literal, Unpack, overload

from torch import Tensor

from ... import jax_core
from ...jax_core import Connections, Events, Sparse
from ...jax_core.walk._walk import Quantity
from .._validate import check_recurrent_delay, check_recurrent_weight
from ..layers._constants import Constant
from ..layers._health import Health
from ..layers._overflow import OnOverflow, report_overflow
from ..layers._room import Room
from ._growing import grown
from ._layer import call, call_with_health, check_layer, check_output, check_trace
from ._lif import RecurrentSolver, check_settings, spikes_once
from ._options import RecurrentOptions
from ._recurrent_lif_state import RecurrentLIFState, recurrent_lif_with_state


@overload
def recurrent_lif(
    spikes: Tensor | Events,
    weight: Tensor,
    recurrent_weight: Tensor,
    *,
    return_state: Literal[False] = ...,
    return_health: Literal[False] = ...,
    **options: Unpack[RecurrentOptions],
) -> Tensor: ...
@overload
def recurrent_lif(
    spikes: Tensor | Events,
    weight: Tensor,
    recurrent_weight: Tensor,
    *,
    return_state: Literal[False] = ...,
    return_health: Literal[True],
    **options: Unpack[RecurrentOptions],
) -> tuple[Tensor, Health]: ...
@overload
def recurrent_lif(
    spikes: Tensor | Events,
    weight: Tensor,
    recurrent_weight: Tensor,
    *,
    return_state: Literal[True],
    return_health: Literal[False] = ...,
    **options: Unpack[RecurrentOptions],
) -> tuple[Tensor, RecurrentLIFState]: ...
@overload
def recurrent_lif(
    spikes: Tensor | Events,
    weight: Tensor,
    recurrent_weight: Tensor,
    *,
    return_state: Literal[True],
    return_health: Literal[True],
    **options: Unpack[RecurrentOptions],
) -> tuple[Tensor, Health, RecurrentLIFState]: ...
def recurrent_lif(
    spikes: Tensor | Events,
    weight: Tensor,
    recurrent_weight: Tensor,
    *,
    recurrent_delay: Constant | None = None,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    max_spikes: Room = 1,
    t_max: float = math.inf,
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    solver: RecurrentSolver = "auto",
    connections: Connections | None = None,
    recurrent_connections: Sparse | None = None,
    current: Constant | None = None,
    state: RecurrentLIFState | None = None,
    return_state: bool = False,
    return_health: bool = False,
) -> Any:
    """Spikes of a layer of leaky integrate-and-fire neurons that are connected to each other.

    As `lif`, with the spikes of the layer itself as further input: one of neuron ``i`` adds
    ``recurrent_weight[j, i]`` to the current of neuron ``j`` at once, or ``recurrent_delay[i]``
    or ``recurrent_delay[j, i]`` later. Gradients are exact, by EventProp, with respect to
    ``spikes``, both weights, and delays and constants given as tensors; see `RecurrentLIF`.

    **Arguments:**

    - ``recurrent_weight``: shape ``(out, out)``.
    - ``recurrent_delay``: seconds, >= 0, a number or a tensor ``(out,)``, or ``(out, out)`` with
      one for each connection, which costs more; ``None`` for no delay.
    - ``connections``: as in `lif`, of the input, but ``jax_core.Sparse`` and ``SynapticDelays``
      only.
    - ``recurrent_connections``: those within the layer, ``jax_core.Sparse`` without delays;
      ``recurrent_weight`` is ``(connections,)`` then.
    - ``solver``: as in `lif`, or ``"lists"``, for lists of both kinds of connections, which large
      layers with short lists choose by themselves.
    - ``state``: a `RecurrentLIFState`, with the spikes that are on their way. Like ``current`` not
      with delays of connections.

    All others as in `lif`. A sample ends where a neuron has more than ``max_spikes`` spikes: no
    neuron spikes thereafter.

    **Returns:** spike times, shape ``(..., out, max_spikes)``, ``inf`` where there is no spike; or
    a tuple of them, and of health and state if asked for.
    """
    if isinstance(max_spikes, str):
        return grown(recurrent_lif, locals())
    settings = "eventprop", min_slope, on_overflow, refractory, solver
    check_settings(max_spikes, t_max, *settings, RecurrentSolver)
    constants = {
        "tau_mem": tau_mem,
        "tau_syn": tau_syn,
        "v_threshold": v_threshold,
        "v_leak": v_leak,
        "v_reset": v_reset,
        "refractory": refractory,
    }
    check_layer(spikes, weight, constants, connections)
    own = recurrent_connections
    delays = check_recurrence(weight, recurrent_weight, recurrent_delay, connections, own)
    options = {
        **delays,
        **constants,
        "max_spikes": max_spikes,
        "t_max": t_max,
        "min_slope": min_slope,
        "solver": solver,
        "connections": connections,
        "recurrent_connections": own,
    }
    end = None
    if current is None and state is None and not return_state:
        layer = spikes, weight, recurrent_weight
        out, health = call_with_health(jax_core.recurrent_lif, *layer, **options)
    else:
        given = options, current, state, return_state
        out, health, end = recurrent_lif_with_state(spikes, (weight, recurrent_weight), *given)
    if not (return_health or spikes_once(refractory)):
        report_overflow(health.overflow, on_overflow, max_spikes, ends_sample=True)
    if not (return_health or return_state):
        return out
    return (out, *([health] if return_health else []), *([end] if return_state else []))


def recurrent_lif_trace(
    spikes: Tensor | Events,
    weight: Tensor,
    recurrent_weight: Tensor,
    times: Tensor,
    *,
    output: Tensor | None = None,
    quantity: Quantity = "voltage",
    recurrent_delay: Constant | None = None,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    max_spikes: int = 1,
    t_max: float = math.inf,
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    connections: Connections | None = None,
) -> Tensor:
    """Membrane voltage, or current, of the neurons of `recurrent_lif`, as `lif_trace`.

    **Arguments:** ``times``, ``output`` and ``quantity`` as in `lif_trace`, but for the current
    the layer's spikes matter too; the others as in `recurrent_lif`.

    **Returns:** voltages or currents, shape ``(..., out, T)``.
    """
    check_settings(max_spikes, t_max, "eventprop", min_slope, on_overflow, refractory)
    constants = {
        "tau_mem": tau_mem,
        "tau_syn": tau_syn,
        "v_threshold": v_threshold,
        "v_leak": v_leak,
        "v_reset": v_reset,
        "refractory": refractory,
    }
    given = check_trace(spikes, weight, times, constants, quantity, connections)
    delays = check_recurrence(weight, recurrent_weight, recurrent_delay, connections)
    layer = spikes, weight, recurrent_weight
    constants = {**constants, **delays, "connections": connections}
    if output is None:
        settings = {"max_spikes": max_spikes, "t_max": t_max, "min_slope": min_slope}
        output, health = call_with_health(jax_core.recurrent_lif, *layer, **constants, **settings)
        if not spikes_once(refractory):
            report_overflow(health.overflow, on_overflow, max_spikes, ends_sample=True)
    else:
        check_output(output, weight, given, connections=connections)
    return call(
        jax_core.recurrent_lif_trace, *layer, times, **constants, output=output, quantity=quantity
    )


def check_recurrence(
    weight: Tensor,
    recurrent_weight: Tensor,
    delay: Any,
    connections: Connections | None,
    own: Sparse | None = None,
) -> dict[str, Any]:
    """Check the connections within a layer; **returns** their delay, if any, by name.

    **Arguments:** ``connections``: of the input; ``own``: within the layer.
    """
    of_input: Any = connections
    neurons = weight.shape[0] if connections is None else of_input.neurons(weight)
    check_recurrent_weight(recurrent_weight, weight, neurons, own)
    if delay is None:
        return {}
    check_recurrent_delay(delay, recurrent_weight, neurons)
    return {"recurrent_delay": delay}
