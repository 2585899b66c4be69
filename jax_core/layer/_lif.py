"""The LIF layer: simulation with exact gradients, by either of two methods."""

import math
from functools import partial
from typing import Literal, Unpack, overload

import numpy as np
from jax import Array

from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from ..connect._protocol import Connections
from ..neuron._constants import Constant, Form
from ..simulate._solver import Solver
from ._differentiable import Gradient, Health, run
from ._options import LIFOptions
from ._prepared import Given, check_settings, prepare, too_many


@overload
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    return_health: Literal[False] = ...,
    **options: Unpack[LIFOptions],
) -> Array: ...
@overload
def lif(
    spikes: Array | np.ndarray | Events,
    weight: Array | np.ndarray,
    *,
    return_health: Literal[True],
    **options: Unpack[LIFOptions],
) -> tuple[Array, Health]: ...
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
    return_health: bool = False,
    validate: bool = True,
) -> Array | tuple[Array, Health]:
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
      differentiation of the first spike time; for at most one spike per neuron).
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
    - ``return_health``: also return `Health`, and leave acting on an overflow to the caller.
    - ``validate``: whether to check the values of arrays (shapes and dtypes always are).

    **Returns:** spike times, seconds, shape ``(..., out, max_spikes)``, ascending, ``inf`` where
    there is no spike; with ``return_health`` a tuple of them and `Health`.

    **Raises:** ``TypeError`` or ``ValueError`` naming the argument. Under ``jit`` an overflow makes
    the computation fail with a ``jax.errors.JaxRuntimeError``.

    **References:** Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z;
    Göltz et al. 2021, doi:10.1038/s42256-021-00388-x.
    """
    check_policy(on_overflow)
    given = Given(tau_mem, tau_syn, v_threshold, v_leak, v_reset, refractory)
    settings = check_settings(given, max_spikes, t_max, gradient, min_slope, form, solver)
    layer = prepare(spikes, weight, given, validate, connections)
    out, health = layer.over(partial(run, layer.suited(settings)))
    out, health = layer.unflatten(out), layer.counts(health)
    if return_health:
        return out, health
    if not settings.form.spikes_once:
        handle_overflow(health.overflow, on_overflow, too_many(max_spikes))
    return out
