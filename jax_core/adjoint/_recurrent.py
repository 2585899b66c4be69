"""EventProp in a recurrent layer: how spikes depend on each other, and recurrent weights.

A spike of neuron n at time t arrives at all neurons j then. To the gradient with respect to t that
the loss has, the arrivals add ``sum_j w_jn (lv_j - li_j)(t)``. With these total gradients of all
spikes every neuron is one of a feed-forward layer again, with the population's spikes among its
input. They are found by going through all spikes of a sample backwards, last to first.

Wunderlich & Pehle 2021, doi:10.1038/s41598-021-91786-z; docs/gradients.md has the derivation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..simulate._events import Spikes, column
from ..simulate._recurrent_state import NEVER, Order
from ._eventprop import (
    adjoint_at_spikes,
    before_spike,
    count_before,
    find_segments,
    sensitivity,
    slope_floor,
    step_back,
)

# Arrays (samples, out, own spikes) have about this size at most.
_GROUP_SIZE = 1 << 22


class _Events(NamedTuple):
    """All spikes of a sample and their arrivals, first to last; absent ones come first.

    Shape ``(batch, P)``, ``P = out * K`` if spikes arrive in their moment, twice that otherwise.
    """

    place: Array
    """``n * K + k`` for spike ``k`` of neuron ``n``."""
    moment: Array
    """-1 where there is none."""
    time: Array
    is_spike: Array
    is_arrival: Array
    current: Array
    release_current: Array


class _State(NamedTuple):
    back: Array
    """How many events lie behind."""
    clock: Array
    moment: Array
    v: Array
    """``lv`` at the clock or, if that is later, at the last release, ``(batch, out)``."""
    i: Array
    """``li`` at that time."""
    release: Array
    """When the refractory period of the spike before the clock ends, ``-inf`` without one."""
    v_heard: Array
    """``lv`` through which spikes of the present moment act: that after the moment."""
    total: Array
    weight: Array


def _merge(spikes: Spikes, order: Order, delay: Array | None) -> _Events:
    """Sort what the population does by the order in which it happened."""
    batch, out, room = spikes.time.shape
    flat = (batch, out * room)
    place = lax.broadcasted_iota(jnp.int32, flat, 1)
    fired = jnp.isfinite(spikes.time)
    moment = jnp.where(fired, order.emitted, -1)
    yes = jnp.ones(flat, bool)
    shown = [x.reshape(flat) for x in (spikes.current, spikes.release_current)]
    events = _Events(place, moment.reshape(flat), spikes.time.reshape(flat), yes, yes, *shown)
    if delay is not None:
        arrives = fired & (order.heard != NEVER)
        arrivals = events._replace(
            moment=jnp.where(arrives, order.heard, -1).reshape(flat),
            time=arrival_times(spikes, delay).reshape(flat),
            is_spike=~yes,
        )
        events = events._replace(is_arrival=~yes)
        events = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), events, arrivals)
    rank = jnp.argsort(events.moment, axis=1, stable=True)
    return jax.tree.map(lambda x: jnp.take_along_axis(x, rank, axis=1), events)


def arrival_times(spikes: Spikes, delay: Array | None) -> Array:
    """When spikes arrive at the layer's neurons, ``(batch, out, K)``."""
    return spikes.time if delay is None else spikes.time + delay[..., None]


class _Back(Protocol):
    """A state on the way back."""

    @property
    def back(self) -> Array: ...


S = TypeVar("S", bound=_Back)


class GoBack(Protocol):
    """``(walk, count, width, start)``: ``walk``, ``count`` times and at most ``width``."""

    def __call__(self, walk: Callable[[S], S], count: Array, width: int, start: S) -> S: ...


def go_back(walk: Callable[[S], S], count: Array, width: int, start: S) -> S:
    """Through all events that are there."""
    return lax.while_loop(lambda state: state.back < count, walk, start)


