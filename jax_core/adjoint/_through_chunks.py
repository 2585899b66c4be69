"""What all input events contribute to the gradients, at a cost that follows inputs and spikes.

Between a neuron's own spikes its adjoint state does not see the input. So the state of a lane at
one moment tells those at all events before, as far as no mark (see `_marks`) lies between: a
chunk's events take it from the chunk's end, by factors that neurons share if they share time
constants. By linearity, the difference that a mark makes acts on the lane's events before the mark
as a state of its own.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..neuron._constants import Constants
from ..simulate._events import Spikes, sort_input
from ..simulate._recurrent_state import NEVER
from ..simulate._recurrent_state import Order as SpikeOrder
from ..spikes._sort import sort_times
from ._eventprop import adjoint_at_spikes
from ._marks import Marks, Order, State, Step, back, events_before, marks_of, order_of, step_over
from ._recurrent import arrival_times
from ._through_events import Part, Total

# So many events at a time.
_CHUNK = 8
# So many marks at a time: about one in so many lanes, and at least so many.
_ONE_IN, _FEWEST = 32, 64


def through_chunks(part: Part, weight: Array, constants: Constants, is_refractory: bool) -> Total:
    """`through_events`, for layers with many events and neurons."""
    c = constants
    none = jnp.zeros_like(c.tau_mem), jnp.zeros_like(c.tau_syn)
    if 0 in (*weight.shape, *part.events.time.shape):
        return jnp.zeros_like(part.events.time), jnp.zeros_like(weight), none
    slots, inputs = part.events.time.shape[1], weight.shape[1]
    events, place = sort_input(part.events, weight)
    to_width = ((0, 0), (0, -slots % _CHUNK))
    time = jnp.pad(events.time, to_width, constant_values=jnp.inf)
    pre = jnp.pad(jnp.clip(events.pre, 0, inputs - 1), to_width)
    marks = marks_of(part.spikes, part.adjoint, c, is_refractory)
    walk = partial(_walk, time, pre, weight.T, c, marks, events_before(marks, time))
    # Two walks, so that one whose gradients nobody asks for does not take place.
    of_time, of_weight = walk(False, (jnp.zeros_like(time), jnp.zeros_like(weight.T)))
    of_time = of_time[:, :slots]
    if place is not None:
        rows = jnp.arange(of_time.shape[0])[:, None]
        of_time = jnp.zeros_like(of_time).at[rows, place].set(of_time)
    return of_time, of_weight.T, walk(True, none)


def tau_through_chunks(
    spikes: Spikes,
    order: SpikeOrder,
    recurrent_weight: Array,
    delay: Array | None,
    constants: Constants,
    gradient: Array,
    min_slope: Array | float,
    is_refractory: bool,
) -> tuple[Array, Array]:
    """`time_constant_gradients`, for populations with many spikes."""
    c, (batch, _, room) = constants, spikes.time.shape
    none = jnp.zeros_like(c.tau_mem), jnp.zeros_like(c.tau_syn)
    if 0 in spikes.time.shape:
        return none
    # Moments are whole numbers, exact in float32 as far as they matter.
    moment, place = sort_times(order.heard.reshape(batch, -1).astype(jnp.float32))
    time = arrival_times(spikes, delay).reshape(batch, -1)
    is_heard = moment < float(NEVER)
    time = jnp.where(is_heard, jnp.take_along_axis(time, place, axis=1), jnp.inf)
    adjoint = adjoint_at_spikes(spikes, gradient, constants, min_slope)
    marks = marks_of(spikes, adjoint, c, is_refractory)
    emitted = order.emitted.astype(jnp.float32)
    before = jax.vmap(jnp.searchsorted)(moment, emitted).astype(jnp.int32)
    if is_refractory:
        # Releases are no moments of their own: times tell what comes before them.
        of_release = jnp.maximum(events_before(marks, time)[..., 1::2], before)
        of_release = jnp.where(marks.inclusive[..., 1::2], before, of_release)
        before = jnp.stack([before, of_release], axis=-1).reshape(marks.time.shape)
    to_width = ((0, 0), (0, -time.shape[1] % _CHUNK))
    time = jnp.pad(time, to_width, constant_values=jnp.inf)
    pre = jnp.pad(place // room, to_width)
    return _walk(time, pre, recurrent_weight.T, c, marks, before, True, none)


_Found = tuple[Array, Array]
"""Gradients of times, ``(batch, M)`` in order, and of weights, ``(in, out)``; or of ``tau_mem`` and
``tau_syn``."""


def _walk(
    time: Array,
    pre: Array,
    weight: Array,
    constants: Constants,
    marks: Marks,
    before: Array,
    sensitive: bool,
    start: _Found,
) -> _Found:
    """Go back through events in order, ``(batch, M)`` in whole chunks, and marks with so many
    events ``before`` them, from nothing found."""
    order = order_of(marks, before, _CHUNK, time.shape[1] // _CHUNK)
    states = marks.states(constants, sensitive)
    states: tuple[State, State] = jax.tree.map(lambda x: x.reshape(-1), states)
    flat = marks.time.reshape(-1)
    steps = _Walk(time, pre, weight, constants, order, flat, *states, sensitive)
    loop = order.chunk, steps.silence(), start
    return lax.while_loop(lambda loop: loop[0] >= 0, steps.chunk, loop)[2]


class _Chunk(NamedTuple):
    """Some events, ``(batch, chunk)``."""

    first: Array
    time: Array
    pre: Array


_Loop = tuple[Array, State, _Found]


@dataclass(frozen=True, eq=False)
class _Walk:
    """The input and the marks of a layer, with the steps of the way back through them."""

    time: Array
    pre: Array
    weight: Array
    """``(in, out)``."""
    constants: Constants
    order: Order
    mark_time: Array
    mark_state: State
    mark_jump: State
    sensitive: bool
    """Whether to look for the gradients of time constants; if not, for all others."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.time.shape[0], self.weight.shape[1]

    def silence(self) -> State:
        """The state after all that happens."""
        zero = jnp.zeros(self.shape, self.weight.dtype)
        none = zero if self.sensitive else None
        return State(zero, zero, none, none, none)

    def chunk(self, loop: _Loop) -> _Loop:
        """Go back through one chunk; the state is that at the first event of the next one."""
        k, state, found = loop
        first = k * _CHUNK
        chunk = _Chunk(
            first,
            lax.dynamic_slice_in_dim(self.time, first, _CHUNK, axis=1),
            lax.dynamic_slice_in_dim(self.pre, first, _CHUNK, axis=1),
        )
        # Where no event follows, all states are 0.
        end = self.time[:, jnp.minimum(first + _CHUNK, self.time.shape[1] - 1)]
        u = end[:, None] - chunk.time
        u = jnp.where(jnp.isfinite(u), u, 0)
        found = self.at_events(state, u, chunk, found)
        state = back(state, self.over(u[:, :1]))
        at_once = max(self.shape[0] * self.shape[1] // _ONE_IN, _FEWEST)
        end = self.order.begin[k + 1]

        def go_on(loop: _Loop) -> _Loop:
            at, state, found = loop
            number = at + jnp.arange(at_once, dtype=jnp.int32)
            place = self.order.place.at[number].get(mode="clip")
            return at + at_once, *self.at_marks(place, number < end, chunk, state, found)

        loop = self.order.begin[k], state, found
        return k - 1, *lax.while_loop(lambda loop: loop[0] < end, go_on, loop)[1:]

    def over(self, u: Array) -> Step:
        return step_over(u, *self.taus, self.sensitive)

    def at_events(self, state: State, u: Array, chunk: _Chunk, found: _Found) -> _Found:
        """Add what the events contribute, from the state a time ``u`` later, without marks."""
        weights = self.weight[chunk.pre]
        at_end = jax.tree.map(lambda x: x[:, None], state)
        if self.constants.tau_mem.ndim == self.constants.tau_syn.ndim == 0:
            # The steps are the same for all neurons, so that sums over them may come first.
            over = self.over(u)
            sums = back(jax.tree.map(partial(_dot, weights), state), over)
            products = jax.tree.map(lambda x: x[..., None], sums)
            over = jax.tree.map(lambda x: x[..., None], over)
            then = back(at_end, over)
        else:
            then = back(at_end, self.over(u[..., None]))
            products = jax.tree.map(lambda x: weights * x, then)
        if self.sensitive:
            return _with_tau(found, products, (0, 1), slice(None))
        of_time = jnp.sum(_slope(products, *self.taus), axis=-1)
        of_time = jnp.where(jnp.isfinite(chunk.time), of_time, 0)
        time, weight = found
        time = lax.dynamic_update_slice_in_dim(time, of_time, chunk.first, axis=1)
        return time, weight.at[chunk.pre].add(then.i)

    def at_marks(
        self, place: Array, is_mark: Array, chunk: _Chunk, state: State, found: _Found
    ) -> tuple[State, _Found]:
        """What some marks change: at the chunk's events before them, and the state at its begin."""
        batch, out = self.shape
        lane = place // (self.mark_time.shape[0] // (batch * out))
        sample, n = lane // out, lane % out
        in_chunk = chunk.first + jnp.arange(_CHUNK, dtype=jnp.int32)
        is_before = (in_chunk <= self.order.last[place][:, None]) & is_mark[:, None]
        u = jnp.where(is_before, self.mark_time[place][:, None] - chunk.time[sample], 0)
        tau_mem, tau_syn = (x[n][:, None] if x.ndim else x for x in self.taus)
        over = step_over(u, tau_mem, tau_syn, self.sensitive)
        jump = jax.tree.map(lambda x: x[place][:, None], self.mark_jump)
        then = jax.tree.map(lambda x: jnp.where(is_before, x, 0), back(jump, over))
        pre = chunk.pre[sample]
        products = jax.tree.map(lambda x: self.weight[pre, n[:, None]] * x, then)
        if self.sensitive:
            found = _with_tau(found, products, (1,), n)
        else:
            time = found[0].at[sample[:, None], in_chunk].add(_slope(products, tau_mem, tau_syn))
            found = time, found[1].at[pre, n[:, None]].add(then.i)
        new = jax.tree.map(lambda x: x[place], self.mark_state)
        new = back(new, jax.tree.map(lambda x: x[:, 0], over))
        to = jnp.where(self.order.is_first[place] & is_mark, sample, batch), n
        return jax.tree.map(lambda x, y: x.at[to].set(y, mode="drop"), state, new), found

    @property
    def taus(self) -> tuple[Array, Array]:
        return self.constants.tau_mem, self.constants.tau_syn


def _slope(products: State, tau_mem: Array, tau_syn: Array) -> Array:
    """Gradients of times, from states times weights."""
    return products.i / tau_syn - products.v / tau_mem


def _with_tau(found: _Found, products: State, others: tuple[int, ...], n: Array | slice) -> _Found:
    """Add gradients of time constants, from states times weights: of the neurons ``n``, which are
    along the axis that is not among the ``others``."""

    def add(total: Array, x: Array) -> Array:
        if total.ndim == 0:
            return total + jnp.sum(x)
        return total.at[n].add(jnp.sum(x, axis=others))

    return add(found[0], products.i_mem), add(found[1], products.i_syn)


def _dot(weights: Array, x: Array) -> Array:
    """The sum over neurons of weights ``(batch, chunk, out)`` times ``x``, ``(batch, out)``."""
    return jnp.einsum("bmn,bn->bm", weights, x, precision=lax.Precision.HIGHEST)
