"""LIF layers with input of several kinds, each through synapses of its own."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from .._events import Events
from .._overflow import OnOverflow, check_policy, handle_overflow
from .._validate import check_constant, check_spike_times, check_weight
from .._validate_layer import check_ports
from ..connect._lists import check_nothing_lost
from ..connect._protocol import Connections
from ..neuron._constants import Constant, Constants, Form, as_array, is_number
from ..neuron._multisynapse_lif import MultisynapseLIF, VIs
from ._lif import lif
from ._lif_state import LIFState, Model, run_with_state
from ._prepared import Given, check_settings, prepare, too_many
from ._spiking import chosen, run_layer


class Projection(NamedTuple):
    """Input of one kind: its spikes, weights, and synaptic time constant."""

    spikes: Array | np.ndarray
    """``(..., in, k)``, seconds."""
    weight: Array | np.ndarray
    """``(out, in)``."""
    tau_syn: Constant = 1e-2
    """Seconds, > 0; a scalar or ``(out,)``."""


def lif_projections(
    projections: Mapping[str, Projection], *, validate: bool = True, **options: Any
) -> Any:
    """Spikes of a layer of LIF neurons that several projections act on, such as an excitatory and
    an inhibitory one, each through a current with a time constant of its own.

    ``tau_mem dV/dt = v_leak - V + sum_p I_p``, ``tau_p dI_p/dt = -I_p``; all else as in `lif`. If
    the time constants are one number, it is one current, and costs what `lif` costs. Otherwise
    gradients are as those of `spiking`, and an event costs some root searches if a neuron might
    cross its threshold before the next one.

    **Arguments:**

    - ``projections``: `Projection` by name, of as many samples each; delays are added to spikes.
    - ``options``: those of `lif`, without ``tau_syn`` and ``gradient``. ``connections``: of all
      inputs, one projection after the other, such as `SynapticDelays` ``(out, all inputs)``.
      ``state``: a `LIFState` with currents by name.

    **Returns:** as `lif`.
    """
    if not isinstance(projections, Mapping) or not projections:
        raise TypeError(
            f"projections must be a dict of Projection by name, such as {{'exc': "
            f"Projection(spikes, weight)}}, got {type(projections).__name__}"
        )
    for name, each in projections.items():
        _check(each, f"projections[{name!r}]", next(iter(projections.values())), validate)
    room = max(each.spikes.shape[-1] for each in projections.values())
    spikes = jnp.concatenate([_padded(each.spikes, room) for each in projections.values()], axis=-2)
    weight = jnp.concatenate([jnp.asarray(e.weight) for e in projections.values()], axis=-1)
    inputs = [each.weight.shape[-1] for each in projections.values()]
    taus = {name: each.tau_syn for name, each in projections.items()}
    ports = np.repeat(np.arange(len(inputs)), inputs)
    return lif_ports(spikes, weight, ports, taus, validate=validate, **options)


def _check(projection: Any, name: str, first: Projection, validate: bool) -> None:
    if not isinstance(projection, Projection):
        raise TypeError(f"{name} must be a Projection, got {type(projection).__name__}")
    if isinstance(projection.spikes, Events):
        raise TypeError(
            f"{name}.spikes must be a spike-time tensor, not Events; convert them with "
            f"spike_times_from_events"
        )
    spikes, weight, _ = projection
    check_spike_times(spikes, name=f"{name}.spikes", values=validate)
    check_weight(weight, spikes.shape[-2], spikes.dtype, f"{name}.weight", values=validate)
    samples, neurons = first.spikes.shape[:-2], first.weight.shape[0]
    if spikes.shape[:-2] != samples or weight.shape[0] != neurons:
        raise ValueError(
            f"{name} has {spikes.shape[:-2]} samples and {weight.shape[0]} neurons, but the first "
            f"projection has {samples} and {neurons}; they act on one layer in one run"
        )


def _padded(spikes: Array | np.ndarray, room: int) -> Array:
    widths = [(0, 0)] * (spikes.ndim - 1) + [(0, room - spikes.shape[-1])]
    return jnp.pad(jnp.asarray(spikes), widths, constant_values=jnp.inf)


def lif_ports(
    spikes: Array | np.ndarray,
    weight: Array | np.ndarray,
    ports: np.ndarray,
    tau_syn: Mapping[str, Constant],
    *,
    tau_mem: Constant = 2e-2,
    v_threshold: Constant = 1.0,
    v_leak: Constant = 0.0,
    v_reset: Constant = 0.0,
    refractory: Constant = 0.0,
    max_spikes: int = 1,
    t_max: float | Array = math.inf,
    min_slope: float | Array = 1e-3,
    on_overflow: OnOverflow = "error",
    form: Form | None = None,
    connections: Connections | None = None,
    current: Constant | None = None,
    state: LIFState | None = None,
    return_state: bool = False,
    return_health: bool = False,
    samples: int | Array | None = None,
    validate: bool = True,
) -> Any:
    """`lif_projections` of all inputs in one tensor, with the number of each one's projection.

    **Arguments:** ``ports``: int32 ``(in,)``; ``tau_syn``: time constants by name, in that order.
    """
    check_policy(on_overflow)
    check_nothing_lost(connections, return_state)
    taus = list(tau_syn.values())
    given = Given(tau_mem, taus[0], v_threshold, v_leak, v_reset, refractory)
    if state is None and not return_state and all(is_number(t) and t == taus[0] for t in taus):
        options = {"form": form, "connections": connections, "current": current}
        run = partial(lif, **given._asdict(), **options, max_spikes=max_spikes, t_max=t_max)
        run = partial(run, min_slope=min_slope, on_overflow=on_overflow, validate=validate)
        return run(spikes, weight, return_health=return_health, samples=samples)
    settings = check_settings(
        given, max_spikes, t_max, "eventprop", min_slope, form, samples=samples
    )
    layer = prepare(spikes, weight, _Given(given, tau_syn), validate, connections)
    constants, of_kinds = layer.constants
    layer = layer._replace(constants=constants)
    names = tuple(tau_syn)
    model = Model(
        lambda constants: MultisynapseLIF(constants, of_kinds, settings.form),
        lambda v, i: VIs(v, tuple(i[name] for name in names)),
        lambda state: dict(zip(names, state.i, strict=True)),
    )
    run = partial(run_layer, ports=check_ports(ports, layer.weight.shape[-1]))
    stateful = current, state, return_state, validate
    out, health, end = run_with_state(layer, settings, *stateful, model, run)
    if not (return_health or settings.form.spikes_once):
        handle_overflow(health.overflow, on_overflow, too_many(max_spikes))
    return chosen(out, health, end, return_health)


class _Given(NamedTuple):
    """Neuron constants, and time constants of synapses by name, as users give them."""

    given: Given
    tau_syn: Mapping[str, Constant]

    def checked(
        self, neurons: int, dtype: DTypeLike, validate: bool
    ) -> tuple[Constants, tuple[Any, ...]]:
        """Check them, and turn them into arrays."""
        for name, tau in self.tau_syn.items():
            label = f"projections[{name!r}].tau_syn"
            check_constant(tau, label, neurons, dtype, positive=True, values=validate)
        taus = tuple(as_array(tau, dtype) for tau in self.tau_syn.values())
        return self.given.checked(neurons, dtype, validate), taus

    def warn_if_late(self, spikes: Any, validate: bool) -> None:
        """Warn of spikes that are too late for one of the time constants."""
        for tau in self.tau_syn.values():
            self.given._replace(tau_syn=tau).warn_if_late(spikes, validate)
