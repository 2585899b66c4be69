"""Neurons of any model: against references of their own, and against `lif`."""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from evtorch import jax_core
from evtorch.jax_core.neuron._constants import Constants, form_of
from evtorch.jax_core.neuron._cuba_lif import CubaLIF

from .._thorough import usual

SAMPLES, INPUTS, NEURONS, SPIKES, ROOM, END = 3, 6, 4, 4, 40, 0.15


def draw(seed):
    rng = np.random.default_rng(seed)
    spikes = np.sort(rng.uniform(0, 0.1, (SAMPLES, INPUTS, SPIKES)), axis=-1)
    spikes = np.sort(np.where(rng.random(spikes.shape) < 0.2, np.inf, spikes), axis=-1)
    return rng, jnp.asarray(spikes), jnp.asarray(rng.normal(0.6, 1.2, (NEURONS, INPUTS)))


def constants_of(rng, refractory):
    given = {
        "tau_mem": rng.uniform(0.008, 0.03, NEURONS),
        "tau_syn": rng.uniform(0.004, 0.02, NEURONS),
        "v_threshold": rng.uniform(0.8, 1.2, NEURONS),
        "v_leak": rng.uniform(-0.2, 0.3, NEURONS),
        "v_reset": rng.uniform(-1.0, 0.3, NEURONS),
        "refractory": refractory,
    }
    return {name: jnp.asarray(value) for name, value in given.items()}


@pytest.mark.parametrize("refractory", usual({0.004, np.inf}, [0.0, 0.004, np.inf]))
def test_going_through_the_spikes_again_has_the_gradients_of_eventprop(x64, refractory):
    """Two methods that share the motion of a neuron only."""
    room = 1 if refractory == np.inf else ROOM
    options = {"max_spikes": room, "t_max": END}
    form = form_of(jnp.zeros(1), jnp.zeros(1), refractory)

    def of_lif(spikes, weight, constants):
        return jax_core.lif(spikes, weight, **constants, form=form, **options)

    def of_any(spikes, weight, constants):
        neuron = CubaLIF(Constants(**constants), form)
        return jax_core.spiking(spikes, weight, neuron, **options)

    @jax.jit
    def slopes(run_twice, upstream):
        def loss(run):
            def weighted(*arguments):
                out = run(*arguments)
                return jnp.sum(jnp.where(jnp.isfinite(out), out * upstream, 0)), out

            return jax.grad(weighted, (0, 1, 2), has_aux=True)(*run_twice)

        return loss(of_lif), loss(of_any)

    for seed in range(20):
        rng, spikes, weight = draw(seed)
        constants = constants_of(rng, refractory)
        upstream = jnp.asarray(rng.normal(size=(SAMPLES, NEURONS, room)))
        (one, expected), (other, found) = slopes((spikes, weight, constants), upstream)
        # In programs of their own, in which XLA may round otherwise.
        np.testing.assert_allclose(found, expected, rtol=1e-13)
        for name in ("refractory",) if refractory in (0.0, np.inf) else ():
            del one[2][name], other[2][name]
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_forward_mode_is_the_transpose_of_reverse_mode(x64):
    rng, spikes, weight = draw(1)
    constants = constants_of(rng, 0.004)
    neuron = CubaLIF(Constants(**constants), form_of(0.01, jnp.zeros(1), 0.004))
    run = partial(jax_core.spiking, spikes, max_spikes=ROOM, t_max=END)
    move = jnp.asarray(rng.normal(size=weight.shape))
    out, moved = jax.jvp(lambda weight: run(weight, neuron), (weight,), (move,))
    upstream = jnp.where(jnp.isfinite(out), jnp.asarray(rng.normal(size=out.shape)), 0)
    _, pull = jax.vjp(lambda weight: run(weight, neuron), weight)
    left = jnp.sum(upstream * jnp.where(jnp.isfinite(out), moved, 0))
    np.testing.assert_allclose(left, jnp.sum(pull(upstream)[0] * move), rtol=1e-12)


