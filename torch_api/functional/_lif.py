"""The LIF layer as a function of tensors."""

import math
from typing import Any, Literal, Unpack, overload

from torch import Tensor

from ... import jax_core
from ...jax_core import Connections, Events
from ...jax_core._validate import check_duration, check_integer
from ...jax_core.layer._differentiable import Gradient as Gradient
from ...jax_core.simulate._solver import RecurrentSolver as RecurrentSolver
from ...jax_core.simulate._solver import Solver as Solver
from ...jax_core.simulate._solver import check_solver
from ...jax_core.walk._walk import Quantity
from ..layers._constants import Constant
from ..layers._health import Health
from ..layers._overflow import OnOverflow, check_policy, report_overflow
from ..layers._room import Room
from ._growing import grown
from ._layer import call, call_with_health, check_layer, check_output, check_trace
from ._lif_state import LIFState, lif_with_state
from ._options import LIFOptions


@overload
def lif(
    spikes: Tensor | Events,
    weight: Tensor,
    *,
    return_state: Literal[False] = ...,
    return_health: Literal[False] = ...,
    **options: Unpack[LIFOptions],
) -> Tensor: ...
@overload
def lif(
    spikes: Tensor | Events,
    weight: Tensor,
    *,
    return_state: Literal[False] = ...,
    return_health: Literal[True],
    **options: Unpack[LIFOptions],
) -> tuple[Tensor, Health]: ...
@overload
def lif(
    spikes: Tensor | Events,
    weight: Tensor,
    *,
    return_state: Literal[True],
    return_health: Literal[False] = ...,
    **options: Unpack[LIFOptions],
) -> tuple[Tensor, LIFState]: ...
@overload
def lif(
    spikes: Tensor | Events,
    weight: Tensor,
    *,
    return_state: Literal[True],
    return_health: Literal[True],
    **options: Unpack[LIFOptions],
) -> tuple[Tensor, Health, LIFState]: ...
def lif(
    spikes: Tensor | Events,
    weight: Tensor,
    *,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    max_spikes: Room = 1,
    t_max: float = math.inf,
    gradient: Gradient = "eventprop",
    min_slope: float = 1e-3,
    on_overflow: OnOverflow = "error",
    solver: Solver = "auto",
    connections: Connections | None = None,
    current: Constant | None = None,
    state: LIFState | None = None,
    return_state: bool = False,
    return_health: bool = False,
) -> Any:
    """Spikes of a layer of leaky integrate-and-fire neurons with exponential synapses.

    Simulated in continuous time, with exact gradients with respect to ``spikes``, ``weight`` and
    every constant given as a tensor; see `LIF` for the neuron and ``docs/gradients.md`` for the
    method.

    **Arguments:**

    - ``spikes``: input spike times, seconds, shape ``(..., in, k)``, ascending, ``inf`` where there
      is no spike; or ``Events`` of shape ``(..., M)``.
    - ``weight``: shape ``(out, in)``.
    - ``tau_mem``, ``tau_syn``: membrane and synaptic time constants, seconds, > 0.
    - ``v_threshold``, ``v_leak``, ``v_reset``: voltages, in the unit of the weights;
      ``v_reset < v_threshold``.
    - ``refractory``: refractory period, seconds, >= 0; ``inf`` for at most one spike per neuron.
      All constants are numbers or tensors ``(out,)``. Numbers may select a faster closed form;
      other numbers for which the same holds are not compiled anew.
    - ``max_spikes``: room for this many output spikes per neuron; with ``"auto"`` it doubles until
      they fit, each time with a run, in every call: only layers keep the room that they grew to.
    - ``t_max``: end of the simulation, seconds; later spikes are not emitted.
    - ``gradient``: ``"eventprop"`` or ``"fast_and_deep"`` (first spikes only); or a function from
      ``jax_core.LayerRun`` to spike times, in JAX, of which the derivative counts.
    - ``min_slope``: lower bound that gradients put on ``tau_mem dV/dt`` at a spike, as a fraction
      of ``|v_threshold - v_leak|``.
    - ``on_overflow``: for a neuron with more than ``max_spikes`` spikes, ``"error"`` raises
      `SpikeOverflowError`, ``"warn"`` warns and ``"truncate"`` silently keeps the first ones.
    - ``connections``: ``None``, all-to-all; or ``jax_core.Conv``, ``Sparse`` or ``SynapticDelays``
      with tensors in it, which say what the shapes of spike times and weights are then.
    - ``solver``: ``"lockstep"`` takes all neurons from event to event together, ``"chunked"`` only
      those that may spike, which is faster for many neurons and events; both find the same, to
      rounding. ``"auto"`` chooses by their numbers.
    - ``current``: a constant input current, in the unit of the weights, from time 0 on: a number,
      or a tensor of the neurons' shape or of all samples'. It is not part of what a neuron rests
      with.
    - ``state``: the `LIFState` to start with, an earlier call's, whose end is this one's time 0: so
      a long stream runs in pieces and gives exactly what one run gives, gradients through the
      states included. ``None``: at rest.
    - ``return_state``: also return the state at ``t_max``, which must be finite then. With state or
      current, gradients take time and memory for all (neuron, event) pairs, and
      ``gradient="fast_and_deep"`` is not available.
    - ``return_health``: also return ``Health``, the counts ``(out,)`` of silent samples, grazing
      spikes and overflowing samples; ``on_overflow`` is then left to the caller.

    **Returns:** spike times, shape ``(..., out, max_spikes)``, ``inf`` where there is no spike; or
    a tuple of them, and of health and state if asked for.
    """
    if isinstance(max_spikes, str):
        return grown(lif, locals())
    check_settings(max_spikes, t_max, gradient, min_slope, on_overflow, refractory, solver)
    constants = {
        "tau_mem": tau_mem,
        "tau_syn": tau_syn,
        "v_threshold": v_threshold,
        "v_leak": v_leak,
        "v_reset": v_reset,
        "refractory": refractory,
    }
    check_layer(spikes, weight, constants, connections)
    settings: dict[str, Any] = {
        "max_spikes": max_spikes,
        "t_max": t_max,
        "gradient": gradient,
        "min_slope": min_slope,
        "solver": solver,
    }
    end = None
    if current is None and state is None and not return_state:
        out, health = call_with_health(
            jax_core.lif, spikes, weight, **constants, **settings, connections=connections
        )
    else:
        given = constants, connections, current, state, return_state
        out, health, end = lif_with_state(spikes, weight, *given, **settings)
    if not (return_health or spikes_once(refractory)):
        report_overflow(health.overflow, on_overflow, max_spikes)
    if not (return_health or return_state):
        return out
    return (out, *([health] if return_health else []), *([end] if return_state else []))