def go_back_to_start(walk: Callable[[S], S], count: Array, width: int, start: S) -> S:
    """The same in ``width`` steps, which JAX can transpose."""

    def step(state: S, _: None) -> tuple[S, None]:
        return lax.cond(state.back < count, walk, lambda state: state, state), None

    return lax.scan(step, start, length=width)[0]


def total_gradients(
    spikes: Spikes,
    order: Order,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
    gradient: Array,
    min_slope: Array | float,
    is_refractory: bool,
    go_back: GoBack,
) -> tuple[Array, Array, Array | None]:
    """What spikes do to the loss, by themselves and through the spikes that they influence.

    **Arguments:** ``delay``: after which spikes arrive, scalar or ``(out,)``; ``gradient``:
    dL/d(spike times) as it comes from outside, ``(batch, out, K)``; ``go_back``: one of the
    functions above; the others as in `of_events`.

    **Returns:** total dL/d(spike times), and the gradients of ``recurrent_weight`` and ``delay``.
    """
    batch, out, room = spikes.time.shape
    if out == 0:
        none = None if delay is None else jnp.zeros_like(delay)
        return gradient, jnp.zeros_like(recurrent_weight), none
    events = _merge(spikes, order, delay)
    count = jnp.max(jnp.sum(events.moment >= 0, axis=1, dtype=jnp.int32), initial=0)
    outside = jnp.where(jnp.isfinite(spikes.time), gradient, 0).reshape(batch, out * room)
    floor = slope_floor(constants, min_slope)
    layer = _Layer(spikes, events, recurrent_weight.T, constants, floor, is_refractory)
    final = go_back(layer.walk, count, events.moment.shape[1], layer.end(outside))
    total = final.total.reshape(spikes.time.shape)
    of_delay = None
    if delay is not None:
        influence = total - outside.reshape(spikes.time.shape)
        of_delay = jnp.sum(influence, axis=(0, 2) if delay.ndim else None)
    return total, final.weight.T, of_delay


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer and what it did, with the steps of the way back through its spikes."""

    spikes: Spikes
    events: _Events
    columns: Array
    """What a spike of each neuron adds to the currents, ``(out, out)``."""
    constants: Constants
    floor: Array
    is_refractory: bool

    @property
    def samples(self) -> Array:
        return jnp.arange(self.spikes.time.shape[0])

    def end(self, outside: Array) -> _State:
        """The state after all that happens, with what comes from ``outside`` as gradients."""
        batch, out, _ = self.spikes.time.shape
        present = self.events.moment >= 0
        release = self.spikes.time + self.constants.refractory[..., None]
        release = jnp.where(jnp.isfinite(self.spikes.time), release, -jnp.inf)
        zero = jnp.zeros((batch, out), outside.dtype)
        return _State(
            back=jnp.int32(0),
            clock=jnp.max(jnp.where(present, self.events.time, 0), axis=1, initial=0),
            moment=jnp.full(batch, -1, jnp.int32),
            v=zero,
            i=zero,
            release=jnp.max(release, axis=2, initial=-jnp.inf),
            v_heard=zero,
            total=outside,
            weight=jnp.zeros_like(self.columns),
        )

    def walk(self, state: _State) -> _State:
        """Go back to the spike or arrival before."""
        last = self.events.moment.shape[1] - 1
        event = jax.tree.map(lambda x: column(x, last - state.back), self.events)
        happens = event.moment >= 0
        is_spike, is_arrival = happens & event.is_spike, happens & event.is_arrival
        n, slot = event.place // self.spikes.time.shape[2], event.place
        c, samples = self.constants, self.samples
        clock = jnp.where(happens, event.time, state.clock)
        v, i = step_back(state.v, state.i, self.elapsed(state, clock), c.tau_mem, c.tau_syn)
        v_heard, i_heard = self.heard(state, clock, v, i)
        v_heard = jnp.where((event.moment == state.moment)[:, None], state.v_heard, v_heard)
        influence = jnp.sum(self.columns[n] * (v_heard - i_heard), axis=1)
        total = state.total.at[samples, slot].add(jnp.where(is_arrival, influence, 0))
        v_spike = self.before(event, n, v[samples, n], total[samples, slot])
        heard = jnp.where(is_arrival[:, None], -c.tau_syn * i_heard, 0)
        if self.is_refractory:
            state, i = self.hold(state, n, slot, is_spike, i)
        return _State(
            back=state.back + 1,
            clock=clock,
            moment=event.moment,
            v=v.at[samples, n].set(jnp.where(is_spike, v_spike, v[samples, n])),
            i=i,
            release=state.release,
            v_heard=v_heard,
            total=total,
            weight=state.weight.at[n].add(heard),
        )

    def elapsed(self, state: _State, clock: Array) -> Array:
        before, after = state.clock[:, None], clock[:, None]
        if not self.is_refractory:
            return before - after
        return jnp.where(state.release > before, 0, before - jnp.maximum(after, state.release))

    def heard(self, state: _State, clock: Array, v: Array, i: Array) -> tuple[Array, Array]:
        """``lv`` and ``li`` through which something that arrives now acts."""
        if not self.is_refractory:
            return v, i
        rest = jnp.maximum(state.release - clock[:, None], 0)
        return jnp.where(rest > 0, 0, v), i * jnp.exp(-rest / self.constants.tau_syn)

    def before(self, event: _Events, n: Array, v_release: Array, gradient: Array) -> Array:
        """``lv`` just before the spike of neuron ``n``."""
        slopes = (
            event.current - one_of(self.constants.threshold, n),
            event.release_current - one_of(self.constants.reset, n),
        )
        return before_spike(v_release, gradient, *slopes, one_of(self.floor, n))

    def hold(
        self, state: _State, n: Array, slot: Array, is_spike: Array, i: Array
    ) -> tuple[_State, Array]:
        """The state with the release of the spike before, and ``li`` at that of this one."""
        samples, room = self.samples, self.spikes.time.shape[2]
        pause = one_of(self.constants.refractory, n)
        i_release = i[samples, n]
        i_spike = i_release * jnp.exp(-pause / one_of(self.constants.tau_syn, n))
        i = i.at[samples, n].set(jnp.where(is_spike, i_spike, i_release))
        time = self.spikes.time.reshape(len(samples), -1)
        before = time[samples, jnp.maximum(slot - 1, 0)] + pause
        before = jnp.where(slot % room > 0, before, -jnp.inf)
        release = state.release
        release = release.at[samples, n].set(jnp.where(is_spike, before, release[samples, n]))
        return state._replace(release=release), i


def one_of(constant: Array, n: Array) -> Array:
    return constant[n] if constant.ndim else constant


def time_constant_gradients(
    spikes: Spikes,
    order: Order,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
    gradient: Array,
    min_slope: Array | float,
    is_refractory: bool,
) -> tuple[Array, Array]:
    """Gradients of ``(tau_mem, tau_syn)`` through the population's own spikes as its input.

    **Arguments:** as in `total_gradients`, but ``gradient`` are the total gradients found there.
    """
    batch, out, room = spikes.time.shape
    event_weight = jnp.repeat(recurrent_weight, room, axis=1)[None]

    def of_sample(part: tuple[Spikes, Order, Array]) -> tuple[Array, Array]:
        spikes, order, gradient = jax.tree.map(lambda x: x[None], part)
        adjoint = adjoint_at_spikes(spikes, gradient, constants, min_slope)
        following = count_before(order.emitted, order.heard.reshape(1, -1), "right")
        heard = arrival_times(spikes, delay).reshape(1, -1)
        segments = find_segments(heard, spikes, adjoint, constants, is_refractory, following)
        return sensitivity(
            jnp.zeros_like(event_weight),
            event_weight,
            segments.u,
            segments.v,
            segments.i,
            constants,
        )

    parts = spikes, order, gradient
    group = max(_GROUP_SIZE // max(out * out * room, 1), 1)
    if group >= batch:
        found = jax.vmap(of_sample)(parts)
    else:
        found = lax.map(of_sample, parts, batch_size=group)
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), found)
