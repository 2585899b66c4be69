"""The leaky integrate-and-fire neuron with alpha synapses.

With the voltage measured from the leak potential and ``G`` a current that drives the synapse,

    tau_mem dV/dt = -V + I        tau_syn dI/dt = G - I        tau_syn dG/dt = -G,

and therefore ``I(u) = (I + G u/tau_syn) exp(-u/tau_syn)``. At turning points ``D = I - V`` is 0.
As ``d/du (exp(u/tau_mem) D) = exp(u/tau_mem) dI/du``, they are parted by the one turning point of
``I``, at ``u = tau_syn (1 - I/G)`` (Rolle).
"""

import dataclasses
import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._constants import Form
from ._kernel import Propagator, propagator, relative_decay, relative_decay_slope
from ._resetting import Leaking
from ._rise import Rise, crossing_of, highest_of, look_at_piece, no_rise
from ._root import roots_between_turns


class VIG(NamedTuple):
    """The state of a neuron."""

    v: Array
    """The voltage, measured from the leak potential."""
    i: Array
    """The synaptic current."""
    g: Array
    """What drives it."""


class AlphaFlow(NamedTuple):
    """What happens in a time."""

    step: Propagator
    ramp: Array
    """The time in units of ``tau_syn``."""
    psp: Array
    """The potential from a unit of ``G``."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["tau_mem", "tau_syn", "v_threshold", "v_leak", "v_reset", "refractory"],
    meta_fields=["form"],
)
@dataclasses.dataclass(frozen=True)
class AlphaLIF(Leaking[VIG]):
    """A leaky integrate-and-fire neuron with alpha synapses.

    ``tau_mem dV/dt = v_leak - V + I``; an input of weight ``w`` at time 0 adds the current
    ``w (t/tau_syn) exp(1 - t/tau_syn)``, whose peak is ``w`` at ``t = tau_syn`` (as of NEST's
    ``iaf_psc_alpha``). All else, and the constants, as in `lif`.

    **References:** Rotter & Diesmann 1999, doi:10.1007/s004220050570.
    """

    tau_mem: Any = 2e-2
    tau_syn: Any = 1e-2
    v_threshold: Any = 1.0
    v_leak: Any = 0.0
    v_reset: Any = 0.0
    refractory: Any = 0.0
    form: Form | None = None

    def start(self) -> VIG:
        zero = jnp.zeros_like(self.v_start)
        return VIG(self.v_start, zero, zero)

    def flow(self, u: Array) -> AlphaFlow:
        return _flow(u, self.tau_mem, self.tau_syn)

    def go(self, state: VIG, flow: AlphaFlow) -> VIG:
        step = flow.step
        v = step.membrane * state.v + step.psp * state.i + flow.psp * state.g
        return VIG(v, step.synapse * (state.i + flow.ramp * state.g), step.synapse * state.g)

    def receive(self, state: VIG, drive: Array, port: Array) -> VIG:
        return state._replace(g=state.g + math.e * drive)

    def slope(self, state: VIG) -> Array:
        return (state.i - state.v) / self.tau_mem

    def find(self, state: VIG, u_end: Array, flow: AlphaFlow) -> Rise:
        end = jnp.broadcast_to(jnp.minimum(u_end, self._horizon(state)), state.v.shape)
        pieces = no_rise(state.v, end)
        for point in [*self._turns(state, end, self._may_cross(state)), end]:
            v = self._at(state, point).v
            pieces = look_at_piece(pieces, point, v, end, self.threshold)
        return pieces.rise

    def solve(self, state: VIG, found: Rise) -> Array:
        return crossing_of(self, state, found)

    def highest(self, state: VIG, u_end: Array) -> Array:
        end = jnp.broadcast_to(u_end, state.v.shape)
        wanted = jnp.ones(end.shape, bool)
        return highest_of(self, state, [*self._turns(state, end, wanted), end])

    def at(self, state: VIG, u: Array) -> VIG:
        moved = self._at(state, u)
        return moved._replace(v=jnp.broadcast_to(self.threshold, moved.v.shape))

    def _at(self, state: VIG, u: Array) -> VIG:
        return self.go(state, self.flow(u))

    def _drive_at(self, state: VIG, u: Array) -> tuple[Array, Array]:
        """``D`` and its slope after a time ``u``."""
        there = self._at(state, u)
        drive = there.i - there.v
        return drive, (there.g - there.i) / self.tau_syn - drive / self.tau_mem

    def _turns(self, state: VIG, end: Array, wanted: Array) -> list[Array]:
        """Points among which are all turning points of the voltage before ``end``, ascending."""
        turn = self.tau_syn * (1 - state.i / jnp.where(state.g == 0, 1, state.g))
        inside = (state.g != 0) & (turn > 0) & (turn < end)
        parted = [jnp.where(inside, turn, end)]
        return roots_between_turns(partial(self._drive_at, state), parted, end, wanted)

    def _may_cross(self, state: VIG) -> Array:
        """Whether a bound of the voltage reaches the threshold: neither ``I`` nor ``G`` adds more
        than ``tau_syn/tau_mem`` of itself, nor more than itself, at any time."""
        most = jnp.minimum(self.tau_syn / self.tau_mem, 1)
        driving = jnp.maximum(state.i, 0) + jnp.maximum(state.g, 0)
        return jnp.maximum(state.v, 0) + most * driving >= self.threshold

    def _horizon(self, state: VIG) -> Array:
        """A time after which the voltage stays nearer to its rest than the threshold is.

        With the slower constant ``s`` the potentials are below ``(u/tau_mem) exp(-u/s)`` and
        ``u^2/(2 tau_mem tau_syn) exp(-u/s)``; and ``x exp(-x) < exp(-x/2)``,
        ``x^2/2 exp(-x) < 1.1 exp(-x/2)``.
        """
        slow = jnp.maximum(self.tau_mem, self.tau_syn)
        v, i, g = (jnp.abs(x) for x in state)
        most = v + slow / self.tau_mem * (i + 1.1 * slow / self.tau_syn * g)
        size = jnp.maximum(jnp.abs(self.threshold), 1e-20 * most)
        return 2 * slow * jnp.log(jnp.maximum(most / jnp.where(size > 0, size, 1), 1)) + slow


# A neuron looks ahead at a dozen places of its program; compiled functions are traced once.
@jax.jit
def _flow(u: Array, tau_mem: Array, tau_syn: Array) -> AlphaFlow:
    step = propagator(u, tau_mem, tau_syn)
    difference = 1 / tau_syn - 1 / tau_mem
    # Two forms of an integral over r exp(-difference r), neither of which grows.
    membrane_is_slow = difference >= 0
    gap = jnp.where(membrane_is_slow, difference, -difference) * u
    slow = jnp.where(membrane_is_slow, step.membrane, step.synapse)
    first = -relative_decay_slope(gap)
    part = jnp.where(membrane_is_slow, first, relative_decay(gap) - first)
    ramp = u / tau_syn
    return AlphaFlow(step, ramp, u / tau_mem * ramp * slow * part)
