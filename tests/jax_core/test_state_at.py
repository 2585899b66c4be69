"""The state of integrators at times of their own, beside a sum of kernels over all their events."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch.jax_core.neuron._kernel import propagator
from evtorch.jax_core.readout._state_at import state_at

BATCH, OUT, INPUTS = 3, 4, 6


def problem(rng: np.random.Generator, slots: int, present: int):
    """Sorted times of which some are absent, weights, and how many act on each neuron."""
    time = np.sort(rng.uniform(0, 3, (BATCH, slots)), axis=1)
    time[:, present:] = np.inf
    event = rng.integers(-1, present, (BATCH, OUT))
    event[0, 0], event[-1, -1] = present - 1, -1
    last = np.where(event >= 0, np.take_along_axis(time, np.maximum(event, 0), axis=1), 0)
    at = last + rng.uniform(0, 1, event.shape)
    weight = rng.normal(0, 1, (OUT, INPUTS))
    pre = rng.integers(0, INPUTS, time.shape)
    return at, event.astype(np.int32), time, pre.astype(np.int32), weight


def summed(at, event, time, pre, weight, tau_mem, tau_syn):
    """The same by the definition: each event's response, at the time that is asked for."""
    acts = np.arange(time.shape[1]) <= event[..., None]
    since = jnp.where(acts, at[..., None] - jnp.where(acts, time[:, None], 0), 0)
    taus = (jnp.broadcast_to(tau, (OUT,))[:, None] for tau in (tau_mem, tau_syn))
    over = propagator(since, *taus)
    arriving = jnp.where(acts, jnp.swapaxes(weight[:, pre], 0, 1), 0)
    return jnp.sum(arriving * over.psp, axis=-1), jnp.sum(arriving * over.synapse, axis=-1)


# One event; less than a chunk of 32; a whole one; one more; groups of chunks, full and not.
@pytest.mark.parametrize(("slots", "present"), [(1, 1), (32, 20), (33, 33), (300, 40), (300, 300)])
def test_states_and_gradients_are_those_of_a_sum_over_events(slots, present, x64, rng):
    at, event, time, pre, weight = problem(rng, slots, present)
    taus = np.array(1.5), rng.uniform(0.5, 2, OUT) if slots == 33 else np.array(0.7)
    upstream = rng.normal(size=(2, BATCH, OUT))

    def both(function):
        @jax.jit
        def run(at, time, weight, *taus):
            found = jnp.stack(function(at, event, time, pre, weight, *taus))
            return jnp.sum(found * upstream), found

        floats = jnp.asarray(at), jnp.asarray(time), jnp.asarray(weight), *map(jnp.asarray, taus)
        (_, found), gradients = jax.value_and_grad(run, range(5), has_aux=True)(*floats)
        return found, *gradients

    for one, other in zip(both(state_at), both(summed), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_absent_events_leave_gradients_finite():
    """Also where the way from the last event back to time 0 is a hundred time constants long."""
    time, pre = jnp.array([[0.9, jnp.inf]], jnp.float32), jnp.zeros((1, 2), jnp.int32)

    def total(time, weight, *taus):
        v, i = state_at(jnp.ones((1, 1)), jnp.zeros((1, 1), jnp.int32), time, pre, weight, *taus)
        return jnp.sum(v + i)

    taus = jnp.float32(2e-2), jnp.float32(5e-3)
    for gradient in jax.grad(total, range(4))(time, jnp.ones((1, 1), jnp.float32), *taus):
        assert jnp.all(jnp.isfinite(gradient))
