"""The quadratic integrate-and-fire neuron, by its phase."""

import dataclasses
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .._validate import known, refuse
from ._protocol import TRIAL_END, Neuron


class Phase(NamedTuple):
    """The state of a neuron."""

    phi: Array
    """``V = 1/2 - cot(phi)``: 0 just after a spike, pi at the next one."""
    over: Array
    """1 after the end of a trial that pseudospikes follow, else 0."""


class Turn(NamedTuple):
    """What happens in a time: ``V - 1/2 = p / q`` becomes ``(c p + D s q) / (c q - s p)``."""

    c: Array
    s: Array
    angle: Array
    """By how much ``phi`` grows after the trial."""


class Divergence(NamedTuple):
    """When the voltage gets infinite, ``inf`` for never."""

    exists: Array
    time: Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["tau_mem", "current", "v_start"],
    meta_fields=["pseudospikes"],
)
@dataclasses.dataclass(frozen=True)
class QIF(Neuron[Phase]):
    """A quadratic integrate-and-fire neuron, whose spikes move continuously.

    ``tau_mem dV/dt = V (V - 1) + current``; an input of weight ``w`` makes ``V`` jump by ``w``.
    Without current 0 is the rest and 1 the threshold, above which ``V`` gets infinite by itself, in
    finite time: that is the spike, and ``V`` goes on from minus infinity. With
    ``current > 1/4`` the neuron spikes without input. An infinite voltage feels no input, so that
    spikes neither appear nor vanish but by coming from, or going, beyond ``t_max``.

    **Pseudospikes:** after ``t_max``, which must be finite, ``current`` is 5/4 in place of its
    value: without input, ``phi`` in ``V = 1/2 - cot(phi)`` then grows by 1 per ``tau_mem``, and
    there is a spike each ``pi tau_mem``. All goes on, input included, until each neuron has
    ``max_spikes`` spikes, those after ``t_max`` being pseudospikes. They are in the result, and
    have gradients, but count as silence; only spikes up to ``t_max`` can be too many. As layers
    with the same ``t_max`` receive them after the trial, too, all spike times of a network depend
    continuously on weights and inputs, with continuous gradients.

    **Arguments:** ``tau_mem``: seconds, > 0; ``current``; ``v_start``: the voltage at time 0. Each
    is a number or ``(out,)``.

    **References:** Klos & Memmesheimer 2025, doi:10.1103/PhysRevLett.134.027301, with
    infinitesimally short currents, and pseudospikes by constant input. That they act on other
    neurons' pseudospikes is ours.
    """

    without_peaks: ClassVar[str] = (
        "a voltage above the threshold of QIF neurons gets infinite by itself, so that silent ones "
        "have no peak to raise; pseudospikes=True gives them times with gradients"
    )
    tau_mem: Any = 2e-2
    current: Any = 0.0
    v_start: Any = 0.0
    pseudospikes: bool = False

    @property
    def goes_on(self) -> bool:
        return self.pseudospikes

    @property
    def scale(self) -> Array:
        return jnp.asarray(1 / self.tau_mem)

    @property
    def drive(self) -> Array:
        """``D``, where ``tau_mem dx/dt = x^2 + D`` with ``x = V - 1/2``."""
        return jnp.asarray(self.current - 0.25)

    def check(self) -> None:
        for name in ("tau_mem", "current", "v_start"):
            value = getattr(self, name)
            if known(value):
                array = np.asarray(value)
                refuse(~np.isfinite(array), array, name, "must be finite", "choose a finite value")
                if name == "tau_mem":
                    refuse(~(array > 0), array, name, "must be > 0", "choose a positive value")

    def start(self) -> Phase:
        phi = jnp.arctan2(1.0, 0.5 - jnp.asarray(self.v_start))
        return Phase(phi, jnp.zeros_like(phi))

    def flow(self, u: Array) -> Turn:
        angle = u / self.tau_mem
        z = self.drive * angle**2
        turns = z > 1
        root = jnp.sqrt(jnp.where(turns, z, 1))
        c = jnp.where(turns, jnp.cos(root), 1)
        s = angle * jnp.where(turns, jnp.sin(root) / root, _tangent_ratio(jnp.where(turns, 0, z)))
        return Turn(c, s, angle)

    def go(self, state: Phase, flow: Turn) -> Phase:
        q, p = jnp.sin(state.phi), -jnp.cos(state.phi)
        within = _angle(flow.c * q - flow.s * p, flow.c * p + self.drive * flow.s * q)
        return state._replace(phi=jnp.where(state.over > 0, state.phi + flow.angle, within))

    def receive(self, state: Phase, drive: Array, port: Array) -> Phase:
        q, p = jnp.sin(state.phi), -jnp.cos(state.phi)
        over = jnp.where(port == TRIAL_END, 1, state.over)
        return Phase(_angle(q, p + drive * q), over)

    def excess(self, state: Phase) -> Array:
        return state.phi - jnp.pi

    def voltage(self, state: Phase) -> Array:
        return 0.5 - jnp.cos(state.phi) / jnp.sin(state.phi)

    def slope(self, state: Phase) -> Array:
        return jnp.broadcast_to(self.scale, state.phi.shape)

    def find(self, state: Phase, u_end: Array, flow: Turn) -> Divergence:
        q, p, drive = jnp.sin(state.phi), -jnp.cos(state.phi), self.drive
        root = jnp.sqrt(jnp.where(drive == 0, 1, jnp.abs(drive)))
        rises = p > root * q
        # An infinite voltage is the limit of both forms, with the same time of 0.
        ratio = jnp.where(rises, root * q / jnp.where(rises, p, 1), 0)
        needs = [
            jnp.arctan2(root * q, p) / root,
            jnp.where(rises, jnp.arctanh(ratio) / root, jnp.inf),
            jnp.where(p > 0, q / jnp.where(p > 0, p, 1), jnp.inf),
        ]
        within = jnp.select([drive > 0, drive < 0], needs[:2], needs[2])
        time = jnp.where(state.over > 0, jnp.pi - state.phi, within) * self.tau_mem
        time = jnp.maximum(time, 0)
        return Divergence(time < u_end, time)

    def solve(self, state: Phase, found: Divergence) -> Array:
        return jnp.where(found.exists, found.time, 0)

    def at(self, state: Phase, u: Array) -> Phase:
        return state._replace(phi=jnp.full_like(state.phi, jnp.pi))

    def jump(self, state: Phase) -> Phase:
        return state._replace(phi=jnp.zeros_like(state.phi))


def _angle(q: Array, p: Array) -> Array:
    """The phase with ``V - 1/2 = p / q``; past pi where rounding has left a spike behind."""
    phi = jnp.arctan2(q, -p)
    return jnp.where(phi < -jnp.pi / 2, phi + 2 * jnp.pi, phi)


def _tangent_ratio(z: Array) -> Array:
    """``tan(sqrt(z)) / sqrt(z)`` for ``z <= 1``, which is ``tanh(sqrt(-z)) / sqrt(-z)`` below 0."""
    is_small = jnp.abs(z) < 1e-3
    series = 1 + z * (1 / 3 + z * (2 / 15 + z * (17 / 315 + z * 62 / 2835)))
    root = jnp.sqrt(jnp.where(is_small, 1, jnp.abs(z)))
    # A tanh of 1 would leave nothing of the direction from the unstable point.
    eps = float(jnp.finfo(z.dtype).eps)
    bent = jnp.minimum(jnp.tanh(root), 1 - eps) / root
    return jnp.where(is_small, series, jnp.where(z > 0, jnp.tan(root) / root, bent))
