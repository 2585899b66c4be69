"""Neurons that are integrated: against a closed form, an integrator and finite differences."""

import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from evtorch import jax_core

from .._thorough import usual

SAMPLES, INPUTS, NEURONS, SPIKES, END = 2, 4, 3, 3, 0.08


class State(NamedTuple):
    v: Any
    i: Any


def lif_flow(state, c):
    return State((state.i - state.v) / c["tau_mem"], -state.i / c["tau_syn"])


def lif_threshold(state, c):
    return state.v - c["v_threshold"]


def to_zero(state, c):
    return State(0.0, state.i)


LIF = {"flow": lif_flow, "threshold": lif_threshold, "jump": to_zero, "start": State(0.0, 0.0)}


def eif_flow(state, c):
    upstroke = c["sharpness"] * jnp.exp((state["v"] - 1) / c["sharpness"])
    return {"v": (upstroke - state["v"] + state["i"]) / 2e-2, "i": -state["i"] / c["tau_syn"]}


EIF = {
    "flow": eif_flow,
    "threshold": lambda state, c: state["v"] - 3.0,
    "jump": lambda state, c: {**state, "v": c["v_reset"]},
    "start": lambda c: {"v": c["v_reset"], "i": 0.0},
}


def draw(size):
    rng = np.random.default_rng(0)
    spikes = np.sort(rng.uniform(0, 0.8 * END, (SAMPLES, INPUTS, SPIKES)), axis=-1)
    spikes = np.sort(np.where(rng.random(spikes.shape) < 0.2, np.inf, spikes), axis=-1)
    return rng, jnp.asarray(spikes), jnp.asarray(rng.normal(size, size, (NEURONS, INPUTS)))


def test_a_neuron_with_a_closed_form_is_found_again(x64):
    """Spikes, gradients with respect to everything, voltages and states of `lif`."""
    rng, spikes, weight = draw(1.3)
    constants = {
        "tau_mem": jnp.asarray(2e-2),
        "tau_syn": jnp.asarray(rng.uniform(5e-3, 2e-2, NEURONS)),
        "v_threshold": jnp.asarray(rng.uniform(0.8, 1.2, NEURONS)),
    }
    upstream = jnp.asarray(rng.normal(size=(SAMPLES, NEURONS, 20)))
    options = {"max_spikes": 20, "t_max": END}

    def integrated(spikes, weight, constants):
        neuron = jax_core.ode_neuron(**LIF, constants=constants)
        return jax_core.spiking(spikes, weight, neuron, **options)

    def closed(spikes, weight, constants):
        return jax_core.lif(spikes, weight, **constants, **options)

    at, found = (spikes, weight, constants), []
    for layer in (integrated, closed):

        def loss(at, layer=layer):
            out = layer(*at)
            return jnp.sum(jnp.where(jnp.isfinite(out), out * upstream, 0)), out

        found.append(jax.grad(loss, has_aux=True)(at))
    (gradient, out), (expected, true) = found
    assert np.isfinite(true).sum() > 15
    np.testing.assert_allclose(out, true, rtol=0, atol=1e-11)
    for mine, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-7 * np.abs(theirs).max())
    times = jnp.linspace(0, END, 30)
    neuron = jax_core.ode_neuron(**LIF, constants=constants)
    v = jax_core.spiking_trace(spikes, weight, neuron, times, output=out, **options)
    voltages = jax_core.lif_trace(spikes, weight, times, **constants, **options)
    np.testing.assert_allclose(v, voltages, rtol=0, atol=1e-8)


@pytest.fixture
def exponential(x64):
    rng, spikes, weight = draw(3.0)
    constants = {
        "sharpness": jnp.asarray(rng.uniform(0.15, 0.3, NEURONS)),
        "tau_syn": jnp.asarray(1e-2),
        "v_reset": jnp.asarray(rng.uniform(-0.5, 0.2, NEURONS)),
    }
    return rng, (spikes, weight, constants)


def run_exponential(spikes, weight, constants):
    neuron = jax_core.ode_neuron(**EIF, constants=constants)
    return jax_core.spiking(spikes, weight, neuron, max_spikes=24, t_max=END)


def test_spikes_equal_those_of_another_integrator(exponential):
    _, (spikes, weight, constants) = exponential
    out = np.asarray(run_exponential(spikes, weight, constants))
    assert np.isfinite(out).sum() > 10
    for sample in range(SAMPLES):
        for n in range(NEURONS):
            expected = reference(np.asarray(spikes[sample]), np.asarray(weight[n]), constants, n)
            found = out[sample, n]
            np.testing.assert_allclose(found[np.isfinite(found)], expected, rtol=0, atol=1e-9)


def reference(spikes, weight, constants, n):
    sharp, reset = float(constants["sharpness"][n]), float(constants["v_reset"][n])

    def motion(_, x):
        upstroke = sharp * np.exp(min((x[0] - 1) / sharp, 100))  # Attempts go far.
        return [(upstroke - x[0] + x[1]) / 2e-2, -x[1] / 1e-2]

    def excess(_, x):
        return x[0] - 3.0

    excess.terminal, excess.direction = True, 1  # pyright: ignore[reportFunctionMemberAccess]
    found, now, state = [], 0.0, [reset, 0.0]
    events = sorted((t, w) for row, w in zip(spikes, weight, strict=True) for t in row)
    for time, w in [*(e for e in events if np.isfinite(e[0])), (END, 0.0)]:
        while now < time:
            run = solve_ivp(
                motion, (now, time), state, "DOP853", rtol=1e-12, atol=1e-13, events=excess
            )
            now, state = run.t[-1], list(run.y[:, -1])
            if run.status == 1:
                found.append(now)
                state[0] = reset
        state[1] += w
    return found


