"""Voltages of recurrent layers, and of neurons whose spikes are given."""

import jax
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual
from ..reference import RecurrentRun, state_at
from ._recurrent_layers import (
    INPUTS,
    NETWORKS,
    NEURONS,
    OPTIONS,
    Recurrent,
    random_recurrent,
    with_delays_of_connections,
)

LOOKS = np.random.default_rng(51).uniform(0, 6, 40)


def voltage(layers: Recurrent, run: RecurrentRun, network: int, post: int, look: float) -> float:
    """The voltage of one neuron, from event to event, given all spikes of the run."""
    neuron = layers.networks.neuron(network, post)
    delays, later = np.zeros(NEURONS), np.zeros(INPUTS)
    if layers.recurrent_delay is not None:
        delays = np.broadcast_to(layers.recurrent_delay[network], (NEURONS, NEURONS))[post]
    if layers.input_delay is not None:
        later = layers.input_delay[network, post]
    arrivals = [
        (t + delay, weight)
        for row, weight, delay in zip(
            layers.networks.spikes[network],
            layers.networks.weight[network, post],
            later,
            strict=True,
        )
        for t in row
    ]
    for i, own in enumerate(run.spikes):
        arrivals += [(t + delays[i], layers.recurrent_weight[network, post, i]) for t in own]
    return state_at(neuron, arrivals, run.spikes[post], look)[0]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("delayed", usual({None, "connections"}, [None, "neurons", "connections"]))
def test_trace_equals_the_reference_voltage(delayed):
    layers = random_recurrent(seed=52, delayed=delayed == "neurons")
    if delayed == "connections":
        layers = with_delays_of_connections(layers, 53)
    runs = [layers.run(network) for network in range(NETWORKS)]

    def trace(arguments):
        delay = arguments.get("input_delay")
        connections = None if delay is None else jax_core.SynapticDelays(delay)
        others = {name: value for name, value in arguments.items() if name != "input_delay"}
        options = {**OPTIONS, "connections": connections}
        return jax_core.recurrent_lif_trace(**others, times=LOOKS, **options)

    found = np.asarray(jax.jit(jax.vmap(trace))(layers.arguments))
    compared = [network for network, run in enumerate(runs) if not run.overflow]
    assert len(compared) > 20
    for network in compared:
        expected = [
            [voltage(layers, runs[network], network, post, t) for t in LOOKS]
            for post in range(NEURONS)
        ]
        np.testing.assert_allclose(found[network], expected, rtol=1e-9, atol=1e-9)


def layer(rng: np.random.Generator, neurons: int = 4) -> dict:
    return {
        "spikes": np.sort(rng.uniform(0, 2, (5, 3, 2))),
        "weight": rng.normal(2, 2, (neurons, 3)),
        "tau_mem": rng.uniform(1, 2, neurons),
        "tau_syn": rng.uniform(0.5, 1, neurons),
        "v_leak": rng.uniform(-0.2, 0.2, neurons),
        "refractory": rng.uniform(0, 0.2, neurons),
    }


@pytest.mark.usefixtures("x64")
def test_trace_of_observed_spikes_is_that_of_the_simulation_with_these_spikes(rng):
    given, options = layer(rng), {"max_spikes": 12}
    own = jax_core.lif(**given, **options)
    assert np.isfinite(own).any(axis=(0, 2)).all()
    looks = rng.uniform(0, 4, (5, 30))

    def simulated(given):
        return jax_core.lif_trace(**given, times=looks, **options)

    def observed(given):
        own = jax_core.lif(**given, **options)
        return jax_core.lif_observed_trace(**given, observed=own, times=looks)

    expected, pull_back = jax.vjp(simulated, given)
    actual, pull_back_observed = jax.vjp(observed, given)
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)
    cotangent = rng.normal(size=expected.shape)
    ours, theirs = pull_back_observed(cotangent)[0], pull_back(cotangent)[0]
    for name in given:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("x64")
def test_neurons_are_reset_where_they_were_observed_to_spike(rng):
    given = layer(rng) | {"refractory": 0.3}
    observed = np.sort(rng.uniform(0, 2, (5, 4, 2)))
    voltages = [
        jax_core.lif_observed_trace(**given, observed=observed, times=observed[:, 0, :1] + later)
        for later in (0.0, 0.25)
    ]
    for at in voltages:
        np.testing.assert_array_equal(at[:, 0], 0.0)
    no_spikes = observed[..., :0]
    at = jax_core.lif_observed_trace(**given, observed=no_spikes, times=np.ones(1))
    never = jax_core.lif_trace(**given | {"v_threshold": 1e3}, times=np.ones(1))
    np.testing.assert_allclose(at, never, rtol=1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("delays", usual([[3, 3]], [[3], [3, 3]]), ids=["neurons", "connections"])
def test_gradients_of_the_recurrent_trace_equal_finite_differences(rng, delays):
    given = layer(rng, 3) | {
        "recurrent_weight": rng.normal(0, 1.5, (3, 3)),
        "recurrent_delay": rng.uniform(0.1, 0.4, delays),
    }
    looks = np.linspace(0.05, 3, 9)
    cotangent = rng.normal(size=(5, 3, 9))

    @jax.jit
    def look(given):
        def loss(given):
            trace = jax_core.recurrent_lif_trace(
                **given, times=looks, max_spikes=30, on_overflow="truncate"
            )
            return (trace * cotangent).sum()

        return jax.value_and_grad(loss)(given)

    _, gradients = look(given)
    step = 1e-6
    for name, value in given.items():
        direction = rng.normal(size=value.shape)
        ends = [look(given | {name: value + s * step * direction})[0] for s in (1, -1)]
        along = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose((gradients[name] * direction).sum(), along, rtol=1e-6)


def test_bad_observed_spikes_are_named(rng):
    given = {name: np.float32(value) for name, value in layer(rng).items()}
    looks = np.float32([1.0])
    for observed, message in [
        (np.zeros((5, 3, 1), np.float32), "observed"),
        (np.zeros((4, 4, 1), np.float32), "leading dimensions"),
        (np.float32([2.0, 1.0]) * np.ones((5, 4, 2), np.float32), "ascend"),
    ]:
        with pytest.raises(ValueError, match=message):
            jax_core.lif_observed_trace(**given, observed=observed, times=looks)
