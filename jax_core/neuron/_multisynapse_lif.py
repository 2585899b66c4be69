"""The leaky integrate-and-fire neuron with synapses of several kinds, each with a time constant.

With the voltage measured from the leak potential,

    tau_mem dV/dt = -V + sum_p I_p        tau_p dI_p/dt = -I_p,

so the voltage is a sum of one more exponential than there are kinds. Its turning points are where
``D = sum_p I_p - V`` is 0; as ``d/du (exp(u/tau_mem) D) = -exp(u/tau_mem) sum_p I_p/tau_p``, they
are parted by the roots of a sum of the currents alone (Rolle).
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._constants import Constants, Form
from ._kernel import Propagator, propagator
from ._leaky import Leaky
from ._rise import Rise, crossing_of, look_at_piece, no_rise
from ._root import roots_between_turns, roots_of_exponentials


class VIs(NamedTuple):
    """The state of a neuron."""

    v: Array
    """The voltage, measured from the leak potential."""
    i: tuple[Array, ...]
    """The currents of all kinds."""


@partial(
    jax.tree_util.register_dataclass, data_fields=["constants", "tau_syn"], meta_fields=["form"]
)
@dataclasses.dataclass(frozen=True)
class MultisynapseLIF(Leaky[VIs]):
    """A LIF neuron with one synaptic time constant for each port."""

    constants: Constants
    """Of which ``tau_syn`` has no meaning."""
    tau_syn: tuple[Array, ...]
    form: Form

    def start(self) -> VIs:
        start = self.constants.start
        return VIs(start, tuple(jnp.zeros_like(start) for _ in self.tau_syn))

    def flow(self, u: Array) -> tuple[Propagator, ...]:
        return tuple(propagator(u, self.constants.tau_mem, tau) for tau in self.tau_syn)

    def go(self, state: VIs, flow: tuple[Propagator, ...]) -> VIs:
        v = flow[0].membrane * state.v
        for i, step in zip(state.i, flow, strict=True):
            v = v + step.psp * i
        return VIs(v, tuple(step.synapse * i for i, step in zip(state.i, flow, strict=True)))

    def receive(self, state: VIs, drive: Array, port: Array) -> VIs:
        arriving = (jnp.where(port == p, drive, 0) for p in range(len(state.i)))
        return VIs(state.v, tuple(i + x for i, x in zip(state.i, arriving, strict=True)))

    def slope(self, state: VIs) -> Array:
        return self._drive(state) / self.constants.tau_mem

    def find(self, state: VIs, u_end: Array, flow: tuple[Propagator, ...]) -> Rise:
        shape = state.v.shape
        end = jnp.broadcast_to(jnp.where(jnp.isfinite(u_end), u_end, self._horizon(state)), shape)
        turns = self._turns(state, end, self._may_cross(state))
        pieces = no_rise(state.v, end)
        for turn in [*turns, end]:
            pieces = look_at_piece(
                pieces, turn, self._at(state, turn).v, end, self.constants.threshold
            )
        return pieces.rise

    def solve(self, state: VIs, found: Rise) -> Array:
        return crossing_of(self, state, found)

    def at(self, state: VIs, u: Array) -> VIs:
        moved = self._at(state, u)
        return VIs(jnp.broadcast_to(self.constants.threshold, moved.v.shape), moved.i)

    def _at(self, state: VIs, u: Array) -> VIs:
        return self.go(state, self.flow(u))

    def _drive(self, state: VIs) -> Array:
        return sum(state.i, -state.v)

    def _may_cross(self, state: VIs) -> Array:
        """Whether a bound of the voltage reaches the threshold: no current adds more than
        ``tau_syn/tau_mem`` of itself, nor more than itself, at any time."""
        highest = jnp.maximum(state.v, 0)
        for i, tau in zip(state.i, self.tau_syn, strict=True):
            most = jnp.minimum(tau / self.constants.tau_mem, 1)
            highest = highest + jnp.maximum(i, 0) * most
        return highest >= self.constants.threshold

    def _turns(self, state: VIs, end: Array, wanted: Array) -> list[Array]:
        """Points among which are all turning points of the voltage, ascending."""
        factors = [i / tau for i, tau in zip(state.i, self.tau_syn, strict=True)]
        parted = roots_of_exponentials(factors, [1 / tau for tau in self.tau_syn], end, wanted)

        def drive(u: Array) -> tuple[Array, Array]:
            there = self._at(state, u)
            value = self._drive(there)
            fall = sum(i / tau for i, tau in zip(there.i, self.tau_syn, strict=True))
            return value, -fall - value / self.constants.tau_mem

        return roots_between_turns(drive, parted, end, wanted)

    def _horizon(self, state: VIs) -> Array:
        """A time after which the voltage stays nearer to its rest than the threshold is.

        Each potential is below ``2 slow/(e tau_mem) exp(-u/(2 slow))``, see `_crossing`.
        """
        slow = self.constants.tau_mem
        for tau in self.tau_syn:
            slow = jnp.maximum(slow, tau)
        envelope = jnp.abs(state.v)
        for i in state.i:
            envelope = envelope + jnp.abs(i) * slow / self.constants.tau_mem
        size = jnp.abs(self.constants.threshold)
        return 2 * slow * jnp.log(jnp.maximum(envelope / jnp.where(size > 0, size, 1), 1)) + slow
