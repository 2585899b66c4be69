"""Recurrent layers of any neuron: against `recurrent_lif`, feed-forward layers, and differences."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core.neuron._constants import Constants, form_of
from evtorch.jax_core.neuron._cuba_lif import CubaLIF

from .._thorough import usual
from ._neuron_models import END, INPUTS, MODELS, NEURONS, ROOM, SAMPLES, directional, draw


def network(given, seed, refractory, delayed="axonal"):
    rng, spikes, weight = draw(seed)
    recurrent = rng.normal(-0.2, 0.4, (NEURONS, NEURONS)) * given.size
    constants = given.constants(rng, refractory)
    if not refractory:
        constants["refractory"] = 0.0
    shape = (NEURONS, NEURONS) if delayed == "synaptic" else NEURONS
    delay = rng.uniform(1e-3, 8e-3, shape)
    given = spikes, weight * given.size, recurrent, constants, delay
    return rng, jax.tree.map(jnp.asarray, given)


class OfLIF:
    size = 1.5

    @staticmethod
    def constants(rng, refractory):
        return {
            "tau_mem": rng.uniform(0.008, 0.03, NEURONS),
            "tau_syn": rng.uniform(0.004, 0.02, NEURONS),
            "v_threshold": rng.uniform(0.8, 1.2, NEURONS),
            "v_leak": rng.uniform(-0.2, 0.3, NEURONS),
            "v_reset": rng.uniform(-1.0, 0.3, NEURONS),
            "refractory": rng.uniform(0.5, 1.5, NEURONS) * refractory,
        }


@pytest.mark.parametrize("delayed", [None, "axonal", "synaptic"])
@pytest.mark.parametrize("refractory", usual({0.004}, [0.0, 0.004]))
def test_a_recurrent_layer_of_lif_neurons_is_recurrent_lif(x64, refractory, delayed):
    options = {"max_spikes": ROOM, "t_max": END, "on_overflow": "truncate"}
    form = form_of(jnp.zeros(1), jnp.zeros(1), jnp.zeros(1) if refractory else 0.0)

    def of_lif(spikes, weight, recurrent, constants, delay):
        given = {"recurrent_delay": delay} if delayed else {}
        return jax_core.recurrent_lif(
            spikes, weight, recurrent, **given, **constants, form=form, **options
        )

    def of_any(spikes, weight, recurrent, constants, delay):
        neuron = CubaLIF(Constants(**constants), form)
        given = {"recurrent_delay": delay} if delayed else {}
        return jax_core.recurrent_spiking(spikes, weight, recurrent, neuron, **given, **options)

    @partial(jax.jit, static_argnums=0)
    def slopes(run, at, upstream):
        def loss(at):
            out = run(*at)
            return jnp.sum(jnp.where(jnp.isfinite(out), out * upstream, 0)), out

        return jax.grad(loss, has_aux=True)(at)

    count = 0
    for seed in range(6):
        rng, at = network(OfLIF, seed, refractory, delayed)
        upstream = rng.normal(size=(SAMPLES, NEURONS, ROOM))
        one, expected = slopes(of_lif, at, upstream)
        other, found = slopes(of_any, at, upstream)
        np.testing.assert_allclose(found, expected, rtol=1e-11)
        count += np.isfinite(expected).sum()
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            if a.ndim or refractory:
                np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    assert count > 100


@pytest.mark.parametrize("name", usual({"AlphaLIF", "DeltaLIF"}, MODELS))
def test_its_neurons_do_what_they_would_if_all_were_input(x64, name):
    """With delays, that says what a recurrent layer is: by induction in time there is one."""
    given = MODELS[name]
    for seed in range(3):
        _, (spikes, weight, recurrent, constants, delay) = network(given, seed, 0.004)
        neuron, options = given.model(**constants), {"max_spikes": ROOM, "t_max": END}
        out = jax_core.recurrent_spiking(
            spikes, weight, recurrent, neuron, recurrent_delay=delay, **options
        )
        assert np.isfinite(out).sum() > 4
        own = out + delay[:, None]
        room = ((0, 0), (0, 0), (0, ROOM - spikes.shape[-1]))
        heard = jnp.concatenate([jnp.pad(spikes, room, constant_values=jnp.inf), own], axis=1)
        both = jnp.concatenate([weight, recurrent], axis=1)
        assert heard.shape[1] == INPUTS + NEURONS
        expected = jax_core.spiking(heard, both, neuron, **options)
        np.testing.assert_allclose(out, expected, rtol=1e-11)


@pytest.mark.parametrize("name", usual({"DeltaLIF"}, MODELS))
def test_with_delays_of_connections_too(x64, name):
    given = MODELS[name]
    for seed in range(3):
        _, (spikes, weight, recurrent, constants, delay) = network(given, seed, 0.004, "synaptic")
        neuron, options = given.model(**constants), {"max_spikes": ROOM, "t_max": END}
        # Two neurons hear each spike in the same moment.
        delay = delay.at[1].set(delay[0])
        out = jax_core.recurrent_spiking(
            spikes, weight, recurrent, neuron, recurrent_delay=delay, **options
        )
        assert np.isfinite(out).sum() > 4
        room = ((0, 0), (0, 0), (0, ROOM - spikes.shape[-1]))
        heard = jnp.concatenate([jnp.pad(spikes, room, constant_values=jnp.inf), out], axis=1)
        both = jnp.concatenate([weight, recurrent], axis=1)
        later = jax_core.SynapticDelays(jnp.concatenate([0 * weight, delay], axis=1))
        expected = jax_core.spiking(heard, both, neuron, connections=later, **options)
        np.testing.assert_allclose(out, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("name", "delayed"),
    usual(
        [("AlphaLIF", None), ("IF", "axonal"), ("DeltaLIF", None), ("DeltaLIF", "synaptic")],
        product(MODELS, [None, "axonal", "synaptic"]),
    ),
)
def test_gradients_equal_finite_differences(x64, name, delayed):
    given, checked = MODELS[name], 0

    @jax.jit
    def run(at, upstream):
        spikes, weight, recurrent, constants, delay = at
        options = {"recurrent_delay": delay} if delayed else {}
        out = jax_core.recurrent_spiking(
            spikes,
            weight,
            recurrent,
            given.model(**constants),
            max_spikes=ROOM,
            t_max=END,
            on_overflow="truncate",
            **options,
        )
        return jnp.sum(jnp.where(jnp.isfinite(out), out * upstream, 0)), out

    for seed in range(3):
        rng, at = network(given, seed, 0.004, delayed)
        upstream = rng.normal(size=(SAMPLES, NEURONS, ROOM))
        gradient, out = jax.grad(run, has_aux=True)(at, upstream)
        assert np.isfinite(out).any()
        for path, leaf in jax.tree_util.tree_leaves_with_path(at):
            checked += directional(partial(run, upstream=upstream), rng, at, gradient, path, leaf)
    assert checked >= 15


def test_a_spike_may_set_off_others_in_the_same_moment(x64):
    """Delta synapses: a chain of neurons, each of which lifts the next over its threshold."""
    spikes = jnp.asarray([[[0.01, 0.03]]])
    weight = jnp.asarray([[1.5], [0.0], [0.0]])
    recurrent = jnp.asarray([[0.0, 0, 0], [1.5, 0, 0], [0, 1.5, 0]])

    def run(spikes, delay=None):
        neuron = jax_core.DeltaLIF()
        given = {"max_spikes": 3, "recurrent_delay": delay}
        return jax_core.recurrent_spiking(spikes, weight, recurrent, neuron, **given)

    assert np.array_equal(run(spikes)[0, :, :2], np.broadcast_to([0.01, 0.03], (3, 2)))
    slope = jax.grad(lambda x: run(x)[0, :, 0].sum())(spikes)
    np.testing.assert_array_equal(slope[0, 0], [3.0, 0.0])
    delay = jnp.asarray([1e-3, 2e-3, 0.0])
    np.testing.assert_allclose(run(spikes, delay)[0, :, 0], [0.01, 0.011, 0.013], rtol=1e-15)
    slope = jax.grad(lambda x: run(spikes, x)[0, 2, 1])(delay)
    np.testing.assert_array_equal(slope, [1.0, 1.0, 0.0])


def test_its_errors_name_the_argument():
    spikes, weight = np.zeros((1, 1, 1), np.float32), np.ones((2, 1), np.float32)
    recurrent, neuron = np.zeros((2, 2), np.float32), jax_core.IF()
    with pytest.raises(ValueError, match="recurrent_weight must"):
        jax_core.recurrent_spiking(spikes, weight, recurrent[:1], neuron)
    given = {"recurrent_delay": recurrent, "t_max": 1.0, "return_state": True}
    with pytest.raises(ValueError, match="state and return_state do not go with delays of conn"):
        jax_core.recurrent_spiking(spikes, weight, recurrent, neuron, **given)
    with pytest.raises(TypeError, match="neuron must be a Neuron"):
        jax_core.recurrent_spiking(spikes, weight, recurrent, jax_core.IF)
    with pytest.raises(ValueError, match="max_spikes = 1 spikes, and their samples end there"):
        jax_core.recurrent_spiking(spikes, 5 * weight, recurrent, neuron)
