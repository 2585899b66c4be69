"""Voltages and currents at given times: values, precision, gradients and cost of the walk."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core.walk import _walk

from .._thorough import usual
from ..reference import Neuron, state_at

INF = math.inf
SAMPLES, INPUTS, NEURONS, LOOKS = 3, 4, 6, 25


def observation(rng: np.random.Generator) -> dict:
    """Neurons of all kinds, with own spikes at any time, some within a refractory period.

    Ratios of the time constants are 1, next to it and others; one neuron's leak is above threshold,
    one has no refractory period and one never leaves it.
    """
    spikes = np.sort(rng.uniform(0, 3, (SAMPLES, INPUTS, 5)))
    spikes[..., 3:][rng.uniform(size=(SAMPLES, INPUTS, 2)) < 0.5] = INF
    observed = np.sort(rng.uniform(0, 3, (SAMPLES, NEURONS, 4)))
    observed[..., 2:][rng.uniform(size=(SAMPLES, NEURONS, 2)) < 0.3] = INF
    tau_syn = rng.uniform(0.2, 1.5, NEURONS)
    return {
        "spikes": np.sort(spikes),
        "weight": rng.normal(1, 2, (NEURONS, INPUTS)),
        "observed": np.sort(observed),
        "tau_mem": tau_syn * [1, 1 + 1e-9, 2, 0.4, 1.7, 3.1],
        "tau_syn": tau_syn,
        "v_leak": np.array([0.1, 1.3, 0, 0.2, -0.1, 0]),
        "v_reset": np.array([0, -0.3, 0, 0.1, -0.2, -5.0]),
        "refractory": np.array([0, 0.3, 0.6, 0.2, INF, 0]),
    }


def expected(given: dict, looks: np.ndarray) -> np.ndarray:
    """Voltages and currents ``(2, samples, neurons, looks)``."""
    found = np.empty((2, SAMPLES, NEURONS, looks.shape[-1]))
    names = ("tau_mem", "tau_syn", "v_leak", "v_reset", "refractory")
    for sample, neuron, look in np.ndindex(found.shape[1:]):
        constants = {name: given[name][neuron] for name in names}
        arrivals = [
            (t, w)
            for row, w in zip(given["spikes"][sample], given["weight"][neuron], strict=True)
            for t in row
        ]
        found[:, sample, neuron, look] = state_at(
            Neuron(**constants), arrivals, given["observed"][sample, neuron], looks[sample, look]
        )
    return found


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("as_events", [False, True], ids=["times", "events"])
def test_states_of_observed_neurons_equal_the_reference(rng, as_events):
    given = observation(rng)
    looks = rng.uniform(0, 4, (SAMPLES, LOOKS))
    # At the very time of an input, of an own spike, and at the start, in no order.
    looks[:, 3], looks[:, 8], looks[:, 12] = given["spikes"][:, 1, 1], given["observed"][:, 2, 0], 0
    spikes = jax_core.events_from_spike_times(given["spikes"]) if as_events else given["spikes"]
    arguments = {**given, "spikes": spikes, "times": looks}
    voltage = jax_core.lif_observed_trace(**arguments)
    current = jax_core.lif_observed_trace(**arguments, quantity="current")
    wanted = expected(given, looks)
    np.testing.assert_allclose(voltage, wanted[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(current, wanted[1], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(voltage[:, 2, 8], given["v_reset"][2])


def flat(given: dict, looks: np.ndarray, quantity: _walk.Quantity = "voltage"):
    observed = jax_core.lif_observed_trace(**given, times=looks, quantity=quantity)
    return (
        observed * jnp.cos(jnp.arange(observed.size, dtype=observed.dtype)).reshape(observed.shape)
    ).sum()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("quantity", ["voltage", "current"])
def test_gradients_equal_finite_differences_and_those_of_forward_mode(rng, quantity):
    given = observation(rng) | {"refractory": rng.uniform(0.1, 0.3, NEURONS)}
    given = jax.tree.map(jnp.asarray, given | {"looks": rng.uniform(0, 4, (SAMPLES, LOOKS))})

    def loss(given):
        return flat({k: v for k, v in given.items() if k != "looks"}, given["looks"], quantity)

    loss = jax.jit(loss)
    gradients = jax.grad(loss)(given)
    step = 1e-6
    for name, value in given.items():
        direction = rng.normal(size=value.shape)
        ends = [loss(given | {name: value + s * step * direction}) for s in (1, -1)]
        along = (ends[0] - ends[1]) / (2 * step)
        slope = np.where(np.isfinite(value), gradients[name], 0) * direction
        np.testing.assert_allclose(slope.sum(), along, rtol=1e-6, atol=1e-7)
        assert np.all(gradients[name][~np.isfinite(value)] == 0)
    tangent = {name: rng.normal(size=value.shape) for name, value in given.items()}
    pairs = jax.tree.map(lambda g, d: np.sum(g * d), gradients, tangent)
    _, forward = jax.jvp(loss, (given,), (tangent,))
    np.testing.assert_allclose(forward, sum(pairs.values()), rtol=1e-10)


@pytest.mark.usefixtures("x64")
def test_second_derivatives_in_times_equal_finite_differences(rng):
    given = observation(rng)
    looks = rng.uniform(0, 4, (SAMPLES, LOOKS))
    slope = jax.jit(jax.grad(lambda x: flat(given | {"spikes": x[0]}, x[1])))
    at = jnp.asarray(given["spikes"]), jnp.asarray(looks)
    direction = tuple(rng.normal(size=x.shape) for x in at)
    _, curvature = jax.jvp(slope, (at,), (direction,))
    ends = [slope(jax.tree.map(lambda x, d, s=s: x + s * d, at, direction)) for s in (1e-6, -1e-6)]
    for found, high, low in zip(curvature, *ends, strict=True):
        np.testing.assert_allclose(found, (high - low) / 2e-6, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_chunks_and_groups_of_samples_change_nothing(rng, monkeypatch):
    given = observation(rng)
    constants = {name: jnp.asarray(given[name]) for name in ("tau_mem", "tau_syn", "refractory")}
    neurons = _walk.Neurons(**constants, start=jnp.zeros(6), reset=jnp.asarray(given["v_reset"]))
    time = jnp.asarray(given["spikes"].reshape(SAMPLES, -1))
    source = jnp.broadcast_to(jnp.repeat(jnp.arange(INPUTS), 5), time.shape)
    looks = jnp.asarray(rng.uniform(0, 4, (SAMPLES, LOOKS)))

    def run():
        def states(time, weight, own, looks, neurons):
            return _walk.walk(time, source, weight, own, looks, neurons, "voltage")

        arguments = time, jnp.asarray(given["weight"]), jnp.asarray(given["observed"]), looks
        found, pull_back = jax.vjp(jax.jit(states), *arguments, neurons)
        return found, pull_back(jnp.cos(jnp.arange(found.size)).reshape(found.shape))

    whole = run()
    # Several chunks of two samples, the last chunk and the last group filled up.
    monkeypatch.setattr(_walk, "_CHUNK_SIZE", 7 * NEURONS * 2)
    monkeypatch.setattr(_walk, "_GROUP_SIZE", (20 + LOOKS) * NEURONS * 2)
    for part, all_at_once in zip(jax.tree.leaves(run()), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(part, all_at_once, rtol=1e-12, atol=1e-13)


def test_float32_is_accurate_in_microseconds_too(rng):
    """Many events: gradients must not be differences of sums over all of them."""
    inputs, neurons, unit = 30, 5, 1e-6
    spikes = np.sort(rng.uniform(0, 20, (inputs, 60))) * unit
    given = {
        "spikes": spikes,
        "weight": rng.normal(0.1, 0.3, (neurons, inputs)),
        "observed": np.sort(rng.uniform(0, 20, (neurons, 9))) * unit,
        "tau_mem": rng.uniform(1, 2, neurons) * unit,
        "tau_syn": np.full(neurons, 1 * unit),
        "refractory": np.full(neurons, 0.3 * unit),
    }
    looks = rng.uniform(0, 21, 200) * unit
    given, looks = jax.tree.map(np.float32, (given, looks))

    def run(cast):
        found, pull_back = jax.vjp(
            lambda given, looks: jax_core.lif_observed_trace(**given, times=looks),
            *jax.tree.map(cast, (given, looks)),
        )
        return found, pull_back(jnp.ones_like(found))

    single = run(jnp.float32)
    with jax.enable_x64(True):
        double = run(jnp.float64)
    for ours, exact in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-5 * np.abs(exact).max())


def test_nan_stays_visible(rng):
    given = jax.tree.map(jnp.float32, observation(rng))
    looks = jnp.linspace(0, 4, LOOKS, dtype=jnp.float32)

    def lost(name, at):
        arguments = given | {"times": looks}
        arguments[name] = arguments[name].at[at].set(jnp.nan)
        return np.isnan(jax_core.lif_observed_trace(**arguments, validate=False))

    sample = np.arange(SAMPLES)[:, None, None] == 1
    neuron = np.arange(NEURONS)[:, None] == 2
    everywhere = np.ones((SAMPLES, NEURONS, LOOKS), bool)
    np.testing.assert_array_equal(lost("spikes", (1, 2, 0)), sample & everywhere)
    np.testing.assert_array_equal(lost("observed", (1, 2, 0)), sample & neuron & everywhere)
    np.testing.assert_array_equal(lost("times", 4), (np.arange(LOOKS) == 4) & everywhere)
    assert lost("weight", (3, 1))[:, 3, -1].all()


@pytest.mark.usefixtures("x64")
def test_output_of_the_forward_saves_the_simulation(rng):
    given = {name: rng.uniform(0.5, 3, shape) for name, shape in SHAPES.items()}
    given["spikes"].sort()
    looks = rng.uniform(0, 4, 9)
    options = {"max_spikes": 15, "refractory": 0.1}
    layers = {
        "lif": (jax_core.lif, jax_core.lif_trace, {}),
        "recurrent": (
            jax_core.recurrent_lif,
            jax_core.recurrent_lif_trace,
            {"recurrent_weight": rng.normal(0, 0.5, (3, 3)), "recurrent_delay": 0.2},
        ),
    }
    for layer, trace, more in layers.values():
        output = layer(**given, **more, **options)
        for quantity in ("voltage", "current"):
            asked = {"times": looks, "quantity": quantity, **more}
            simulated = trace(**given, **asked, **options)
            # These options would lose spikes, were there a simulation.
            settings = {"max_spikes": 1, "t_max": 0.1, "refractory": 0.1}
            found = trace(**given, **asked, **settings, output=output)
            np.testing.assert_allclose(found, simulated, rtol=1e-13, atol=1e-13)


SHAPES = {"spikes": (2, 4, 2), "weight": (3, 4), "tau_mem": (3,)}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("shared", usual({False}, [False, True]), ids=["per neuron", "shared"])
def test_many_looks_at_leaky_integrators_equal_a_few_at_a_time(rng, shared):
    spikes = np.sort(rng.uniform(0, 2, (2, 3, 4)))
    spikes[0, 1, 2:] = INF
    weight = rng.normal(size=(5, 3))
    taus = {"tau_mem": 0.7, "tau_syn": 0.4} if shared else {"tau_mem": rng.uniform(0.3, 2, 5)}
    looks = rng.uniform(0, 3, (2, 72))

    def states(spikes, weight, looks, quantity):
        options = {"v_leak": 0.3, "quantity": quantity, **taus}
        return jax_core.li_value(spikes, weight, looks, **options)

    for quantity in ("voltage", "current"):

        def few(spikes, weight, looks, quantity=quantity):
            parts = jnp.moveaxis(looks.reshape(2, 9, 8), 1, 0)
            found = jax.lax.map(lambda part: states(spikes, weight, part, quantity), parts)
            return jnp.moveaxis(found, 0, 2).reshape(2, 5, 72)

        def many(spikes, weight, looks, quantity=quantity):
            return states(spikes, weight, looks, quantity)

        arguments = jnp.asarray(spikes), jnp.asarray(weight), jnp.asarray(looks)
        cotangent = rng.normal(size=(2, 5, 72))
        results = []
        for run in (few, many):
            found, pull_back = jax.vjp(jax.jit(run), *arguments)
            results.append((found, *pull_back(jnp.asarray(cotangent))))
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-11)


def test_what_is_asked_for_must_be_known():
    given = jnp.zeros((2, 1)), jnp.ones((3, 2)), jnp.ones(4)
    for trace in (jax_core.lif_trace, jax_core.li_value):
        with pytest.raises(ValueError, match='quantity must be "voltage" or "current"'):
            trace(*given, quantity="charge")
    for output, error, message in [
        (jnp.zeros((2, 1)), ValueError, "output of shape .* 3 are expected"),
        (jnp.zeros((1, 3, 1)), ValueError, "output of shape .* leading dimensions"),
        (jnp.array([[[0.2, 0.1]] * 3])[0], ValueError, "output must ascend"),
    ]:
        with pytest.raises(error, match=message):
            jax_core.lif_trace(*given, output=output)
    with pytest.raises(TypeError, match="output is float64"), jax.enable_x64(True):
        jax_core.lif_trace(*given, output=np.zeros((3, 1)))


def test_memory_of_a_gradient_grows_with_events_plus_looks(rng):
    """A thousand looks at a hundred neurons: not with their product."""
    neurons, inputs, room = 100, 100, 40
    spikes = np.cumsum(rng.exponential(5e-3, (inputs, room)), axis=-1)
    spikes = jnp.asarray(np.where(spikes < 0.1, spikes, INF), jnp.float32)
    weight = jnp.asarray(rng.normal(0.08, 0.08, (neurons, inputs)), jnp.float32)
    looks = jnp.linspace(0, 0.1, 1000)
    output = jnp.full((neurons, room), INF, jnp.float32)

    def total(weight):
        options = {"tau_mem": jnp.full(neurons, 2e-2), "max_spikes": room}
        return jax_core.lif_trace(spikes, weight, looks, output=output, **options).sum()

    memory = jax.jit(jax.grad(total)).lower(weight).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 40 * 4 * neurons * (inputs * room + len(looks))
