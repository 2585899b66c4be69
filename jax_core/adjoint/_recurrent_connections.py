"""EventProp in a recurrent layer in which each connection has a delay of its own.

A spike of neuron n at time t arrives at neuron j at ``t + d_jn``. To its gradient that adds
``w_jn (lv_j - li_j)(t + d_jn)``, which the spike of j that follows the arrival tells. That spike is
later than t, so going through all spikes of a sample backwards, last to first, each needs only what
is known of later ones.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..neuron._constants import Constants
from ..simulate._events import Spikes, column
from ._eventprop import before_spike, sensitivity, slope_floor, step_back
from ._recurrent import GoBack, one_of


class Total(NamedTuple):
    """What spikes do to the loss, by themselves and through those that they influence."""

    spikes: Array
    """Total gradients of all spikes, ``(batch, out, K)``."""
    weight: Array
    """Gradients of recurrent weights, ``(out, out)``, and below of their delays."""
    delay: Array
    tau: tuple[Array, Array]
    """Those of ``(tau_mem, tau_syn)`` through the arrivals of the spikes."""


class _State(NamedTuple):
    back: Array
    """How many spikes lie behind."""
    v: Array
    """``lv`` just before the spikes that lie behind, ``(batch, out, K)``."""
    i: Array
    """``li`` at them."""
    total: Array
    weight: Array
    """Gradients by neuron that sends, as ``delay``."""
    delay: Array
    tau: tuple[Array, Array]


class _Spike(NamedTuple):
    """One spike of each sample, ``(batch,)``."""

    happens: Array
    neuron: Array
    number: Array
    """How many spikes of the neuron precede it."""
    moment: Array
    time: Array


class _Followed(NamedTuple):
    """What follows something that each neuron hears, ``(batch, out)``."""

    u: Array
    """Time until its next spike, or until its release if it is refractory."""
    v: Array
    """``lv`` at that spike; 0 at a release, as the voltage does not listen before."""
    i: Array


def total_gradients_by_connection(
    spikes: Spikes,
    moment: Array,
    recurrent_weight: Array,
    delay: Array,
    constants: Constants,
    gradient: Array,
    min_slope: Array | float,
    is_refractory: bool,
    go_back: GoBack,
) -> Total:
    """As `total_gradients` and `time_constant_gradients`.

    **Arguments:** ``moment``: when spikes happened, as `Order.emitted`; ``delay``: ``(out, out)``.
    """
    batch, out, room = spikes.time.shape
    fired = jnp.isfinite(spikes.time)
    outside = jnp.where(fired, gradient, 0)
    weight, delay = recurrent_weight.T, delay.T
    tau = jnp.zeros_like(constants.tau_mem), jnp.zeros_like(constants.tau_syn)
    none = jnp.zeros_like(outside)
    start = _State(
        jnp.int32(0), none, none, outside, jnp.zeros_like(weight), jnp.zeros_like(delay), tau
    )
    if out > 0:
        order = jnp.where(fired, moment, -1).reshape(batch, out * room)
        order = jnp.argsort(order, axis=1, stable=True).astype(jnp.int32)
        floor = slope_floor(constants, min_slope)
        layer = _Layer(spikes, fired, moment, order, weight, delay, constants, floor, is_refractory)
        count = jnp.max(jnp.sum(fired, axis=(1, 2), dtype=jnp.int32), initial=0)
        start = go_back(layer.walk, count, out * room, start)
    return Total(start.total, start.weight.T, start.delay.T, start.tau)


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer and what it did, with the steps of the way back through its spikes."""

    spikes: Spikes
    fired: Array
    moment: Array
    order: Array
    """Places of all spikes, ``(batch, out * K)``, first to last; absent ones come first."""
    weight: Array
    """From neuron ``i`` to ``j`` at ``[i, j]``, as ``delay``."""
    delay: Array
    constants: Constants
    floor: Array
    is_refractory: bool

    @property
    def samples(self) -> Array:
        return jnp.arange(self.order.shape[0])

    def walk(self, state: _State) -> _State:
        """Go back to the spike before."""
        spike, c = self.spike(state.back), self.constants
        n, at = spike.neuron, (self.samples, spike.neuron, spike.number)
        follows = self.follows(state, spike)
        v, i = step_back(follows.v, follows.i, follows.u, c.tau_mem, c.tau_syn)
        weight = self.weight[n]
        through = weight * (v - i)
        influence = jnp.where(spike.happens, jnp.sum(through, axis=1), 0)
        total = state.total.at[at].add(influence)
        v_own, i_own = self.at_spike(state, spike, total[at])
        u, to_v, to_i = (x[..., None] for x in follows)
        tau = sensitivity(jnp.zeros_like(u), weight[..., None], u, to_v, to_i, c)
        return _State(
            back=state.back + 1,
            v=state.v.at[at].set(jnp.where(spike.happens, v_own, state.v[at])),
            i=state.i.at[at].set(jnp.where(spike.happens, i_own, state.i[at])),
            total=total,
            weight=state.weight.at[n].add(-c.tau_syn * i),
            delay=state.delay.at[n].add(through),
            tau=jax.tree.map(jnp.add, state.tau, tau),
        )

    def spike(self, back: Array) -> _Spike:
        """The spike of each sample with so many later ones."""
        place = column(self.order, self.order.shape[1] - 1 - back)
        room = self.fired.shape[2]
        n, k = place // room, place % room
        at = self.samples, n, k
        happens = self.fired[at]
        time = jnp.where(happens, self.spikes.time[at], 0)
        return _Spike(happens, n, k, self.moment[at], time)

    def follows(self, state: _State, spike: _Spike) -> _Followed:
        """What follows a spike's arrivals, zeros where nothing does."""
        c, time = self.constants, spike.time[:, None]
        arrival = time + self.delay[spike.neuron]
        # In its own moment a spike arrives after all others.
        earlier = self.spikes.time < arrival[..., None]
        same = self.moment <= spike.moment[:, None, None]
        earlier = jnp.where((arrival == time)[..., None], same, earlier)
        count = jnp.sum(earlier, axis=2, dtype=jnp.int32)
        following = self.at(self.spikes.time, count, jnp.inf)
        follows = spike.happens[:, None] & jnp.isfinite(following)
        release = arrival
        if self.is_refractory:
            before = self.at(self.spikes.time, count - 1, 0) + c.refractory
            release = jnp.where(count > 0, jnp.maximum(before, arrival), arrival)
        v, i = (jnp.where(follows, self.at(x, count, 0), 0) for x in (state.v, state.i))
        u = jnp.maximum(jnp.where(follows, following - release, 0), 0)
        if not self.is_refractory:
            return _Followed(u, v, i)
        held = follows & (release > arrival)
        _, i_release = step_back(v, i, u, c.tau_mem, c.tau_syn)
        rest = jnp.where(held, release - arrival, 0)
        return _Followed(
            jnp.where(held, rest, u), jnp.where(held, 0, v), jnp.where(held, i_release, i)
        )

    def at(self, x: Array, count: Array, absent: float) -> Array:
        """Of each neuron the value at the spike that so many others precede."""
        found = jnp.take_along_axis(x, count[..., None], axis=2, mode="clip")[..., 0]
        return jnp.where((count >= 0) & (count < x.shape[2]), found, absent)

    def at_spike(self, state: _State, spike: _Spike, gradient: Array) -> tuple[Array, Array]:
        """``lv`` just before a spike, and ``li`` at it, given its total gradient."""
        n, k, room = spike.neuron, spike.number, self.fired.shape[2]
        at, following = (self.samples, n, k), (self.samples, n, jnp.minimum(k + 1, room - 1))
        c = Constants(*(one_of(constant, n) for constant in self.constants))
        follows = spike.happens & (k + 1 < room) & self.fired[following]
        release = spike.time + c.refractory
        u = jnp.maximum(jnp.where(follows, self.spikes.time[following] - release, 0), 0)
        v, i = (jnp.where(follows, x[following], 0) for x in (state.v, state.i))
        v, i = step_back(v, i, u, c.tau_mem, c.tau_syn)
        slopes = self.spikes.current[at] - c.threshold, self.spikes.release_current[at] - c.reset
        v = before_spike(v, gradient, *slopes, one_of(self.floor, n))
        return v, i * jnp.exp(-c.refractory / c.tau_syn)
