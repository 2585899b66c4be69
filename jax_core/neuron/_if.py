"""The integrate-and-fire neuron without leak."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ._constants import Form
from ._cuba_lif import VI
from ._resetting import Resetting
from ._rise import Rise, highest_of


class Gain(NamedTuple):
    """What happens in a time: ``V <- V + gain I``, ``I <- synapse I``."""

    synapse: Array
    gain: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["tau_syn", "v_threshold", "v_reset", "refractory"],
    meta_fields=["form"],
)
@dataclasses.dataclass(frozen=True)
class IF(Resetting[VI]):
    """An integrate-and-fire neuron without leak, with an exponential synapse.

    ``tau_syn dV/dt = I``, ``tau_syn dI/dt = -I``; an input adds its weight ``w`` to ``I``, and so
    in the end ``w`` to ``V``. When ``V`` reaches ``v_threshold`` from below, it is held at
    ``v_reset`` for ``refractory``, in which ``I`` goes on decaying. ``V(0) = v_reset``.

    **Arguments:** ``tau_syn``: seconds, > 0; ``v_threshold``, ``v_reset``: in the unit of weights,
    ``v_reset < v_threshold``; ``refractory``: seconds, >= 0, ``inf`` for one spike at most. Each is
    a number or ``(out,)``. ``form``: as of `lif`, where ``jit`` hides the refractory period.

    **References:** Mostafa 2017, doi:10.1109/TNNLS.2017.2726060, with ``tau_syn`` as unit of time.
    """

    tau_syn: Any = 1e-2
    v_threshold: Any = 1.0
    v_reset: Any = 0.0
    refractory: Any = 0.0
    form: Form | None = None

    @property
    def scale(self) -> Array:
        return (self.threshold - self.reset) / self.tau_syn

    def start(self) -> VI:
        return VI(self.reset, jnp.zeros_like(self.reset))

    def flow(self, u: Array) -> Gain:
        return Gain(jnp.exp(-u / self.tau_syn), -jnp.expm1(-u / self.tau_syn))

    def go(self, state: VI, flow: Gain) -> VI:
        return VI(state.v + flow.gain * state.i, flow.synapse * state.i)

    def receive(self, state: VI, drive: Array, port: Array) -> VI:
        return VI(state.v, state.i + drive)

    def slope(self, state: VI) -> Array:
        return state.i / self.tau_syn

    def find(self, state: VI, u_end: Array, flow: Gain) -> Rise:
        v_end = state.v + jnp.where(jnp.isfinite(u_end), flow.gain, 1) * state.i
        exists = (state.i > 0) & (v_end > self.threshold)
        return Rise(exists, jnp.zeros_like(v_end), jnp.broadcast_to(u_end, v_end.shape))

    def solve(self, state: VI, found: Rise) -> Array:
        part = (self.threshold - state.v) / jnp.where(found.exists, state.i, 1)
        u = -self.tau_syn * jnp.log1p(-jnp.where(found.exists, part, 0))
        # Within rounding of the ends it may lie beyond them.
        return jnp.where(found.exists, jnp.clip(u, found.low, found.high), 0)

    def highest(self, state: VI, u_end: Array) -> Array:
        return highest_of(self, state, [u_end])

    def at(self, state: VI, u: Array) -> VI:
        i = state.i * jnp.exp(-u / self.tau_syn)
        return VI(jnp.broadcast_to(self.threshold, i.shape), i)
