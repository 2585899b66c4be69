"""Quadratic integrate-and-fire neurons: against an integrator, and continuity of all they do."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual
from ..reference._quadratic_neuron import QuadraticNeuron

SAMPLES, INPUTS, NEURONS, SPIKES, END = 2, 4, 5, 3, 0.1
CONSTANTS = ("tau_mem", "current", "v_start")


def draw(seed, current):
    """Input, some of it after the end, weights and constants."""
    rng = np.random.default_rng(seed)
    spikes = np.sort(rng.uniform(0, 1.3 * END, (SAMPLES, INPUTS, SPIKES)), axis=-1)
    spikes = np.sort(np.where(rng.random(spikes.shape) < 0.2, np.inf, spikes), axis=-1)
    constants = {
        "tau_mem": rng.uniform(0.01, 0.03, NEURONS),
        "current": current + rng.uniform(-0.2, 0.2, NEURONS),
        "v_start": rng.uniform(-0.5, 0.5, NEURONS),
    }
    return rng, spikes, rng.normal(0.4, 0.9, (NEURONS, INPUTS)), constants


def layer(spikes, weight, constants, pseudospikes, max_spikes):
    neuron = jax_core.QIF(**constants, pseudospikes=pseudospikes)
    return jax_core.spiking(
        spikes, weight, neuron, max_spikes=max_spikes, t_max=END, return_health=True
    )


@pytest.mark.parametrize("pseudospikes", [False, True])
@pytest.mark.parametrize("current", usual({0.0, 1.5}, [0.0, 0.25, 1.5]))
def test_spikes_equal_those_of_an_integrator(x64, current, pseudospikes):
    within, room = 0, 14
    for seed in range(2):
        _, spikes, weight, constants = draw(seed, current)
        arrays = jax.tree.map(jnp.asarray, (spikes, weight, constants))
        out, health = layer(*arrays, pseudospikes, room)
        silent = np.zeros(NEURONS, int)
        for sample in range(SAMPLES):
            for n in range(NEURONS):
                own = {name: float(x[n]) for name, x in constants.items()}
                times = [(t, weight[n, i]) for i, row in enumerate(spikes[sample]) for t in row]
                events = sorted(event for event in times if np.isfinite(event[0]))
                expected = QuadraticNeuron(**own).spikes(events, END, room if pseudospikes else 0)
                found = np.asarray(out[sample, n])
                found = found[np.isfinite(found)]
                assert len(found) == len(expected)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
                silent[n] += not np.any(found <= END)
                within += np.sum(found <= END)
        assert np.array_equal(health.silent, silent)
        assert not health.overflow.any()
    assert within > 20


def test_constants_at_which_forms_meet(x64):
    """Where the current is 1/4, and around it, spikes do not notice."""
    spikes, weight = jnp.asarray([[[0.01, 0.03]]]), jnp.full((5, 1), 0.9)
    currents = 0.25 + jnp.asarray([-1e-9, -1e-12, 0, 1e-12, 1e-9])

    def run(current):
        neuron = jax_core.QIF(current=current, pseudospikes=True)
        return jax_core.spiking(spikes, weight, neuron, max_spikes=3, t_max=END)

    out = run(currents)
    assert float(jnp.ptp(out, axis=1).max()) < 1e-8
    slopes = jax.vjp(run, currents)[1](jnp.zeros((1, 5, 3)).at[..., 1].set(1))[0]
    np.testing.assert_allclose(slopes, slopes[2], rtol=1e-6)


def two_layers(spikes, first, second, constants, room=3):
    neuron = jax_core.QIF(**constants, pseudospikes=True)
    options = {"max_spikes": room, "t_max": END, "on_overflow": "truncate"}
    hidden = jax_core.spiking(spikes, first, neuron, **options)
    return hidden, jax_core.spiking(hidden, second, neuron, **options)


@pytest.mark.parametrize("current", [0.0, 0.6])
def test_gradients_equal_finite_differences(x64, current):
    """Of two layers, with respect to everything, wherever spikes are."""
    checked = 0

    @jax.jit
    def loss(at, upstream):
        return sum(jnp.sum(x * g) for x, g in zip(two_layers(**at), upstream, strict=True))

    differentiate = jax.jit(jax.grad(loss))
    for seed in range(6):
        rng, spikes, first, constants = draw(seed, current)
        at = {
            "spikes": jnp.asarray(spikes),
            "first": jnp.asarray(first),
            "second": jnp.asarray(rng.normal(0.3, 0.7, (NEURONS, NEURONS))),
            "constants": jax.tree.map(jnp.asarray, constants),
        }
        upstream = [rng.normal(size=(SAMPLES, NEURONS, 3)) for _ in range(2)]
        run, gradient = partial(loss, upstream=upstream), differentiate(at, upstream)
        for path, leaf in jax.tree_util.tree_leaves_with_path(at):
            checked += 1
            directional(run, rng, at, gradient, path, leaf)
    assert checked == 36


def directional(run, rng, at, gradient, path, leaf):
    finite = jnp.isfinite(leaf)
    move = jnp.where(finite, rng.normal(size=leaf.shape) * jnp.abs(jnp.where(finite, leaf, 0)), 0)

    def moved(h):
        return run(
            jax.tree_util.tree_map_with_path(lambda p, x: x + h * move if p == path else x, at)
        )

    h = 1e-5
    # Of fourth order, as derivatives of some are steep.
    near, far = moved(h) - moved(-h), moved(2 * h) - moved(-2 * h)
    expected = (8 * near - far) / (12 * h)
    terms = jnp.where(finite, dict(jax.tree_util.tree_leaves_with_path(gradient))[path] * move, 0)
    scale = float(jnp.sum(jnp.abs(terms)))
    np.testing.assert_allclose(jnp.sum(terms), expected, rtol=0, atol=1e-6 * scale + 1e-9)


def test_spikes_and_gradients_are_continuous_through_the_end(x64):
    """Weights that let spikes of both layers leave and enter the trial: nothing jumps.

    Where times or gradients change most between neighbours, they change little between closer ones.
    """
    _, spikes, first, constants = draw(3, 0.0)
    arrays = jax.tree.map(jnp.asarray, (spikes, first, constants))
    rng = np.random.default_rng(1)
    second = jnp.asarray(rng.normal(0.6, 1.4, (NEURONS, NEURONS)))
    direction = jnp.asarray(rng.normal(size=first.shape))

    def run(a):
        return two_layers(arrays[0], arrays[1] + a * direction, second, arrays[2])

    both = jax.jit(jax.vmap(lambda a: (*run(a), *jax.jacfwd(run)(a))))
    everywhere = jnp.linspace(-1, 1, 1001)
    found = both(everywhere)
    assert all(np.isfinite(x).all() for x in found)
    for times in found[:2]:
        assert np.sum((times[1:] <= END) != (times[:-1] <= END)) > 5
    for which in range(4):
        at, values = everywhere, found[which]
        for _ in range(3):
            steps = np.abs(np.diff(values, axis=0)).reshape(1000, -1)
            place = steps.max(axis=1).argmax()
            at = jnp.linspace(at[place], at[place + 1], 1001)
            values = both(at)[which]
        last = np.abs(np.diff(values, axis=0)).max()
        assert last < 1e-5 * np.abs(found[which]).max()


def test_a_first_spike_moves_through_the_end(x64):
    """One input of growing weight: ordinary, then pseudospike, with one derivative."""
    spikes, tau = jnp.asarray([[[0.01]]]), 0.02
    neuron = jax_core.QIF(tau, pseudospikes=True)

    def first(weight):
        return jax_core.spiking(spikes, weight[None, None], neuron, t_max=END)[0, 0, 0]

    # V after the input is w: it diverges within the rest of the trial where w/(w - 1) < exp(rest).
    rest = np.exp((END - 0.01) / tau)
    edge = rest / (rest - 1)
    near = edge + jnp.asarray([-1e-9, 1e-9])
    below, above = (first(w) for w in near)
    assert above < END < below
    assert float(below - above) < 1e-5
    slopes = [jax.grad(first)(w) for w in near]
    np.testing.assert_allclose(slopes, -tau / (edge * (edge - 1)), rtol=1e-5)
    np.testing.assert_allclose(first(edge + 0.5), 0.01 + tau * np.log((edge + 0.5) / (edge - 0.5)))
    silent = first(jnp.asarray(0.0))
    phase = np.arctan2(1.0, 0.5)
    np.testing.assert_allclose(silent, END + tau * (np.pi - phase), rtol=1e-14)
    assert jax.grad(first)(jnp.asarray(0.0)) < 0


def test_too_many_spikes_are_those_within_the_trial():
    spikes = np.full((1, 1, 1), 0.01, np.float32)
    weight = np.full((2, 1), 1.5, np.float32)
    neuron = jax_core.QIF(1e-2, current=np.float32([0.0, 4.0]), pseudospikes=True)
    options = {"t_max": 0.1, "max_spikes": 2}
    with pytest.raises(ValueError, match="more than max_spikes = 2"):
        jax_core.spiking(spikes, weight, neuron, **options)
    out, health = jax_core.spiking(
        spikes, weight, neuron, **options, on_overflow="truncate", return_health=True
    )
    assert np.array_equal(health.overflow, [0, 1])
    assert out[0, 0, 1] > 0.1 > out[0, 1, 1]
    empty = jax_core.spiking(np.zeros((3, 0, 1), np.float32), weight[:, :0], neuron, t_max=1e-3)
    assert np.isfinite(empty).all()


def test_voltages(x64):
    _, spikes, weight, constants = draw(0, 0.0)
    arrays = jax.tree.map(jnp.asarray, (spikes, weight))
    for pseudospikes in (False, True):
        neuron = jax_core.QIF(**constants, pseudospikes=pseudospikes)
        options = {"max_spikes": 6, "t_max": END}
        out = jax_core.spiking(*arrays, neuron, **options)
        times = jnp.linspace(0, 1.5 * END, 40)
        v = jax_core.spiking_trace(*arrays, neuron, times, **options)
        again = jax_core.spiking_trace(*arrays, neuron, times, output=out, **options)
        np.testing.assert_array_equal(again, v)
        np.testing.assert_allclose(v[0, :, 0], constants["v_start"])
        # The slope of the voltage is that of its equation, where it is moderate.
        h = 1e-7
        late = jax_core.spiking_trace(*arrays, neuron, times + h, output=out, **options)
        current = np.where(times < END, constants["current"][:, None], 1.25 if pseudospikes else 0)
        expected = (v * (v - 1) + current) / constants["tau_mem"][:, None]
        seen = (np.abs(v) < 5) & ((times < END) | pseudospikes)
        assert seen.sum() > 100
        np.testing.assert_allclose(((late - v) / h)[seen], expected[seen], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tau_mem": 0.0}, "tau_mem must be > 0"),
        ({"current": np.float32([0.1, np.inf])}, r"current.* must be finite"),
        ({"v_start": np.inf}, "v_start must be finite"),
        ({"pseudospikes": True}, "t_max must be finite with pseudospikes=True"),
    ],
)
def test_bad_settings_are_refused_by_name(wrong, message):
    spikes, weight = np.zeros((1, 1, 1), np.float32), np.ones((2, 1), np.float32)
    with pytest.raises(ValueError, match=message):
        jax_core.spiking(spikes, weight, jax_core.QIF(**wrong))


def test_pseudospikes_have_no_state():
    spikes, weight = np.zeros((1, 1, 1), np.float32), np.ones((2, 1), np.float32)
    neuron = jax_core.QIF(pseudospikes=True)
    with pytest.raises(ValueError, match="return_state=True is not for neurons with pseudospikes"):
        jax_core.spiking(spikes, weight, neuron, t_max=1.0, return_state=True)
