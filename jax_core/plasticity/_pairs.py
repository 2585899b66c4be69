"""Changes by pairs of spikes in closed form, where weights do not matter."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from ._rule import Sample
from ._state import PlasticityState
from ._traces import Trace, pair_sum, trace

Gain = Callable[[Array], Array]
"""By what changes at these times count, ``times -> (..., *times)``."""


def pair_traces(
    sample: Sample, tau_plus: Array | float, tau_minus: Array | float, *, nearest: bool
) -> tuple[Trace, Trace]:
    """The first trace of presynaptic, and of postsynaptic spikes."""
    pre = trace(sample.pre, tau_plus, sample.state.pre[:, 0], nearest=nearest)
    post = trace(sample.post, tau_minus, sample.state.post[:, 0], nearest=nearest)
    return pre, post


def pair_change(pre: Trace, post: Trace, up: Array, down: Array) -> Array:
    """Potentiation at postsynaptic and depression at presynaptic spikes.

    **Arguments:** ``pre``, ``post``: traces; ``up``: factor of each postsynaptic spike,
    ``(..., out, m)``; ``down``: factor of each presynaptic spike, ``(..., in, k)``.

    **Returns:** changes ``(..., out, in)``.
    """
    potentiation = pair_sum(pre, post.times, up, before=False)
    # A presynaptic spike comes before the postsynaptic one of the same time.
    depression = pair_sum(post, pre.times, down, before=True)
    return potentiation - jnp.swapaxes(depression, -1, -2)


def end_state(
    pre: tuple[Trace, ...], post: tuple[Trace, ...], t_max: Array | float
) -> PlasticityState:
    """The state at the end, of these traces."""
    return PlasticityState(*(_ends(traces, t_max) for traces in (pre, post)))


def _ends(traces: tuple[Trace, ...], t_max: Array | float) -> Array:
    return jnp.stack([one.end(t_max) for one in traces], axis=-1)
