"""Forward-mode derivatives: exact, and errors where there are none."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual

BATCH, PRE, POST = 3, 5, 4
REFRACTORY = {"refractory": np.asarray(0.2)}
ONCE = {"refractory": math.inf}
LAYERS = {
    "several spikes": {"max_spikes": 4, **REFRACTORY},
    "one spike": {"max_spikes": 1, **ONCE},
    "fast and deep": {"gradient": "fast_and_deep", **ONCE},
    "recurrent": {"max_spikes": 12, **REFRACTORY},
    "recurrent, delayed": {"max_spikes": 12, **REFRACTORY},
    "observed": REFRACTORY,
}


def problem(rng: np.random.Generator) -> dict[str, Any]:
    """Everything that a layer depends on; neurons differ, and some inputs are absent."""
    spikes = rng.uniform(0, 3, (BATCH, PRE, 3))
    spikes[rng.random(spikes.shape) < 0.3] = np.inf
    return {
        "spikes": np.sort(spikes, axis=-1),
        "weight": rng.normal(0.5, 1.2, (POST, PRE)),
        "recurrent_weight": rng.normal(0, 0.4, (POST, POST)),
        "recurrent_delay": np.full(POST, 0.3),
        "tau_mem": 2.1 * rng.uniform(0.9, 1.1, POST),
        "tau_syn": np.asarray(1.0),
        "v_threshold": np.asarray(1.0),
        "v_leak": np.asarray(0.05),
        "v_reset": np.asarray(-0.1),
    }


def layer_of(kind: str):
    options = {**LAYERS[kind], "t_max": 5.0}
    arrays = {name: options.pop(name) for name in list(options) if name in REFRACTORY}
    if not isinstance(arrays["refractory"], np.ndarray):
        options |= arrays
        arrays = {}

    @jax.jit
    def layer(given: dict[str, Any], arrays: dict[str, Any] = arrays) -> jax.Array:
        given = {**given, **arrays}
        spikes, weight = given.pop("spikes"), given.pop("weight")
        recurrent, delay = given.pop("recurrent_weight"), given.pop("recurrent_delay")
        if kind == "observed":
            given["observed"] = jnp.broadcast_to(jnp.array([1.0, 2.5, 4.0]), (BATCH, POST, 3))
            return jax_core.lif_observed(spikes, weight, **given, **options)
        if "delayed" in kind:
            given["recurrent_delay"] = delay
        if "recurrent" in kind:
            given["recurrent_weight"] = recurrent
            return jax_core.recurrent_lif(
                spikes, weight, **given, **options, on_overflow="truncate"
            )
        return jax_core.lif(spikes, weight, **given, **options, on_overflow="truncate")

    return layer


def direction(rng: np.random.Generator, given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: np.where(np.isfinite(x), rng.normal(size=np.shape(x)), 0) for name, x in given.items()
    }


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "kind", usual({"several spikes", "fast and deep", "recurrent, delayed"}, LAYERS)
)
def test_tangents_are_the_transpose_of_the_adjoint_and_differences(kind, rng):
    layer, given = layer_of(kind), problem(rng)
    moves = direction(rng, given)
    times, moved = jax.jvp(layer, (given,), (moves,))
    spiking = np.isfinite(times)
    assert spiking.sum() > 3
    assert np.isfinite(moved).all()
    assert not np.any(np.asarray(moved)[~spiking])

    upstream = np.where(spiking, rng.normal(size=times.shape), 0)
    (gradients,) = jax.vjp(layer, given)[1](jnp.asarray(upstream))
    backwards = sum(np.sum(np.asarray(gradients[name]) * moves[name]) for name in given)
    np.testing.assert_allclose(np.sum(upstream * moved), backwards, rtol=1e-10)

    if kind == "observed":
        return  # Its spikes are given; only the model's derivative moves them.
    step = 1e-6
    near, far = (
        layer({name: x + s * step * moves[name] for name, x in given.items()}) for s in (1, -1)
    )
    assert (np.isfinite(near) == spiking).all()
    slope = np.where(spiking, (np.where(spiking, near, 0) - np.where(spiking, far, 0)), 0)
    np.testing.assert_allclose(moved, slope / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("x64")
def test_jacobians_agree_and_map_over_samples(rng):
    layer, given = layer_of("several spikes"), problem(rng)

    def of_weight(weight, spikes):
        times = layer({**given, "weight": weight, "spikes": spikes})
        return jnp.where(jnp.isfinite(times), times, 0)

    weight, spikes = given["weight"], given["spikes"]
    forward = jax.jacfwd(of_weight)(weight, spikes)
    np.testing.assert_allclose(jax.jacrev(of_weight)(weight, spikes), forward, atol=1e-12)
    each = jax.vmap(jax.jacfwd(of_weight), in_axes=(None, 0))(weight, spikes[:, None])
    np.testing.assert_allclose(each[:, 0], forward, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_second_derivatives(rng):
    given = problem(rng)

    def total(kind):
        def of_weight(weight):
            times = layer_of(kind)({**given, "weight": weight})
            return jnp.sum(jnp.where(jnp.isfinite(times), times, 0) ** 2)

        return of_weight

    with pytest.raises(NotImplementedError, match="fast_and_deep"):
        jax.hessian(total("several spikes"))(given["weight"])
    with pytest.raises(NotImplementedError, match="second derivatives"):
        jax.grad(lambda w: jnp.sum(jax.grad(total("recurrent"))(w)))(given["weight"])
    second = jax.hessian(total("fast and deep"))(given["weight"])
    step = 1e-6 * rng.normal(size=given["weight"].shape)
    gradient = jax.grad(total("fast and deep"))
    change = gradient(given["weight"] + step) - gradient(given["weight"] - step)
    expected = np.einsum("ijkl,kl->ij", second, 2 * step)
    np.testing.assert_allclose(change, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
