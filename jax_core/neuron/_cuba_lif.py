"""The current-based leaky integrate-and-fire neuron."""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._constants import Constants, Form
from ._crossing import Bracket, advance, crosses_double, find_bracket, solve_crossing
from ._kernel import Propagator, propagator
from ._leaky import Leaky


class VI(NamedTuple):
    """The state of a neuron."""

    v: Array
    """The voltage, measured from the leak potential."""
    i: Array
    """The synaptic current."""


@partial(jax.tree_util.register_dataclass, data_fields=["constants"], meta_fields=["form"])
@dataclasses.dataclass(frozen=True)
class CubaLIF(Leaky[VI]):
    """``tau_mem dV/dt = v_leak - V + I``, ``tau_syn dI/dt = -I``; see `Constants`."""

    constants: Constants
    form: Form

    @property
    def is_shared(self) -> bool:
        return self.constants.tau_mem.ndim == self.constants.tau_syn.ndim == 0

    def start(self) -> VI:
        return VI(self.constants.start, jnp.zeros_like(self.constants.start))

    def flow(self, u: Array) -> Propagator:
        return propagator(u, self.constants.tau_mem, self.constants.tau_syn)

    def go(self, state: VI, flow: Propagator) -> VI:
        return VI(*advance(state.v, state.i, flow))

    def receive(self, state: VI, drive: Array, port: Array) -> VI:
        return VI(state.v, state.i + drive)

    def slope(self, state: VI) -> Array:
        return (state.i - state.v) / self.constants.tau_mem

    def find(self, state: VI, u_end: Array, flow: Propagator) -> Bracket:
        c = self.constants
        at_end = self._at_end(state, u_end, flow)
        return find_bracket(*state, u_end, at_end, c.threshold, c.tau_mem, c.tau_syn)

    def crosses(self, state: VI, u_end: Array, flow: Propagator) -> Array:
        if self.form.ratio != 2:
            return self.find(state, u_end, flow).exists
        decay = jnp.where(jnp.isfinite(u_end), flow.membrane, 0)
        at_end = self._at_end(state, u_end, flow)
        return crosses_double(*state, decay, at_end, self.constants.threshold)

    def solve(self, state: VI, found: Bracket) -> Array:
        c = self.constants
        is_double = self.form.ratio == 2
        return solve_crossing(*state, found, c.threshold, c.tau_mem, c.tau_syn, is_double)

    def at(self, state: VI, u: Array) -> VI:
        i = state.i * jnp.exp(-u / self.constants.tau_syn)
        return VI(jnp.broadcast_to(self.constants.threshold, i.shape), i)

    def _at_end(self, state: VI, u_end: Array, flow: Propagator) -> Array:
        v_end, _ = advance(*state, flow)
        return jnp.where(jnp.isfinite(u_end), v_end, 0)


def current(state: VI) -> Array:
    """What EventProp must know of a spike."""
    return state.i
