"""The simulation of a recurrent layer that hurries through inputs between which nobody spikes.

Before each moment of `_recurrent`, samples go on by up to some inputs: as long as an upper bound of
their neurons' voltages, as in `_chunked`, stays below the thresholds.
"""

import jax.numpy as jnp
from jax import Array, lax

from ..neuron._crossing import advance
from ..neuron._kernel import propagator
from ._chunked import may_reach
from ._recurrent import Simulation
from ._recurrent_state import State

# So many inputs at a time: samples that wait for a spike wait for the others, too.
_INPUTS = 4


class HurriedSimulation(Simulation):
    """That of a layer without delays between its neurons."""

    def walk(self, state: State) -> State:
        """Go on by some inputs, and then to the next event of each sample."""

        def hurry(state: State, _: None) -> tuple[State, None]:
            return self.hurry(state), None

        return super().walk(lax.scan(hurry, state, length=_INPUTS)[0])

    def hurry(self, state: State) -> State:
        """Go on by one input where nothing else can happen before."""
        at = self.samples, state.arrived
        arrival, source = self.time[at], self.source[at]
        is_next = jnp.isfinite(arrival) & ~state.done
        before, after = state.clock[:, None], arrival[:, None]
        u = jnp.where(is_next[:, None], after - before, 0)
        c = self.constants
        v, i = advance(state.v, state.i, propagator(u, c.tau_mem, c.tau_syn))
        stops = may_reach(state.v, state.i, v, i, u / c.tau_mem, c.threshold)
        if self.spikes_once:
            stops &= state.fired == 0
        arriving = self.columns[source]
        if self.is_refractory:
            held = state.hold > before
            stops = jnp.where(held, state.hold <= after, stops)
            v, i = jnp.where(held, state.v, v), jnp.where(held, state.i, i)
            # Their state is that at the release: so much is left then of what arrives.
            rest = jnp.where(held & is_next[:, None], state.hold - after, 0)
            arriving = arriving * jnp.exp(-jnp.maximum(rest, 0) / c.tau_syn)
        goes_on = is_next & ~jnp.any(stops, axis=1)

        def where(new: Array, old: Array) -> Array:
            return jnp.where(goes_on[:, None], new, old)

        return state._replace(
            clock=jnp.where(goes_on, arrival, state.clock),
            arrived=state.arrived + goes_on.astype(jnp.int32),
            v=where(v, state.v),
            i=where(i + arriving, state.i),
        )