def test_gradients_equal_finite_differences(exponential):
    rng, at = exponential
    upstream = rng.normal(size=(SAMPLES, NEURONS, 24))

    @jax.jit
    def loss(at):
        out = run_exponential(*at)
        return jnp.sum(jnp.where(jnp.isfinite(out), out * upstream, 0)), out

    gradient, out = jax.grad(loss, has_aux=True)(at)
    for path, leaf in jax.tree_util.tree_leaves_with_path(at):
        finite = jnp.isfinite(leaf)
        move = jnp.where(finite, rng.normal(size=leaf.shape) * jnp.where(finite, leaf, 0), 0)

        def moved(h, path=path, move=move):
            there = jax.tree_util.tree_map_with_path(
                lambda p, x: x + h * move if p == path else x, at
            )
            value, found = loss(there)
            assert np.array_equal(np.isfinite(found), np.isfinite(out))
            return value

        near, far = moved(1e-5) - moved(-1e-5), moved(2e-5) - moved(-2e-5)
        slope = dict(jax.tree_util.tree_leaves_with_path(gradient))[path]
        terms = jnp.where(finite, slope * move, 0)
        scale = float(jnp.sum(jnp.abs(terms)))
        expected = (8 * near - far) / 12e-5
        np.testing.assert_allclose(jnp.sum(terms), expected, rtol=0, atol=1e-6 * scale)


SQUARE = {
    "flow": lambda s, c: State((s.v * s.v - s.v + s.i) / 1e-2, -s.i / 1e-2),
    "threshold": lambda s, c: s.i - 1e3,
    "jump": to_zero,
    "start": State(0.0, 0.0),
}


def run_square(weight, **more):
    """In the first sample, the first of the two neurons can get infinite."""
    neuron = jax_core.ode_neuron(**SQUARE, **more)
    return jax_core.spiking(jnp.asarray([[[0.01]], [[np.inf]]]), weight, neuron, t_max=END)


@pytest.mark.parametrize(
    ("more", "lost"),
    usual([({}, [True, False])], [({}, [True, False]), ({"max_steps": 2}, [True, True])]),
)
def test_states_that_get_infinite_are_nan(x64, more, lost):
    """Of one neuron, in the sample where it happens; also where steps do not suffice."""
    out = run_square(jnp.asarray([[100.0], [0.1]]), **more)
    assert np.array_equal(np.isnan(out[0, :, 0]), lost)
    assert not np.isnan(out[1]).any()


@pytest.mark.thorough
def test_gradients_through_states_that_get_infinite_are_nan(x64):
    gradient = jax.grad(lambda weight: run_square(weight).sum())(jnp.asarray([[100.0], [0.1]]))
    assert np.array_equal(np.isnan(gradient)[:, 0], [True, False])


def test_steps_are_bounded(x64):
    """A narrow rise of a known driving force is missed by long steps and found by short ones."""
    model = {
        "flow": lambda s, c: {"t": 1.0 + 0 * s["t"], "i": 0 * s["i"]},
        "threshold": lambda s, c: jnp.exp(-(((s["t"] - 0.0511) / 1e-4) ** 2)) - 0.5,
        "jump": lambda s, c: s,
        "start": {"t": 0.0, "i": 0.0},
    }
    spikes, weight = jnp.asarray([[[np.inf]]]), jnp.ones((1, 1))
    expected = 0.0511 - 1e-4 * np.sqrt(np.log(2))
    for longest, found in ((None, np.inf), (4e-4, expected)):
        neuron = jax_core.ode_neuron(**model, max_step=longest)
        out = jax_core.spiking(spikes, weight, neuron, max_spikes=2, t_max=END)
        np.testing.assert_allclose(out[0, 0], [found, np.inf], rtol=1e-9)


WRONG = [
    ({"flow": lambda s, c: (s.v, s.i)}, TypeError, "flow must give what a state is made of"),
    ({"jump": lambda s, c: s.v}, TypeError, "jump must give what a state is made of"),
    (
        {"flow": lambda s, c: State(jnp.ones(2), s.i)},
        TypeError,
        "flow must work element by element",
    ),
    ({"threshold": lambda s, c: s}, TypeError, "threshold must give one number"),
    ({"receive": "g"}, ValueError, r"name a variable of the state, \['v', 'i'\]"),
    ({"receive": lambda s, w, c: s.v}, TypeError, "receive must give what a state is made of"),
    ({"constants": {"scale": 1.0}}, ValueError, "other names than scale"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), WRONG)
def test_what_does_not_fit_is_refused_by_name(wrong, error, message):
    constants = {"tau_mem": 2e-2, "tau_syn": 1e-2, "v_threshold": 1.0}
    spikes, weight = np.zeros((1, 1, 1), np.float32), np.ones((2, 1), np.float32)

    def run():
        neuron = jax_core.ode_neuron(**{**LIF, "constants": constants, **wrong})
        jax_core.spiking(spikes, weight, neuron, t_max=1.0)

    with pytest.raises(error, match=message):
        run()


def test_it_needs_an_end_and_diffrax(monkeypatch):
    spikes, weight = np.zeros((1, 1, 1), np.float32), np.ones((2, 1), np.float32)
    constants = {"tau_mem": 2e-2, "tau_syn": 1e-2, "v_threshold": 1.0}
    neuron = jax_core.ode_neuron(**LIF, constants=constants)
    with pytest.raises(ValueError, match="t_max must be finite for neurons"):
        jax_core.spiking(spikes, weight, neuron)
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"need diffrax, .*pip install 'evtorch\[ode\]'"):
        jax_core.spiking(spikes, weight, neuron, t_max=1.0)
