"""Neurons other than LIF: spikes against the reference, gradients against finite differences."""

import dataclasses
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from evtorch import jax_core

from .._thorough import usual
from ._neuron_models import (
    END,
    MODELS,
    NEURONS,
    ROOM,
    SAMPLES,
    directional,
    draw,
    expected_spikes,
    model_of,
)


@pytest.mark.parametrize("refractory", [0.0, 0.004])
@pytest.mark.parametrize("name", MODELS)
def test_spikes_equal_the_reference(x64, name, refractory):
    given, count, silent = MODELS[name], 0, 0
    for seed in range(4):
        rng, spikes, weight = draw(seed)
        weight = weight * given.size
        constants = given.constants(rng, refractory)
        out = jax_core.spiking(
            jnp.asarray(spikes),
            jnp.asarray(weight),
            model_of(given, constants),
            max_spikes=ROOM,
            t_max=END,
        )
        for sample in range(SAMPLES):
            for n in range(NEURONS):
                expected = expected_spikes(given, constants, spikes[sample], weight, n)
                found = np.asarray(out[sample, n])
                found = found[np.isfinite(found)]
                assert len(found) == len(expected)
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
                count, silent = count + len(found), silent + (len(found) == 0)
    assert count > 60
    assert silent > 3


@pytest.mark.parametrize(
    ("name", "refractory"),
    usual(
        [*product(MODELS, [0.004]), ("IF", np.inf), ("DeltaLIF", 0.0)],
        product(MODELS, [0.0, 0.004, np.inf]),
    ),
)
def test_gradients_equal_finite_differences(x64, name, refractory):
    given, checked = MODELS[name], 0
    once = refractory == np.inf
    room = 1 if once else ROOM

    @jax.jit
    def run(arguments, upstream):
        spikes, weight, constants = arguments
        fixed = {} if refractory == 0.004 else {"refractory": refractory}
        out = jax_core.spiking(
            spikes, weight, given.model(**{**constants, **fixed}), max_spikes=room, t_max=END
        )
        return jnp.sum(jnp.where(jnp.isfinite(out), out * upstream, 0)), out

    for seed in range(5):
        rng, spikes, weight = draw(seed)
        constants = given.constants(rng, 0.0 if once else refractory)
        upstream = rng.normal(size=(SAMPLES, NEURONS, room))
        at = jax.tree.map(jnp.asarray, (spikes, weight * given.size, constants))
        gradient, out = jax.grad(run, has_aux=True)(at, upstream)
        assert np.isfinite(out).any()
        for path, leaf in jax.tree_util.tree_leaves_with_path(at):
            if "refractory" in jax.tree_util.keystr(path) and refractory != 0.004:
                continue
            checked += directional(partial(run, upstream=upstream), rng, at, gradient, path, leaf)
    assert checked >= 20


