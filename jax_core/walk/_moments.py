"""The moments of a walk: input events, own spikes and times to look at, merged into one order."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .._events import Events
from ..spikes._sort import sort_times

_NEVER = -1.0


class Moments(NamedTuple):
    """Events and looks in their order, fields ``(moments, batch)`` or ``(moments, batch, out)``.

    Times have no gradient. It goes through ``shift``: what a shifted event or look amounts to at
    the moment itself. As the difference of what happens before and after it would be lost to
    rounding, since both grow with the number of all events and looks.
    """

    before: Array
    """Time of the moment before, 0 for the first."""
    time: Array
    shift: Array
    """0, with the derivative of the time."""
    source: Array
    """The input that arrives, ``in`` for none."""
    release: Array | None
    """When each neuron is last released from reset since the moment before, negative for never."""
    holds: Array | None
    """How many refractory periods begin since then, less those that end."""


def sources(events: Events, inputs: int) -> Array:
    """From which input each event comes; a spike-time tensor's place tells."""
    if events.index is not None:
        return events.index
    width = events.time.shape[-1]
    places = jnp.arange(width, dtype=jnp.int32) // max(width // max(inputs, 1), 1)
    return jnp.broadcast_to(places, events.time.shape)


def merge(time: Array, source: Array, inputs: int, times: Array) -> tuple[Moments, Array, Array]:
    """Bring events and looks in order.

    **Returns:** them, without own spikes; the place of each look, ``(batch, T)``; and how many
    moments there are, ``(batch,)``. The others come last, at the time of the last look.
    """
    width = time.shape[-1]
    last = lax.stop_gradient(jnp.max(times, axis=-1, keepdims=True))
    seen = time <= last
    exact = jnp.concatenate([jnp.where(seen, time, 0), times], axis=-1)
    shift = exact - lax.stop_gradient(exact)
    padded = jnp.concatenate([jnp.where(seen, time, jnp.inf), times], axis=-1)
    merged, order = sort_times(lax.stop_gradient(padded))
    merged = jnp.where(jnp.isfinite(merged), merged, last)
    none = jnp.full(times.shape, inputs, source.dtype)
    source = jnp.concatenate([jnp.where(seen, source, inputs), none], axis=-1)
    shift, source = (jnp.take_along_axis(x, order, axis=-1) for x in (shift, source))
    rows = jnp.arange(order.shape[0])[:, None]
    place = lax.broadcasted_iota(jnp.int32, order.shape, 1)
    place = jnp.zeros_like(order).at[rows, order].set(place, unique_indices=True)
    before = jnp.pad(merged[:, :-1], ((0, 0), (1, 0)))
    used = jnp.sum(seen, axis=-1, dtype=jnp.int32) + times.shape[-1]
    moments = Moments(before.T, merged.T, shift.T, source.T, None, None)
    return moments, place[:, width:], used


def with_resets(moments: Moments, own: Array, refractory: Array | None, used: Array) -> Moments:
    """Add what the neurons' own spikes do between moments."""
    batch, out, spikes = own.shape
    count = moments.time.shape[0]
    find = jax.vmap(lambda at, x: jnp.searchsorted(at, x, side="left"))
    when = moments.time.T

    def moment_of(x: Array) -> Array:
        x = lax.stop_gradient(x)
        k = find(when, x.reshape(batch, out * spikes)).reshape(x.shape).astype(jnp.int32)
        return jnp.where(k < used[:, None, None], k, count)

    at = jnp.arange(batch)[:, None, None], jnp.arange(out)[:, None]
    release = own if refractory is None else own + refractory[..., None]
    k = moment_of(release)
    following = jnp.pad(k[..., 1:], ((0, 0), (0, 0), (0, 1)), constant_values=count)
    is_last = k < following
    none = jnp.full((count, batch, out), _NEVER, own.dtype)
    counts = k < count
    update = jnp.where(counts, release, 0)
    moments = moments._replace(
        release=none.at[jnp.where(is_last, k, count), *at].set(update, mode="drop")
    )
    if refractory is None:
        return moments
    holds = jnp.zeros((count, batch, out), jnp.int32)
    holds = holds.at[moment_of(own), *at].add(1, mode="drop").at[k, *at].add(-1, mode="drop")
    return moments._replace(holds=holds)
