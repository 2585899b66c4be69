"""The leaky integrate-and-fire neuron with delta synapses."""

import dataclasses
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._constants import Form
from ._resetting import Leaking
from ._rise import highest_of


class V(NamedTuple):
    """The state of a neuron."""

    v: Array
    """The voltage, measured from the leak potential."""


class Lifted(NamedTuple):
    """A crossing."""

    exists: Array
    at_once: Array
    """Whether the voltage is over the threshold to begin with: an input has lifted it there."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["tau_mem", "v_threshold", "v_leak", "v_reset", "refractory"],
    meta_fields=["form"],
)
@dataclasses.dataclass(frozen=True)
class DeltaLIF(Leaking[V]):
    """A leaky integrate-and-fire neuron with delta synapses.

    ``tau_mem dV/dt = v_leak - V``; an input adds its weight to ``V``. Where ``V`` reaches
    ``v_threshold`` by that, after all inputs of that time, the neuron spikes at the time of the
    input: the spike's time has the derivative 1 with respect to the last of these inputs' times,
    and 0 with respect to weights and constants. Only a neuron with ``v_leak > v_threshold`` also
    spikes at other times, with derivatives as usual. Input within the refractory period has no
    effect. Constants as in `lif`; with ``tau_mem = inf`` there is no leak, ``V`` starts at
    ``v_leak``, and the derivative with respect to ``tau_mem`` is its limit, 0.
    """

    infinite: ClassVar[tuple[str, ...]] = ("refractory", "tau_mem")
    tau_mem: Any = 2e-2
    v_threshold: Any = 1.0
    v_leak: Any = 0.0
    v_reset: Any = 0.0
    refractory: Any = 0.0
    form: Form | None = None

    @property
    def spikes_at_arrival(self) -> bool:
        return True

    def start(self) -> V:
        return V(self.v_start)

    def flow(self, u: Array) -> Array:
        return jnp.exp(-u / self.tau_mem)

    def go(self, state: V, flow: Array) -> V:
        return V(flow * state.v)

    def receive(self, state: V, drive: Array, port: Array) -> V:
        return V(state.v + drive)

    def slope(self, state: V) -> Array:
        # An input lifts the voltage in no time.
        return jnp.where(state.v >= 0, jnp.inf, -state.v / self.tau_mem)

    def find(self, state: V, u_end: Array, flow: Array) -> Lifted:
        at_once = state.v >= self.threshold
        rest = jnp.where(jnp.isfinite(self.tau_mem), 0, state.v)
        v_end = jnp.where(jnp.isfinite(u_end), flow * state.v, rest)
        exists = jnp.where(at_once, u_end > 0, v_end > self.threshold)
        return Lifted(exists, at_once)

    def solve(self, state: V, found: Lifted) -> Array:
        rises = found.exists & ~found.at_once
        ratio = jnp.where(rises, state.v, 1) / jnp.where(rises, self.threshold, 1)
        return jnp.where(rises, self.tau_mem, 0) * jnp.log(ratio)

    def highest(self, state: V, u_end: Array) -> Array:
        return highest_of(self, state, [u_end])

    def at(self, state: V, u: Array) -> V:
        return V(jnp.broadcast_to(self.threshold, state.v.shape))
