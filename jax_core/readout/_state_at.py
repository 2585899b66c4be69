"""The state of leaky integrators, each at a time of its own, in one walk along their input.

From one event to the next the state follows a linear recursion; a neuron takes part up to the last
event that it is asked for. An event that moves by a little acts as one that stays and whose effect
has moved: so the derivative of its time is not a small difference of two large ones. Where all
neurons share their time constants, the coefficients of the recursion are computed once per event
and not for each neuron.

The events are cut into chunks, of which only the states between them are kept for the gradient, and
those that come after all that is asked for are left out.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ..neuron._kernel import propagator

# As many events at a time; fewer where a chunk would hold more values than this.
_CHUNK, _LEAST_CHUNK, _LARGEST_CHUNK = 32, 8, 2**22

State = tuple[Array, Array]
"""Voltages and currents, ``(batch, out)``."""


class _Chunk(NamedTuple):
    """Some of the events, fields of shape ``(events, batch)``."""

    position: Array
    before: Array
    """When the event before arrives."""
    time: Array
    shift: Array
    """By how much the time moves: 0, with a derivative."""
    pre: Array


def state_at(
    at: Array,
    event: Array,
    time: Array,
    pre: Array,
    weight: Array,
    tau_mem: Array,
    tau_syn: Array,
) -> State:
    """Voltage and current of each neuron at its time, if both are 0 at first.

    **Arguments:**

    - ``at``: the times, ``(batch, out)``.
    - ``event``: position of the last event that acts on each neuron, no later than ``at``, int32
      ``(batch, out)``; -1 for none.
    - ``time``, ``pre``: input times and the input neurons that they come from, ``(batch, M)``,
      first to last, ``inf`` where there is none.
    - ``weight``: ``(out, in)``; ``tau_mem``, ``tau_syn``: scalars or ``(out,)``.

    **Returns:** ``(batch, out)`` each, functions of times, weights and time constants.
    """
    zero = jnp.zeros(event.shape, weight.dtype)
    if 0 in (*event.shape, *time.shape, *weight.shape):
        return zero, zero
    walk = _Walk(event, weight.T, tau_mem, tau_syn)
    v, i = walk.along(_chunks(time, pre, event.shape), (zero, zero))
    fixed = lax.stop_gradient(time)
    last = jnp.take_along_axis(fixed, jnp.maximum(event, 0), axis=-1)
    over = propagator(jnp.where(event >= 0, at - last, 0), tau_mem, tau_syn)
    return over.membrane * v + over.psp * i, over.synapse * i


def _chunks(time: Array, pre: Array, shape: tuple[int, ...]) -> _Chunk:
    """All events, ``(chunks, events, batch)``, the first chunk and whole groups of others."""
    count = time.shape[-1]
    length = min(count, _CHUNK, max(_LEAST_CHUNK, _LARGEST_CHUNK // max(1, math.prod(shape))))
    others = -(-count // length) - 1
    missing = (1 + others + -others % _group(others)) * length - count
    # Absent ones act on nobody, at a time that makes no exponentials infinite, as going back would:
    # these would be NaN in gradients, times zero.
    fixed = lax.stop_gradient(time)
    last = jnp.max(fixed, axis=-1, keepdims=True, initial=0, where=fixed < jnp.inf)
    time = jnp.where(jnp.isinf(time), last, time)
    fixed = lax.stop_gradient(time)
    before = jnp.concatenate([fixed[:, :1], fixed[:, :-1]], axis=-1)
    position = lax.broadcasted_iota(jnp.int32, (len(time), count + missing), 1)

    def cut(x: Array) -> Array:
        padded = jnp.pad(x, ((0, 0), (0, count + missing - x.shape[1])), mode="edge")
        return padded.T.reshape(-1, length, len(padded))

    return jax.tree.map(cut, _Chunk(position, before, fixed, time - fixed, pre))


def _group(chunks: int) -> int:
    """How many chunks are skipped together."""
    return max(1, math.isqrt(chunks))


class _Walk(NamedTuple):
    """What stays the same along the events."""

    event: Array
    columns: Array
    """The weights, ``(in, out)``."""
    tau_mem: Array
    tau_syn: Array

    def along(self, chunks: _Chunk, state: State) -> State:
        """Through as many chunks as the last event needs."""
        count, length = chunks.time.shape[:2]
        state = self.through(state, jax.tree.map(lambda x: x[0], chunks))
        if count == 1:
            return state
        used = jnp.max(self.event) + 1
        # Two levels: what is skipped costs a derivative as much as zeros of all weights, so that
        # one step should skip many chunks.
        grouped = jax.tree.map(lambda x: x[1:].reshape(-1, _group(count - 1), *x.shape[1:]), chunks)

        def same(state: State, chunks: _Chunk) -> State:
            return state

        def each(part: Callable[[State, _Chunk], State]) -> Callable[[State, _Chunk], State]:
            def step(state: State, chunks: _Chunk) -> tuple[State, None]:
                needed = jnp.ravel(chunks.position)[0] < used
                return lax.cond(needed, part, same, state, chunks), None

            return lambda state, chunks: lax.scan(step, state, chunks)[0]

        all_others = each(each(jax.checkpoint(self.through)))
        return lax.cond(used > length, all_others, same, state, grouped)

    def through(self, state: State, chunk: _Chunk) -> State:
        """Through all events of a chunk."""
        before, time, shift = (x[..., None] for x in (chunk.before, chunk.time, chunk.shift))
        over = propagator(time - before, self.tau_mem, self.tau_syn)
        back = propagator(-shift, self.tau_mem, self.tau_syn)

        def arrive(state: State, x: Any) -> tuple[State, None]:
            over, back, drive, position = x
            v, i = state
            moved_v = over.membrane * v + over.psp * i + back.psp * drive
            moved_i = over.synapse * i + back.synapse * drive
            acts = position[:, None] <= self.event
            return (jnp.where(acts, moved_v, v), jnp.where(acts, moved_i, i)), None

        steps = over, back, self.columns[chunk.pre], chunk.position
        return lax.scan(arrive, state, steps)[0]