@pytest.mark.parametrize("name", MODELS)
def test_voltages_are_those_of_the_motion(x64, name):
    """Below the threshold before each spike, at it there, and at reset after it."""
    given = MODELS[name]
    rng, spikes, weight = draw(1)
    constants = given.constants(rng, 0.004)
    layer = jnp.asarray(spikes), jnp.asarray(weight * given.size), model_of(given, constants)
    options = {"max_spikes": ROOM, "t_max": END}
    out = np.asarray(jax_core.spiking(*layer, **options))
    assert np.isfinite(out).sum() > 5
    times = jnp.linspace(0, END, 1001)
    v = np.asarray(jax_core.spiking_trace(*layer, times, **options))
    assert v.shape == (SAMPLES, NEURONS, 1001)
    assert (v <= constants["v_threshold"][:, None] * (1 + 1e-12)).all()
    for sample, n, k in np.argwhere(np.isfinite(out)):
        t = out[sample, n, k]
        if np.abs(np.asarray(spikes[sample]) - t).min() < 1e-9:
            continue  # An input itself lifts it there.
        looks = jnp.asarray([t - 1e-10, t, t + constants["refractory"][n] / 2])
        before, at, later = jax_core.spiking_trace(*layer, looks, output=out)[sample, n]
        np.testing.assert_allclose(before, constants["v_threshold"][n], rtol=1e-5)
        np.testing.assert_allclose([at, later], constants["v_reset"][n], rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_bad_constants_are_refused_by_name(name):
    given = MODELS[name]
    spikes, weight = np.zeros((1, 1, 1), np.float32), np.ones((2, 1), np.float32)
    for wrong, message in [
        ({"tau_syn": 0.0}, "tau_syn must be > 0"),
        ({"tau_mem": -1.0}, "tau_mem must be > 0"),
        ({"refractory": -1.0}, "refractory must be >= 0"),
        ({"v_reset": 2.0}, "v_reset must be below v_threshold"),
        ({"v_threshold": np.array([1.0, np.inf], np.float32)}, r"v_threshold.* must be finite"),
    ]:
        if set(wrong) <= set(given.model.__dataclass_fields__):
            with pytest.raises(ValueError, match=message):
                jax_core.spiking(spikes, weight, given.model(**wrong))


GRAZING = {
    "AlphaLIF": {},
    "AdaptiveLIF": {"a": -0.5},
    "AdaptiveLIF, oscillating": {"a": 25.0, "tau_w": 2e-2},
    "AdaptiveLIF, equal rates": {"a": 0.0, "tau_w": 2e-2},
}


@pytest.mark.parametrize("name", GRAZING)
def test_a_voltage_that_just_reaches_the_threshold_is_a_spike(x64, name):
    """The second of two input spikes lifts it there, or an oscillation after inhibitory ones; the
    highest voltage is found with a dense trace and by bisecting its slope."""
    neuron = getattr(jax_core, name.split(",")[0])(**GRAZING[name])
    spikes = jnp.asarray([[[0.002, 0.009]]])
    sign = -1.0 if "oscillating" in name else 1.0

    @jax.jit
    def voltage(times):
        never = jnp.full((1, 1, 1), jnp.inf)
        weight = jnp.asarray([[sign]])
        return jax_core.spiking_trace(spikes, weight, neuron, times, output=never)[0, 0]

    times = jnp.linspace(0, 0.06, 6001)
    at = times[jnp.argmax(voltage(times))][None]
    slope = jax.jit(lambda t: jax.grad(lambda t: voltage(t)[0])(t))
    low, high = at - 1e-5, at + 1e-5
    for _ in range(50):
        middle = (low + high) / 2
        rising = slope(middle) > 0
        low, high = jnp.where(rising, middle, low), jnp.where(rising, high, middle)
    critical = sign / voltage(low)[0]
    for excess, count in [(1e-12, 1), (1e-9, 1), (1e-3, 1), (-1e-12, 0), (-1e-3, 0)]:
        weight = (critical * (1 + excess)).reshape(1, 1)
        once = dataclasses.replace(neuron, refractory=np.inf, form=None)
        out = jax_core.spiking(spikes, weight, once, t_max=0.06)
        assert np.isfinite(out).sum() == count, excess
        if count:
            np.testing.assert_allclose(out[0, 0, 0], low[0], atol=5e-2 * excess**0.5 + 1e-7)


@pytest.mark.parametrize("tau_w", [1e-3, 0.01 * (1 + 1e-9), 0.01, 2e-2, 2.0])
@pytest.mark.parametrize("a", [-0.9, 0.0, 1e-12, 0.3, 30.0])
def test_adaptation_moves_as_a_matrix_exponential_says(x64, a, tau_w):
    """Also where rates are equal, or nearly so; and in float32, to its precision."""
    neuron = jax_core.AdaptiveLIF(a=a, tau_w=tau_w)
    mem, syn, w = 1 / neuron.tau_mem, 1 / neuron.tau_syn, 1 / tau_w
    motion = np.array([[-mem, -mem, mem], [a * w, -w, 0], [0, 0, -syn]])
    for u in (1e-7, 1e-4, 3e-3, 2e-2, 0.1, 1.0):
        expected = expm(motion * u)
        for dtype, atol in ((jnp.float64, 1e-14), (jnp.float32, 1e-5)):
            given = jax.tree.map(lambda x, dtype=dtype: jnp.asarray(x, dtype), neuron)
            for n, column in enumerate(np.eye(3, dtype=dtype)):
                state = type(given.start())(*(jnp.asarray(x) for x in column))
                found = given.go(state, given.flow(jnp.asarray(u, dtype)))
                size = np.abs(expected).max()
                np.testing.assert_allclose(found, expected[:, n], rtol=0, atol=atol * max(size, 1))