def reference_spikes(spikes, weight, ports, taus, constants, end):
    """Spikes of one neuron with several synaptic currents: dense search, then Brent's method."""
    tau, threshold, reset = (float(constants[k]) for k in ("tau_mem", "v_threshold", "v_reset"))
    events = sorted((t, i) for i, row in enumerate(spikes) for t in row if np.isfinite(t))
    now, v, currents, found = 0.0, 0.0, np.zeros(len(taus)), []

    def voltage(u):
        u = np.asarray(u)
        total = v * np.exp(-u / tau)
        for current, syn in zip(currents, taus, strict=True):
            kappa = syn / (tau - syn) * (np.exp(-u / tau) - np.exp(-u / syn))
            total = total + current * kappa
        return total

    for time, source in [*events, (end, None)]:
        while now < time:
            u = np.linspace(0, time - now, max(3, int((time - now) / 4e-6)))
            over = np.nonzero((voltage(u)[1:] >= threshold) & (voltage(u)[:-1] < threshold))[0]
            if len(over) == 0:
                v, currents = voltage(u[-1]), currents * np.exp(-(time - now) / np.array(taus))
                break
            low, high = u[over[0]], u[over[0] + 1]
            at: float = brentq(lambda u: voltage(u) - threshold, low, high, xtol=1e-16)  # pyright: ignore
            currents = currents * np.exp(-at / np.array(taus))
            now, v = now + at, reset
            found.append(now)
        now = time
        if source is not None:
            currents[ports[source]] += weight[source]
    return found


@pytest.mark.parametrize("kinds", usual({3}, [2, 3]))
def test_several_currents_equal_the_reference(x64, kinds):
    ports, count = np.arange(INPUTS) % kinds, 0
    for seed in range(8):
        rng, spikes, weight = draw(seed)
        taus = rng.uniform(0.002, 0.03, (kinds, NEURONS))
        constants = {
            "tau_mem": rng.uniform(0.008, 0.03, NEURONS),
            "v_threshold": rng.uniform(0.5, 1.0, NEURONS),
            "v_reset": rng.uniform(-0.5, 0.2, NEURONS),
        }
        projections = {
            str(kind): jax_core.Projection(
                spikes[:, ports == kind], weight[:, ports == kind], jnp.asarray(taus[kind])
            )
            for kind in range(kinds)
        }
        given = {name: jnp.asarray(x) for name, x in constants.items()}
        out = jax_core.lif_projections(projections, **given, max_spikes=120, t_max=END)
        for sample in range(SAMPLES):
            for n in range(NEURONS):
                own = {name: x[n] for name, x in constants.items()}
                expected = reference_spikes(
                    np.asarray(spikes[sample]), np.asarray(weight[n]), ports, taus[:, n], own, END
                )
                found = np.asarray(out[sample, n])
                found = found[np.isfinite(found)]
                assert len(found) == len(expected)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
                count += len(found)
    assert count > 300


def test_equal_and_nearly_equal_time_constants_agree(x64):
    _, spikes, weight = draw(4)
    for tau_mem in (0.02, 0.01):
        expected = jax_core.lif(spikes, weight, tau_mem=tau_mem, max_spikes=ROOM, t_max=END)
        for apart in (0.0, 1e-13):
            projections = {
                name: jax_core.Projection(
                    spikes[:, part], weight[:, part], jnp.asarray(1e-2 * (1 + sign * apart))
                )
                for name, part, sign in (("a", slice(0, 3), 1), ("b", slice(3, 6), -1))
            }
            found = jax_core.lif_projections(
                projections, tau_mem=tau_mem, max_spikes=ROOM, t_max=END
            )
            np.testing.assert_allclose(found, expected, rtol=1e-10)


class VI(NamedTuple):
    v: jax.Array
    i: jax.Array


class Found(NamedTuple):
    exists: jax.Array


