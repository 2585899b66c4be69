"""Neurons other than LIF: spikes against the reference, gradients against finite differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from ._neuron_models import END, MODELS, NEURONS, ROOM, SAMPLES, draw, expected_spikes, model_of


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


@pytest.mark.parametrize("refractory", [0.0, 0.004, np.inf])
@pytest.mark.parametrize("name", MODELS)
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


def directional(run, rng, at, gradient, path, leaf):
    """Compare in a random direction of one argument; **returns** whether spikes stay the same."""
    finite = jnp.isfinite(leaf)
    size = jnp.mean(jnp.abs(leaf[finite]))
    move = jnp.where(finite, rng.normal(size=leaf.shape) * size, 0)

    def moved(h):
        return run(
            jax.tree_util.tree_map_with_path(lambda p, x: x + h * move if p == path else x, at)
        )

    h = 1e-6
    (above, more), (below, less) = moved(h), moved(-h)
    slope = dict(jax.tree_util.tree_leaves_with_path(gradient))[path]
    terms = jnp.where(finite, slope * move, 0)
    scale = float(jnp.sum(jnp.abs(terms)))
    if not np.array_equal(np.isfinite(more), np.isfinite(less)):
        return False
    expected = (above - below) / (2 * h)
    np.testing.assert_allclose(jnp.sum(terms), expected, rtol=0, atol=1e-6 * scale + 1e-9)
    return True


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
