"""The voltage of leaky integrators at the steps of a regular grid of times.

`li_value` sums over all spikes for each time. Here every spike acts on the grid's next time only,
and the state is carried on from there, which costs as many operations as there are spikes plus
steps, not their product. The result is as exact: spikes are not moved to the grid.
"""

import jax.numpy as jnp
from jax import Array, lax

from .._compiled import compiled
from ..neuron._kernel import propagator
from ._response import undefined, with_undefined


@compiled("li_grid", static_argnames="steps")
def li_grid(
    spikes: Array,
    weight: Array,
    *,
    dt: float | Array,
    steps: int,
    tau_mem: Array | float,
    tau_syn: Array | float,
    v_leak: Array | float,
) -> Array:
    """Voltage at the times ``0, dt, 2 dt, ...``.

    **Arguments:**

    - ``spikes``: spike times, seconds, >= 0, ``inf`` where there is none, ``(batch, in, k)``.
    - ``weight``: ``(out, in)``.
    - ``dt``, ``steps``: distance of the times, seconds, and their number.
    - ``tau_mem``, ``tau_syn``: seconds, one value for all neurons.
    - ``v_leak``: scalar or ``(out,)``.

    **Returns:** shape ``(steps, batch, out)``. Arguments are not checked.
    """
    mem, syn, leak = (jnp.asarray(x, weight.dtype) for x in (tau_mem, tau_syn, v_leak))
    times = jnp.arange(steps, dtype=weight.dtype) * dt
    seen = spikes <= times[-1]
    time = jnp.where(seen, spikes, 0)
    step = jnp.searchsorted(times, lax.stop_gradient(time))
    until = propagator(times[step] - time, mem, syn)
    batch, neurons, _ = spikes.shape
    at = (step, jnp.arange(batch)[:, None, None], jnp.arange(neurons)[:, None])

    def arriving(effect: Array) -> Array:
        by_input = jnp.zeros((steps, batch, neurons), weight.dtype)
        by_input = by_input.at[at].add(jnp.where(seen, effect, 0))
        return jnp.matmul(by_input, weight.T, precision=lax.Precision.HIGHEST)

    over = propagator(jnp.asarray(dt, weight.dtype), mem, syn)

    def follow(state: tuple[Array, Array], jumps: tuple[Array, Array]):
        v, i = state
        v = over.membrane * v + over.psp * i + jumps[0]
        return (v, over.synapse * i + jumps[1]), v

    rest = jnp.zeros((batch, weight.shape[0]), weight.dtype)
    _, voltage = lax.scan(follow, (rest, rest), (arriving(until.psp), arriving(until.synapse)))
    rows = undefined(spikes.reshape(batch, -1))
    return with_undefined(voltage + leak + rows)
