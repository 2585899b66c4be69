"""The leaky integrate-and-fire neuron with an adaptation current.

With the voltage measured from the leak potential,

    tau_mem dV/dt = -V + I - w        tau_w dw/dt = a V - w        tau_syn dI/dt = -I,

a linear system of two variables under an exponential drive, with the rate ``r = -1/tau_syn``. At
turning points ``D = I - V - w`` is 0. ``q = dD/dt - r D`` has the rates of ``V`` and ``w`` alone,
so that its roots are known in closed form: one at most where the rates are real, equally spaced
ones where they are complex. They part the roots of ``D`` (Rolle), as ``d/du (exp(-r u) D)`` is
``exp(-r u) q``.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .._validate import known, refuse
from ._constants import Form
from ._modes import Modes, modes
from ._resetting import Leaking
from ._rise import Pieces, Rise, crossing_of, look_at_piece, no_rise
from ._root import root_between


class VWI(NamedTuple):
    """The state of a neuron."""

    v: Array
    """The voltage, measured from the leak potential."""
    w: Array
    """The adaptation current."""
    i: Array
    """The synaptic current."""


class _Search(NamedTuple):
    """How far the search for a crossing is."""

    pieces: Pieces
    falls: Array
    """Whether the voltage falls at the begin of the next piece."""
    part: Array
    """The next point that parts turning points."""
    running: Array


class _Summit(NamedTuple):
    """How far the search for the highest voltage is."""

    begin: Array
    """Of what is still to be searched."""
    falls: Array
    """Whether the voltage falls there."""
    part: Array
    """The next point that parts turning points."""
    at: Array
    """When the voltage was highest so far."""
    most: Array
    running: Array


class _Piece(NamedTuple):
    """A piece that is searched."""

    turn: Array
    """The turning point in it, or its end."""
    at_turn: VWI
    stop: Array
    """Its end."""
    at_stop: VWI
    falls: Array
    """Whether the voltage falls there."""

    @property
    def points(self) -> tuple[tuple[Array, VWI], ...]:
        """Where the voltage may be highest, with the states there."""
        return (self.turn, self.at_turn), (self.stop, self.at_stop)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "tau_mem",
        "tau_syn",
        "tau_w",
        "a",
        "b",
        "v_threshold",
        "v_leak",
        "v_reset",
        "refractory",
    ],
    meta_fields=["form"],
)
@dataclasses.dataclass(frozen=True)
class AdaptiveLIF(Leaking[VWI]):
    """A leaky integrate-and-fire neuron with an adaptation current ``w``.

    ``tau_mem dV/dt = v_leak - V + I - w``, ``tau_w dw/dt = a (V - v_leak) - w``,
    ``tau_syn dI/dt = -I``; a spike adds ``b`` to ``w``. While refractory, ``V`` is held at
    ``v_reset``, and ``w`` follows it. ``w(0) = 0``; all else as in `lif`.

    **Arguments:** ``tau_mem``, ``tau_syn``, ``tau_w``: seconds, > 0; ``a``: > -1, without a unit,
    as ``w`` is a voltage: below, there would be no stable rest (the system's determinant is
    ``(1 + a) / (tau_mem tau_w)``), and above ``(tau_mem - tau_w)^2 / (4 tau_mem tau_w)`` the
    neuron oscillates on its way to rest; ``b``: in the unit of voltages; if negative, spikes drive
    further ones, which may never end (that is an overflow). All others as in `lif`.

    **References:** Brette & Gerstner 2005, doi:10.1152/jn.00686.2005, without the exponential.
    """

    tau_mem: Any = 2e-2
    tau_syn: Any = 1e-2
    tau_w: Any = 1e-1
    a: Any = 0.0
    b: Any = 0.1
    v_threshold: Any = 1.0
    v_leak: Any = 0.0
    v_reset: Any = 0.0
    refractory: Any = 0.0
    form: Form | None = None

    def check(self) -> None:
        super().check()
        if known(self.a):
            given = np.asarray(self.a)
            remedy = "choose a larger one: below, V and w drive each other away from rest"
            refuse(~(given > -1), given, "a", "must be > -1", remedy)

    def start(self) -> VWI:
        zero = jnp.zeros_like(self.v_start)
        return VWI(self.v_start, zero, zero)

    @property
    def center(self) -> Array:
        """The mean of the rates of ``V`` and ``w``."""
        return -(1 / self.tau_mem + 1 / self.tau_w) / 2

    @property
    def half(self) -> Array:
        """Half the difference of the rates without coupling."""
        return (1 / self.tau_w - 1 / self.tau_mem) / 2

    @property
    def gap(self) -> Array:
        """The square of half the difference of the rates."""
        return self.half * self.half - self.a / (self.tau_mem * self.tau_w)

    def flow(self, u: Array) -> Modes:
        return modes(u, self.center, self.gap, -1 / self.tau_syn)

    def go(self, state: VWI, flow: Modes) -> VWI:
        even, odd, driven, drive = flow
        i = state.i / self.tau_mem
        back = self.a / self.tau_w
        v = (even + self.half * odd) * state.v - odd / self.tau_mem * state.w
        v = v + (odd + (1 / self.tau_w - 1 / self.tau_syn) * driven) * i
        w = back * odd * state.v + (even - self.half * odd) * state.w + back * driven * i
        return VWI(v, w, drive * state.i)

    def receive(self, state: VWI, drive: Array, port: Array) -> VWI:
        return state._replace(i=state.i + drive)

    def jump(self, state: VWI) -> VWI:
        return self.hold(state)._replace(w=state.w + self.b)

    def held(self, before: VWI, moved: VWI, u: Array) -> VWI:
        there = self.a * self.reset
        w = there + (before.w - there) * jnp.exp(-u / self.tau_w)
        return self.hold(moved._replace(w=w))

    def slope(self, state: VWI) -> Array:
        return self._rise(state) / self.tau_mem

    def find(self, state: VWI, u_end: Array, flow: Modes) -> Rise:
        end = jnp.broadcast_to(jnp.minimum(u_end, self._horizon(state)), state.v.shape)
        first, period = self._parts(state)

        def look(search: _Search) -> _Search:
            pieces, falls, part, running = search
            piece = self._piece(
                state, pieces.begin, falls, jnp.clip(part, pieces.begin, end), running
            )
            for point, there in piece.points:
                pieces = look_at_piece(pieces, point, there.v, end, self.threshold)
            following = part + period
            # Oscillations that the dtype does not resolve have no next one.
            running &= ~pieces.rise.exists & (piece.stop < end) & (following > part)
            return _Search(pieces, piece.falls, following, running)

        start = _Search(no_rise(state.v, end), self._falls(state), first, jnp.ones(end.shape, bool))
        return lax.while_loop(lambda search: jnp.any(search.running), look, start).pieces.rise

    def highest(self, state: VWI, u_end: Array) -> Array:
        end = jnp.broadcast_to(u_end, state.v.shape)
        first, period = self._parts(state)

        def look(search: _Summit) -> _Summit:
            begin, falls, part, at, most, running = search
            piece = self._piece(state, begin, falls, jnp.clip(part, begin, end), running)
            for point, there in piece.points:
                at = jnp.where(there.v > most, point, at)
                most = jnp.maximum(there.v, most)
            following = part + period
            running &= (piece.stop < end) & (following > part) & (self._most(piece.at_stop) > most)
            return _Summit(piece.stop, piece.falls, following, at, most, running)

        zero = jnp.zeros_like(end)
        start = _Summit(zero, self._falls(state), first, zero, state.v, jnp.ones(end.shape, bool))
        return lax.while_loop(lambda search: jnp.any(search.running), look, start).at

    def solve(self, state: VWI, found: Rise) -> Array:
        return crossing_of(self, state, found)

    def at(self, state: VWI, u: Array) -> VWI:
        moved = self._at(state, u)
        return moved._replace(v=jnp.broadcast_to(self.threshold, moved.v.shape))

    def _at(self, state: VWI, u: Array) -> VWI:
        return self.go(state, self.flow(u))

    def _piece(self, state: VWI, begin: Array, falls: Array, stop: Array, wanted: Array) -> _Piece:
        """Look at what lies between two points that have one turning point at most between them."""
        there = self._at(state, stop)
        falls_there = self._falls(there)
        turns = wanted & (falls != falls_there)
        turn = root_between(partial(self._rise_at, state), begin, stop, turns, rises=falls)
        return _Piece(turn, self._at(state, turn), stop, there, falls_there)

    def _falls(self, state: VWI) -> Array:
        return self._rise(state) < 0

    def _rise(self, state: VWI) -> Array:
        """``tau_mem dV/dt``, the ``D`` above."""
        return state.i - state.v - state.w

    def _rise_at(self, state: VWI, u: Array) -> tuple[Array, Array]:
        """``D`` and its slope after a time ``u``."""
        there = self._at(state, u)
        return self._rise(there), self._slopes(there)[1]

    def _slopes(self, state: VWI) -> tuple[Array, Array, Array]:
        """``D`` and its first two derivatives."""
        rise = self._rise(state)
        of_i = -state.i / self.tau_syn
        of_w = (self.a * state.v - state.w) / self.tau_w
        once = of_i - rise / self.tau_mem - of_w
        of_w = (self.a * rise / self.tau_mem - of_w) / self.tau_w
        return rise, once, -of_i / self.tau_syn - once / self.tau_mem - of_w

    def _parts(self, state: VWI) -> tuple[Array, Array]:
        """The first point >= 0 that parts turning points, ``inf`` for none, and how much later the
        others follow."""
        rise, once, twice = self._slopes(state)
        q = once + rise / self.tau_syn
        slope = twice + once / self.tau_syn - self.center * q
        root = jnp.sqrt(jnp.abs(self.gap))
        # q cosh(root u) + slope sinh(root u) / root = 0, or the same with cos and sin.
        safe = jnp.where(root == 0, 1, root)
        total = q * root + slope
        relative = -2 * q / jnp.where(total == 0, 1, total)
        later = jnp.where(
            root == 0, relative / 2, jnp.log1p(jnp.maximum(relative * root, 0)) / (2 * safe)
        )
        real = jnp.where((relative > 0) & (total != 0), later, jnp.inf)
        half_turn = jnp.pi / safe
        angle = jnp.arctan2(-q * root, slope)
        complex_ = jnp.mod(angle, jnp.pi) / safe
        is_real = self.gap >= 0
        period = jnp.where(is_real, jnp.inf, half_turn)
        return jnp.where(is_real, real, complex_), jnp.broadcast_to(period, q.shape)

    def _horizon(self, state: VWI) -> Array:
        """A time after which the voltage stays nearer to its rest than the threshold is: with the
        slowest rate ``r``, no term of `_most` is larger than it says times ``exp(-r u / 2)``."""
        most = self._most(state)
        # A threshold at rest is crossed, if at all, before the voltage has all but got there.
        size = jnp.maximum(jnp.abs(self.threshold), 1e-20 * most)
        rate = self._slowest
        return 2 * jnp.log(jnp.maximum(most / jnp.where(size > 0, size, 1), 1)) / rate + 1 / rate

    @property
    def _slowest(self) -> Array:
        root = jnp.sqrt(jnp.maximum(self.gap, 0))
        return jnp.minimum(-self.center - root, 1 / self.tau_syn)

    def _most(self, state: VWI) -> Array:
        """What no distance of the voltage from its rest exceeds.

        With the slowest rate ``r`` no ``E`` is larger than ``exp(-r u)``, no ``F`` than ``u`` times
        that, and no ``P`` than ``u^2 / 2`` times that; and ``r u exp(-r u) < exp(-r u / 2)``,
        ``r^2 u^2 / 2 exp(-r u) < 1.1 exp(-r u / 2)``.
        """
        rate = self._slowest
        v, w, i = (jnp.abs(x) for x in state)
        i = i / self.tau_mem / rate
        most = (1 + jnp.abs(self.half) / rate) * v + w / (self.tau_mem * rate) + i
        return most + 1.1 * jnp.abs(1 / self.tau_w - 1 / self.tau_syn) / rate * i
