"""Exponential traces of spikes in closed form, and sums over pairs of spikes through them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

_FEW_SPIKES = 32
"""Up to here, comparing with all spikes of a neuron is faster than a binary search."""


def decay(age: Array, tau: Array | float) -> Array:
    """``exp(-age / tau)``; 1 for ``tau = inf``, at any age."""
    return jnp.exp(-jnp.where(jnp.isinf(tau), 0, age / tau))


class Trace(NamedTuple):
    """Traces of ``n`` neurons, which jump at their spikes and decay with ``tau``."""

    times: Array
    """Spike times, ``(n, k)``, ascending, ``inf`` where there is no spike."""
    after: Array
    """The trace at time 0, and right after each spike, ``(n, k + 1)``."""
    tau: Array | float

    def before_spikes(self) -> Array:
        """The trace right before each of the neurons' own spikes, ``(n, k)``; 0 without a spike."""
        return self.after[:, :-1] * _kept(self.times, self.tau)

    def at(self, times: Array, *, before: bool) -> Array:
        """The traces at finite ``times`` ``(q,)``, shape ``(n, q)``.

        ``before``: whether spikes at that very time do not count yet.
        """
        side = "left" if before else "right"
        method = "compare_all" if self.times.shape[-1] <= _FEW_SPIKES else "scan"

        def find(own: Array) -> Array:
            return jnp.searchsorted(own, times, side=side, method=method)

        place = jax.vmap(find)(self.times)
        since = jnp.pad(self.times, ((0, 0), (1, 0)))
        age = times - jnp.take_along_axis(since, place, axis=1)
        return jnp.take_along_axis(self.after, place, axis=1) * decay(age, self.tau)

    def end(self, t_max: Array | float) -> Array:
        """The traces at ``t_max``, ``(n,)``."""
        last = jnp.full(1, t_max, self.after.dtype)
        return self.at(last, before=False)[:, 0]


def trace(times: Array, tau: Array | float, start: Array, *, nearest: bool = False) -> Trace:
    """The trace of spikes ``(n, k)`` that begins with ``start`` ``(n,)`` at time 0.

    A spike adds 1 to it; ``nearest``: a spike sets it to 1, so that only the latest one counts.
    """
    ones = jnp.isfinite(times).astype(times.dtype)
    if nearest:
        return Trace(times, jnp.concatenate([start[:, None], ones], axis=1), tau)
    kept, added = lax.associative_scan(_one_after_other, (_kept(times, tau), ones), axis=1)
    after = kept * start[:, None] + added
    return Trace(times, jnp.concatenate([start[:, None], after], axis=1), tau)


def pair_sum(traces: Trace, times: Array, factors: Array, *, before: bool) -> Array:
    """Sums, over spikes, of a factor times the traces of all neurons at that time.

    **Arguments:** ``traces``: of ``n`` neurons; ``times``: spikes ``(p, m)`` of others;
    ``factors``: ``(..., p, m)``, of which those without a spike do not matter; ``before``: as in
    `Trace.at`.

    **Returns:** sums ``(..., p, n)``.
    """
    present = jnp.isfinite(times)
    found = traces.at(jnp.where(present, times, 0).reshape(-1), before=before)
    found = found.reshape(traces.times.shape[0], *times.shape)
    factors = jnp.where(present, factors, 0)
    return jnp.einsum("...pm,npm->...pn", factors, found, precision=lax.Precision.HIGHEST)


def _kept(times: Array, tau: Array | float) -> Array:
    """What is left of a trace when a spike comes, since the one before it; 0 without a spike."""
    age = times - jnp.pad(times, ((0, 0), (1, 0)))[:, :-1]
    present = jnp.isfinite(times)
    return jnp.where(present, decay(jnp.where(present, age, 0), tau), 0)


def _one_after_other(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple:
    return first[0] * second[0], first[1] * second[0] + second[1]
