"""The LIF layer: simulation with exact gradients, by either of two methods."""

import math
from functools import partial
from typing import Any, Literal, Unpack, overload

import numpy as np
from jax import Array

from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from ..connect._lists import check_nothing_lost
from ..connect._protocol import Connections
from ..neuron._constants import Constant, Form
from ..simulate._solver import Solver
from ._differentiable import Gradient, Health, run
from ._lif_state import LIFState, run_with_state
from ._options import LIFOptions
from ._prepared import Given, check_settings, prepare, too_many
from ._spiking import chosen


@overload
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    return_state: Literal[False] = ...,
    return_health: Literal[False] = ...,
    **options: Unpack[LIFOptions],
) -> Array: ...
@overload
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    return_state: Literal[False] = ...,
    return_health: Literal[True],
    **options: Unpack[LIFOptions],
) -> tuple[Array, Health]: ...
@overload
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    return_state: Literal[True],
    return_health: Literal[False] = ...,
    **options: Unpack[LIFOptions],
) -> tuple[Array, LIFState]: ...
@overload
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    return_state: Literal[True],
    return_health: Literal[True],
    **options: Unpack[LIFOptions],
) -> tuple[Array, Health, LIFState]: ...
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    tau_mem: Constant = 2e-2,
    tau_syn: Constant = 1e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    max_spikes: int = 1,
    t_max: float | Array = math.inf,
    gradient: Gradient = "eventprop",
    min_slope: float | Array = 1e-3,
    on_overflow: OnOverflow = "error",
    solver: Solver = "auto",
    form: Form | None = None,
    connections: Connections | None = None,
    current: Constant | None = None,
    state: LIFState | None = None,
    return_state: bool = False,
    return_health: bool = False,
    samples: int | Array | None = None,
    validate: bool = True,
) -> Any:
    """Spikes of a feed-forward layer of current-based leaky integrate-and-fire neurons.

    Between events ``tau_mem dV/dt = v_leak - V + I``, ``tau_syn dI/dt = -I``; an input spike adds
    its weight to ``I``; where ``V`` reaches ``v_threshold`` from below the neuron spikes and ``V``
    stays at ``v_reset`` for the time ``refractory``. ``V`` starts at ``v_leak`` (at ``v_reset`` if
    ``v_leak >= v_threshold``), ``I`` at 0. Spikes are found in continuous time, to float precision.

    Differentiable with respect to spike times, weights and all neuron constants. Numbers are values
    at run time: another one is not compiled anew, unless closed forms apply to it (``tau_mem``
    equal to ``tau_syn`` or twice that; ``refractory`` 0 or ``inf``).

    **Arguments:**

    - ``spikes``: input spike times, seconds, shape ``(..., in, k)``, ascending, ``inf`` where there
      is no spike; or `Events`, shape ``(..., M)``.
    - ``weight``: shape ``(out, in)``, in units of voltage, same dtype as the spikes.
    - ``tau_mem``, ``tau_syn``: membrane and synaptic time constant, seconds, > 0.
    - ``v_threshold``, ``v_leak``, ``v_reset``: potentials; ``v_reset < v_threshold``.
    - ``refractory``: refractory period, seconds, >= 0; ``inf`` allows one spike per neuron.
      All neuron constants are scalars or have shape ``(out,)``.
    - ``max_spikes``: room for this many spikes per neuron.
    - ``t_max``: end of the simulation, seconds; later spikes do not happen.
    - ``gradient``: ``"eventprop"`` (the adjoint method) or ``"fast_and_deep"`` (explicit
      differentiation of the first spike time; for at most one spike per neuron); or a function of
      one's own from `LayerRun` to spike times, of which the derivative counts.
    - ``min_slope``: least slope ``tau_mem dV/dt`` at a spike that gradients divide by, as a
      fraction of ``|v_threshold - v_leak|``; 0 for unbounded gradients of grazing spikes.
    - ``on_overflow``: what to do if a neuron has more than ``max_spikes`` spikes: ``"error"``,
      ``"warn"``, or ``"truncate"`` (keep the first ones).
    - ``solver``: ``"lockstep"`` takes all neurons from event to event together, ``"chunked"`` only
      those that may spike, which is faster for many neurons and events; both find the same, to
      rounding. ``"auto"`` chooses by their numbers, inside of ``jax.vmap`` by those of one element.
    - ``form``: what is known of the constants where they are no numbers, as inside of ``jit``;
      ``None``: see `Form`.
    - ``connections``: ``None``, all-to-all; or which inputs act on which neurons: `Conv`,
      `Sparse`, `SynapticDelays`. They say what the shapes of spike times and weights are then;
      `Events` are for ``None`` only. Constants have one value per neuron, of a convolution per
      output channel, and `Health` counts so, over samples and positions.
    - ``current``: a constant input current, in units of voltage, from time 0 on: a number, or an
      array of the neurons' shape or of all samples'. It is not among what a neuron rests with.
    - ``state``: `LIFState` that the neurons start with, an earlier call's, whose end is time 0 of
      this one; so a long stream runs in pieces, in all exactly what one run gives, gradients
      through the states included. ``None``: at rest.
    - ``return_state``: also return the state at ``t_max``, which must be finite then. Of a neuron
      that has overflowed it means nothing. With state or current, gradients take time and memory
      for all (neuron, event) pairs.
    - ``return_health``: also return `Health`, and leave acting on an overflow to the caller.
    - ``samples``: how many of the samples are counted in `Health` and looked at for an overflow,
      the first ones; those behind them fill up a batch to a size that is compiled already. A
      value at run time; ``None``: all.
    - ``validate``: whether to check the values of arrays (shapes and dtypes always are).

    **Returns:** spike times, seconds, shape ``(..., out, max_spikes)``, ascending, ``inf`` where
    there is no spike; with ``return_health`` or ``return_state`` a tuple of them, `Health` and
    `LIFState`, in this order.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument. Under ``jit`` an overflow makes
    the computation fail with a ``jax.errors.JaxRuntimeError``.

    **References:** Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z;
    Göltz et al. 2021, doi:10.1038/s42256-021-00388-x.
    """
    check_policy(on_overflow)
    check_nothing_lost(connections, return_state)
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    settings = check_settings(given, max_spikes, t_max, gradient, min_slope, form, solver, samples)
    layer = prepare(spikes, weight, given, validate, connections)
    end = None
    if current is None and state is None and not return_state:
        out, health = layer.over(partial(run, layer.suited(settings)))
        out, health = layer.unflatten(out), layer.counts(health)
    else:
        given_state = current, state, return_state
        out, health, end = run_with_state(layer, settings, *given_state, validate)
    if not (return_health or settings.form.spikes_once):
        handle_overflow(health.overflow, on_overflow, too_many(max_spikes))
    return chosen(out, health, end, return_health)
