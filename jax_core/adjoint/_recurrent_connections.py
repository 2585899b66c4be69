"""EventProp in a recurrent layer in which each connection has a delay of its own.

A spike of neuron n at time t arrives at neuron j at ``t + d_jn``. To its gradient that adds
``w_jn (lv_j - li_j)(t + d_jn)``, which the spike of j that follows the arrival tells. That spike is
later than t, so going through all spikes of a sample backwards, last to first, each needs only what
is known of later ones.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

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
    adjoint: Array
    """``lv`` just before the spikes that lie behind, and ``li`` at them, ``(batch, out, K, 2)``. In
    one array, as XLA would copy all of ``li`` in each step: it is known before ``lv``."""
    total: Array
    weight: Array
    """Gradients by neuron that sends, as ``delay``."""
    delay: Array
    tau: tuple[Array, Array]


class Spike(NamedTuple):
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
    given = recurrent_weight.T, delay.T, constants, min_slope, is_refractory
    total = ByConnection.of(spikes, moment, *given).total(gradient, go_back)
    return total._replace(weight=total.weight.T, delay=total.delay.T)


@dataclass(frozen=True, eq=False)
class ByConnection:
    """A layer and what it did, with the steps of the way back through its spikes.

    Here each neuron is heard by all.
    """

    spikes: Spikes
    fired: Array
    moment: Array
    order: Array
    """Places of all spikes, ``(batch, out * K)``, first to last; absent ones come first."""
    weight: Array
    """From neuron ``i`` to those that hear it at ``[i]``, as ``delay``."""
    delay: Array
    constants: Constants
    floor: Array
    is_refractory: bool

    @classmethod
    def of(
        cls,
        spikes: Spikes,
        moment: Array,
        weight: Array,
        delay: Array,
        constants: Constants,
        min_slope: Array | float,
        is_refractory: bool,
        **others: Array,
    ) -> Self:
        fired, (batch, out, room) = jnp.isfinite(spikes.time), spikes.time.shape
        order = jnp.where(fired, moment, -1).reshape(batch, out * room)
        order = jnp.argsort(order, axis=1, stable=True).astype(jnp.int32)
        floor = slope_floor(constants, min_slope)
        did = spikes, fired, moment, order
        return cls(*did, weight, delay, constants, floor, is_refractory, **others)

    def total(self, gradient: Array, go_back: GoBack) -> Total:
        """Gradients of weights and delays in the form in which these are here."""
        fired, c = self.fired, self.constants
        outside = jnp.where(fired, gradient, 0)
        none = jnp.zeros((*outside.shape, 2), outside.dtype)
        weight = jnp.zeros_like(self.weight)
        tau = jnp.zeros_like(c.tau_mem), jnp.zeros_like(c.tau_syn)
        state = _State(jnp.int32(0), none, outside, weight, weight, tau)
        if len(weight) > 0:
            count = jnp.max(jnp.sum(fired, axis=(1, 2), dtype=jnp.int32), initial=0)
            state = go_back(self.walk, count, self.order.shape[1], state)
        return Total(state.total, state.weight, state.delay, state.tau)

    @property
    def samples(self) -> Array:
        return jnp.arange(self.order.shape[0])

    def walk(self, state: _State) -> _State:
        """Go back to the spike before."""
        spike = self.spike(state.back)
        n, at = spike.neuron, (self.samples, spike.neuron, spike.number)
        c, follows = self.constants_of(n), self.follows(state, spike)
        v, i = step_back(follows.v, follows.i, follows.u, c.tau_mem, c.tau_syn)
        weight = self.weight[n]
        through = weight * (v - i)
        influence = jnp.where(spike.happens, jnp.sum(through, axis=1), 0)
        total = state.total[at] + influence
        own = jnp.stack(self.at_spike(state, spike, total), axis=-1)
        u, to_v, to_i = (x[..., None] for x in follows)
        tau = sensitivity(jnp.zeros_like(u), weight[..., None], u, to_v, to_i, c)
        return _State(
            back=state.back + 1,
            adjoint=state.adjoint.at[at].set(jnp.where(spike.happens[:, None], own, 0)),
            total=state.total.at[at].set(total),
            weight=state.weight.at[n].add(-c.tau_syn * i),
            delay=state.delay.at[n].add(through),
            tau=self.add_up(state.tau, tau, n),
        )

    def constants_of(self, n: Array) -> Constants:
        """Those of the neurons that hear neuron ``n``."""
        return self.constants

    def add_up(
        self, tau: tuple[Array, Array], found: tuple[Array, Array], n: Array
    ) -> tuple[Array, Array]:
        """Gradients of time constants with those that neurons found that hear ``n``."""
        return jax.tree.map(jnp.add, tau, found)

    def spike(self, back: Array) -> Spike:
        """The spike of each sample with so many later ones."""
        place = column(self.order, self.order.shape[1] - 1 - back)
        room = self.fired.shape[2]
        n, k = place // room, place % room
        at = self.samples, n, k
        happens = self.fired[at]
        time = jnp.where(happens, self.spikes.time[at], 0)
        return Spike(happens, n, k, self.moment[at], time)

    def follows(self, state: _State, spike: Spike) -> _Followed:
        """What follows a spike's arrivals, zeros where nothing does."""
        c, n = self.constants_of(spike.neuron), spike.neuron
        arrival = spike.time[:, None] + self.delay[n]
        count = self.earlier(spike, arrival)
        following = self.at(self.spikes.time, n, count, jnp.inf)
        follows = spike.happens[:, None] & jnp.isfinite(following)
        release = arrival
        if self.is_refractory:
            before = self.at(self.spikes.time, n, count - 1, 0) + c.refractory
            release = jnp.where(count > 0, jnp.maximum(before, arrival), arrival)
        after = self.at(state.adjoint, n, count, 0)
        v, i = (jnp.where(follows, after[..., k], 0) for k in (0, 1))
        u = jnp.maximum(jnp.where(follows, following - release, 0), 0)
        if not self.is_refractory:
            return _Followed(u, v, i)
        held = follows & (release > arrival)
        _, i_release = step_back(v, i, u, c.tau_mem, c.tau_syn)
        rest = jnp.where(held, release - arrival, 0)
        return _Followed(
            jnp.where(held, rest, u), jnp.where(held, 0, v), jnp.where(held, i_release, i)
        )

    def earlier(self, spike: Spike, arrival: Array) -> Array:
        """How many spikes of each neuron that hears a spike precede its arrival."""
        time = spike.time[:, None]
        earlier = self.spikes.time < arrival[..., None]
        # In its own moment a spike arrives after all others.
        same = self.moment <= spike.moment[:, None, None]
        earlier = jnp.where((arrival == time)[..., None], same, earlier)
        return jnp.sum(earlier, axis=2, dtype=jnp.int32)

    def at(self, x: Array, n: Array, count: Array, absent: float) -> Array:
        """Of each neuron that hears ``n`` what ``x``, ``(batch, out, K, ...)``, has for the spike
        that so many others precede."""
        more = (1,) * (x.ndim - 2)
        place = count.reshape(*count.shape, *more)
        found = jnp.take_along_axis(x, place, axis=2, mode="clip")[:, :, 0]
        there = (count >= 0) & (count < x.shape[2])
        return jnp.where(there.reshape(*count.shape, *more[1:]), found, absent)

    def at_spike(self, state: _State, spike: Spike, gradient: Array) -> tuple[Array, Array]:
        """``lv`` just before a spike, and ``li`` at it, given its total gradient."""
        n, k, room = spike.neuron, spike.number, self.fired.shape[2]
        at, following = (self.samples, n, k), (self.samples, n, jnp.minimum(k + 1, room - 1))
        c = Constants(*(one_of(constant, n) for constant in self.constants))
        follows = spike.happens & (k + 1 < room) & self.fired[following]
        release = spike.time + c.refractory
        u = jnp.maximum(jnp.where(follows, self.spikes.time[following] - release, 0), 0)
        after = state.adjoint[following]
        v, i = (jnp.where(follows, after[:, k], 0) for k in (0, 1))
        v, i = step_back(v, i, u, c.tau_mem, c.tau_syn)
        slopes = self.spikes.current[at] - c.threshold, self.spikes.release_current[at] - c.reset
        v = before_spike(v, gradient, *slopes, one_of(self.floor, n))
        return v, i * jnp.exp(-c.refractory / c.tau_syn)