def lif_trace(
    spikes: Tensor | Events,
    weight: Tensor,
    times: Tensor,
    *,
    output: Tensor | None = None,
    quantity: Quantity = "voltage",
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
    """Membrane voltage, or current, of the neurons of `lif`: for plots and for losses.

    Exact at every time, and differentiable like `lif`, including the way in which the neurons' own
    spikes move. At a spike's own time the voltage is already ``v_reset``. The cost is one walk
    along input spikes and ``times``, and that of `lif` unless ``output`` is given.

    **Arguments:**

    - ``times``: when to look, seconds, finite, shape ``(T,)`` or ``(..., T)``, any order.
    - ``output``: the spikes that `lif` found for this input, seconds, shape ``(..., out, K)``;
      gradients go on through them. Then nothing is simulated, and ``max_spikes``, ``t_max``,
      ``min_slope`` and ``on_overflow`` have no effect.
    - ``quantity``: ``"voltage"``, or ``"current"``: the synaptic current, in units of the weights,
      which no spike of the neuron itself touches, so that nothing is simulated either.
    - ``connections``: as in `lif`; ``output`` and what is returned have the axes of its neurons.

    The others as in `lif`. With ``on_overflow="truncate"``, spikes without room do not reset the
    voltage. After ``t_max`` it goes on without spikes.

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
    if output is not None:
        check_output(output, weight, given, connections=connections)
    elif quantity == "voltage":
        settings = {
            "max_spikes": max_spikes,
            "t_max": t_max,
            "min_slope": min_slope,
            "connections": connections,
        }
        output, health = call_with_health(jax_core.lif, spikes, weight, **constants, **settings)
        if not spikes_once(refractory):
            report_overflow(health.overflow, on_overflow, max_spikes)
    return call(
        jax_core.lif_trace,
        spikes,
        weight,
        times,
        **constants,
        output=output,
        quantity=quantity,
        connections=connections,
    )


def spikes_once(refractory: Constant) -> bool:
    """Whether a neuron is known to spike once at most, so that no spike can lack room."""
    return not isinstance(refractory, Tensor) and refractory == math.inf


def check_settings(
    max_spikes: int,
    t_max: float,
    gradient: Gradient,
    min_slope: float,
    on_overflow: str,
    refractory: Constant,
    solver: RecurrentSolver = "auto",
    solvers: Any = Solver,
) -> None:
    """Check the settings of a layer, whose solver is one of ``solvers``."""
    check_integer(max_spikes, "max_spikes", 1)
    check_duration(t_max, "t_max", positive=True)
    check_duration(min_slope, "min_slope", infinite=False)
    check_policy(on_overflow)
    check_solver(solver, solvers)
    if gradient not in ("eventprop", "fast_and_deep") and not callable(gradient):
        raise ValueError(
            f"gradient must be 'eventprop' or 'fast_and_deep', or a function, got {gradient!r}"
        )
    if gradient == "fast_and_deep" and max_spikes > 1 and not spikes_once(refractory):
        raise ValueError(
            "gradient='fast_and_deep' covers first spikes only: set max_spikes=1 or "
            "refractory=inf, or choose gradient='eventprop'"
        )
