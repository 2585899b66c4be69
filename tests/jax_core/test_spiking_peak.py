"""Peaks of voltages: against a dense trace of the motion, gradients against differences."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import minimize_scalar

from evtorch import jax_core

from .._thorough import usual
from ._neuron_models import END, MODELS, NEURONS, SAMPLES, directional, draw

POINTS = 1000


def expected_peak(linear, events):
    """Voltage and time of the highest point of a motion without threshold, by looking everywhere,
    and then more closely around the highest of the points looked at."""
    state, now, best = linear.start, 0.0, (linear.start[0], 0.0, linear.start, 0.0, 0.0)
    for time, weight in [*events, (END, 0.0)]:
        if time > now:
            points = max(int(POINTS * (time - now) / END), 8)
            u = np.linspace(0, time - now, points + 1)
            step, x = expm(linear.motion * u[1]), [state]
            for _ in range(points):
                x.append(step @ x[-1])
            n = int(np.argmax([each[0] for each in x]))
            around = u[max(n - 1, 0)], u[min(n + 1, points)]
            best = max(best, (x[n][0], now + u[n], state, now, around), key=lambda found: found[0])
            state = x[-1]
        state, now = state + weight * linear.arriving, time
    value, at, state, begin, around = best
    if at == 0:
        return value, at

    def depth(u):
        return -(expm(linear.motion * u) @ state)[0]

    fine: Any = minimize_scalar(depth, bounds=around, method="bounded", options={"xatol": 1e-13})
    return max((value, at), (-fine.fun, begin + fine.x), key=lambda found: found[0])


def layer_of(given, seed):
    rng, spikes, weight = draw(seed)
    constants = {k: v for k, v in given.constants(rng, 0.0).items() if k != "refractory"}
    return rng, spikes, (weight - 0.3) * given.size, constants


@partial(jax.jit, static_argnums=0)
def found_peak(model, spikes, weight, constants):
    return jax_core.spiking_peak(spikes, weight, model(**constants), t_max=END)


@pytest.mark.parametrize("name", MODELS)
def test_peaks_are_those_of_a_dense_trace(x64, name):
    given, rising, inside = MODELS[name], 0, 0
    for seed in range(2):
        _, spikes, weight, constants = layer_of(given, seed)
        found = found_peak(given.model, *jax.tree.map(jnp.asarray, (spikes, weight, constants)))
        for sample in range(SAMPLES):
            for n in range(NEURONS):
                own = {k: float(np.broadcast_to(v, NEURONS)[n]) for k, v in constants.items()}
                rows = zip(spikes[sample], weight[n], strict=True)
                events = sorted((t, w) for row, w in rows for t in row if np.isfinite(t))
                linear = given.linear({**own, "refractory": 0.0})
                value, time = expected_peak(linear, events)
                voltage = found.voltage[sample, n] - own.get("v_leak", 0.0)
                np.testing.assert_allclose(voltage, value, rtol=1e-12, atol=1e-12)
                np.testing.assert_allclose(found.time[sample, n], time, atol=1e-8)
                height = (value - linear.start[0]) / (linear.threshold - linear.start[0])
                np.testing.assert_allclose(found.height[sample, n], height, atol=1e-11)
                drive = sum(w for _, w in events)
                np.testing.assert_allclose(found.drive[sample, n], drive, atol=1e-12)
                rising, inside = rising + (time > 0), inside + (0 < time < END)
    assert rising > 5
    assert inside >= 1


@pytest.mark.parametrize("name", usual(set(MODELS) - {"AdaptiveLIF"}, MODELS))
def test_gradients_equal_finite_differences(x64, name):
    given, checked = MODELS[name], 0

    @jax.jit
    def run(arguments, upstream):
        peak = found_peak(given.model, *arguments)
        total = sum(jnp.sum(x * u) for x, u in zip(peak, upstream, strict=True))
        return total, peak.height > 0

    for seed in range(2):
        rng, *at = layer_of(given, seed)
        at = jax.tree.map(jnp.asarray, tuple(at))
        upstream = tuple(rng.normal(size=(4, SAMPLES, NEURONS)))
        gradient, rises = jax.grad(run, has_aux=True)(at, upstream)
        assert rises.sum() >= 3
        for path, leaf in jax.tree_util.tree_leaves_with_path(at):
            assert np.isfinite(dict(jax.tree_util.tree_leaves_with_path(gradient))[path]).all()
            checked += directional(partial(run, upstream=upstream), rng, at, gradient, path, leaf)
    assert checked >= 10
