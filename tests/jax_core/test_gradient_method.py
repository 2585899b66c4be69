"""Gradient methods of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual


def implicit(layer: jax_core.LayerRun):
    """The exact derivative of first spikes, by the implicit function theorem."""
    first = layer.spikes[..., :1]
    happened = jnp.isfinite(first)
    age = jnp.where(happened, first, 0) - layer.time[:, None]
    causal = happened & (age > 0)
    age = jnp.where(causal, age, 0)
    tau_mem, tau_syn = (x[..., None, None] for x in layer.constants[:2])
    kappa = tau_syn / (tau_mem - tau_syn) * (jnp.exp(-age / tau_mem) - jnp.exp(-age / tau_syn))
    arriving = layer.weight[:, layer.pre].swapaxes(0, 1)
    voltage = jnp.sum(jnp.where(causal, arriving * kappa, 0), axis=-1, keepdims=True)
    return layer.spikes.at[..., :1].add(-tau_mem * voltage / layer.slope[..., :1])


def case(seed=0):
    rng = np.random.default_rng(seed)
    spikes = jnp.asarray(rng.uniform(0, 0.02, (8, 6, 1)))
    return spikes, jnp.asarray(rng.normal(1.0, 0.8, (5, 6)))


def gradients(run, spikes, weight):
    def loss(spikes, weight):
        out = run(spikes, weight)
        return jnp.sum(jnp.where(jnp.isfinite(out), out, 0) ** 2)

    return jax.grad(loss, (0, 1))(spikes, weight)


@pytest.mark.parametrize(
    "options", usual([{"refractory": jnp.inf}], [{"refractory": jnp.inf}, {"max_spikes": 1}])
)
def test_a_method_has_its_own_derivative(x64, options):
    spikes, weight = case()
    options = {**options, "t_max": 0.05, "on_overflow": "truncate"}
    exact, own = (
        lambda x, w, gradient=gradient: jax_core.lif(x, w, gradient=gradient, **options)
        for gradient in ("eventprop", implicit)
    )
    assert np.array_equal(exact(spikes, weight), own(spikes, weight))
    expected, found = (gradients(run, spikes, weight) for run in (exact, own))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-14)
    doubled = gradients(
        lambda x, w: jax_core.lif(x, w, gradient=lambda run: 2 * implicit(run), **options),
        spikes,
        weight,
    )
    np.testing.assert_allclose(doubled[1], 2 * expected[1], rtol=1e-9, atol=1e-14)


def test_a_method_on_observed_spikes(x64):
    spikes, weight = case(1)
    observed = jax_core.lif(spikes, weight, refractory=jnp.inf)
    own, exact = (
        gradients(
            lambda x, w, gradient=gradient: jax_core.lif_observed(
                x, w, observed, gradient=gradient, refractory=jnp.inf
            ),
            spikes,
            weight,
        )
        for gradient in (implicit, "eventprop")
    )
    np.testing.assert_allclose(own[1], exact[1], rtol=1e-9, atol=1e-14)


def test_errors_name_the_argument(x64):
    spikes, weight = case()
    with pytest.raises(ValueError, match=r"gradient must be .* or a function, got 'adjoint'"):
        jax_core.lif(spikes, weight, gradient="adjoint")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"gradient must return spike times of shape \(8, 5, 1\)"):
        jax_core.lif(spikes, weight, gradient=lambda run: run.weight, refractory=jnp.inf)