@partial(jax.tree_util.register_dataclass, data_fields=["tau_syn", "threshold"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class NonLeaky(jax_core.Neuron[VI]):
    """``dV/dt = I / tau_syn``, ``tau_syn dI/dt = -I``, with a reset by subtraction."""

    tau_syn: jax.Array | float
    threshold: jax.Array | float

    def start(self):
        return VI(jnp.zeros(()), jnp.zeros(()))

    def flow(self, u):
        return jnp.exp(-u / self.tau_syn)

    def go(self, state, flow):
        return VI(state.v + (1 - flow) * state.i, flow * state.i)

    def receive(self, state, drive, port):
        return state._replace(i=state.i + drive)

    def excess(self, state):
        return state.v - self.threshold

    def find(self, state, u_end, flow):
        end = jnp.where(jnp.isfinite(u_end), self.go(state, flow).v, state.v + state.i)
        return Found((state.i > 0) & (end > self.threshold))

    def solve(self, state, found):
        need = (self.threshold - state.v) / jnp.where(found.exists, state.i, 1)
        return jnp.where(found.exists, -self.tau_syn * jnp.log1p(-need), 0)

    def jump(self, state):
        return VI(state.v - self.threshold, state.i)


def test_a_model_of_ones_own_without_leak(x64):
    """V only adds up, so that all its spikes are known in closed form."""
    weight = jnp.asarray([[5.0], [2.5], [0.9]])
    spikes = jnp.asarray([[[0.01]]])
    out = jax_core.spiking(spikes, weight, NonLeaky(1e-2, 1.0), max_spikes=6)
    for n, w in enumerate([5.0, 2.5, 0.9]):
        count = int(np.ceil(w)) - 1
        expected = 0.01 - 1e-2 * np.log1p(-np.arange(1, count + 1) / w)
        np.testing.assert_allclose(out[0, n, :count], expected, rtol=1e-13)
        assert np.isinf(out[0, n, count:]).all()

    def third(weight, tau, threshold):
        found = jax_core.spiking(spikes, weight, NonLeaky(tau, threshold), max_spikes=6)
        return found[0, 0, 2]

    slopes = jax.grad(third, (0, 1, 2))(weight, jnp.asarray(1e-2), jnp.asarray(1.0))
    np.testing.assert_allclose(slopes[0][0, 0], -1e-2 * 3 / 25 / (1 - 3 / 5), rtol=1e-12)
    np.testing.assert_allclose(slopes[1], -np.log1p(-3 / 5), rtol=1e-12)
    np.testing.assert_allclose(slopes[2], 1e-2 * 3 / 5 / (1 - 3 / 5), rtol=1e-12)


def test_options_of_layers_of_any_model(x64):
    _, spikes, weight = draw(2)
    neuron = NonLeaky(1e-2, 1.0)
    whole, health, end = jax_core.spiking(
        spikes, weight, neuron, max_spikes=ROOM, t_max=0.1, return_state=True, return_health=True
    )
    assert health.silent.shape == (NEURONS,)
    half = [
        jnp.sort(jnp.where((spikes >= a) & (spikes < a + 0.05), spikes - a, jnp.inf), axis=-1)
        for a in (0.0, 0.05)
    ]
    options = {"max_spikes": ROOM, "t_max": 0.05, "return_state": True}
    first, state = jax_core.spiking(half[0], weight, neuron, **options)
    second, last = jax_core.spiking(half[1], weight, neuron, state=state, **options)
    both = jnp.sort(jnp.concatenate([first, second + 0.05], axis=-1), axis=-1)[..., :ROOM]
    np.testing.assert_allclose(both, whole, rtol=1e-11)
    for a, b in zip(jax.tree.leaves(end), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="max_spikes = 1 spikes"):
        jax_core.spiking(spikes, weight, neuron)


@partial(jax.tree_util.register_dataclass, data_fields=["tau_syn", "threshold"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class SpikesOnce(NonLeaky):
    @property
    def once(self):
        return True


def test_a_model_that_spikes_once_is_done_after_that(x64):
    _, spikes, weight = draw(3)
    several = jax_core.spiking(spikes, weight, NonLeaky(1e-2, 1.0), max_spikes=ROOM, t_max=0.1)
    options = {"t_max": 0.1, "return_state": True}
    first, state = jax_core.spiking(spikes, weight, SpikesOnce(1e-2, 1.0), **options)
    assert np.array_equal(first, several[..., :1])
    assert np.array_equal(np.isinf(state.refractory), np.isfinite(first[..., 0]))
    again = jax_core.spiking(spikes, weight, SpikesOnce(1e-2, 1.0), state=state, t_max=0.1)
    assert np.isinf(again[np.isfinite(first)]).all()


WRONG = [
    (NonLeaky, {}, TypeError, "neuron must be a Neuron"),
    (NonLeaky(np.full(3, 1e-2), 1.0), {}, ValueError, r"neuron\.tau_syn must be a number or have"),
    (NonLeaky(np.nan, 1.0), {}, ValueError, r"neuron\.tau_syn must not be NaN"),
    (NonLeaky(1e-2, 1.0), {"ports": [0, 1]}, ValueError, "ports must be whole numbers"),
    (NonLeaky(1e-2, 1.0), {"state": 3}, TypeError, "state must be the LayerState"),
    (NonLeaky(1e-2, 1.0), {"max_spikes": 0}, ValueError, "max_spikes must be >= 1"),
]


@pytest.mark.parametrize(("neuron", "options", "error", "message"), WRONG)
def test_errors_name_the_argument(x64, neuron, options, error, message):
    _, spikes, weight = draw(0)
    with pytest.raises(error, match=message):
        jax_core.spiking(spikes, weight, neuron, **options)
