"""Observed spikes, traces and health of layers with connections, and what arguments are refused."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

from .._thorough import usual

CONV = jax_core.Conv((3,), stride=(2,), padding=(1,), groups=2)
INPUTS = {"conv": (4, 5), "sparse": (6,), "delays": (6,)}
CONSTANTS = {"tau_mem": 1.7, "tau_syn": 1.0, "v_leak": 0.1, "v_reset": -0.2, "refractory": 0.1}


def connected(kind, rng):
    """Connections and weights of a layer of four neurons, or two channels and three positions."""
    if kind == "conv":
        return CONV, rng.uniform(0.2, 2.5, (2, 2, 3))
    delay = rng.uniform(0, 1, (4, 6))
    mask = rng.random((4, 6)) < 0.7
    if kind == "sparse":
        pairs = np.argwhere(mask)
        lists = jax_core.Sparse.of(pairs, 6, 4, delay[mask])
        return lists, rng.uniform(0.2, 2.5, len(pairs))
    return jax_core.SynapticDelays(jnp.asarray(delay)), rng.uniform(0.2, 2, (4, 6))


def run(kind, rng, **options):
    """A layer as a function of spikes and weight, and both."""
    connections, weight = connected(kind, rng)
    spikes = np.sort(rng.uniform(0.1, 3, (3, *INPUTS[kind], 2)), axis=-1)
    given = {"connections": connections, "max_spikes": 3, "on_overflow": "truncate"}
    layer = functools.partial(jax_core.lif, **{**given, **CONSTANTS, **options})
    return layer, jnp.asarray(spikes), jnp.asarray(weight)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("kind", "gradient"),
    usual(
        {("conv", "eventprop")},
        [
            ("conv", "eventprop"),
            ("conv", "fast_and_deep"),
            ("sparse", "eventprop"),
            ("delays", "fast_and_deep"),
        ],
    ),
)
def test_own_spikes_observed_have_the_gradients_of_the_layer(kind, gradient, rng):
    room = 3 if gradient == "eventprop" else 1
    layer, spikes, weight = run(kind, rng, max_spikes=room, gradient=gradient)
    out, health = layer(spikes, weight, return_health=True)
    assert np.isfinite(out).mean() > 0.5
    options = {k: v for k, v in layer.keywords.items() if k not in ("max_spikes", "on_overflow")}

    def observe(spikes, weight):
        return jax_core.lif_observed(spikes, weight, out, **options)

    seen, counts = jax_core.lif_observed(
        spikes, weight, out, count_missing=True, return_health=True, **options
    )
    np.testing.assert_array_equal(seen, out)
    np.testing.assert_array_equal(counts.silent, health.silent)
    assert not np.any(counts.unpredicted)
    assert not np.any(counts.missing)

    def loss(function, spikes, weight):
        times = function(spikes, weight)
        return jnp.sum(jnp.where(jnp.isfinite(times), times**2, 0))

    found = [
        jax.jit(jax.grad(functools.partial(loss, function), argnums=(0, 1)))(spikes, weight)
        for function in (layer, observe)
    ]
    for one, other in zip(*found, strict=True):
        assert np.abs(one).max() > 0.1
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_traces_of_single_connections_are_those_of_a_dense_layer(rng):
    connections, weight = connected("sparse", rng)
    assert isinstance(connections, jax_core.Sparse)
    spikes = np.sort(rng.uniform(0.1, 3, (3, 6, 2)), axis=-1)
    times = jnp.asarray(rng.uniform(0, 6, 20))
    delay = np.zeros((4, 6))
    matrix = np.zeros((4, 6))
    at = connections.pre[connections.place < len(weight)]
    post = np.nonzero(connections.place < len(weight))[0]
    place = connections.place[connections.place < len(weight)]
    matrix[post, at], delay[post, at] = weight[place], np.asarray(connections.delay)[place]
    options = {**CONSTANTS, "max_spikes": 4, "on_overflow": "truncate"}
    for quantity in ("voltage", "current"):
        actual = jax_core.lif_trace(
            spikes, weight, times, connections=connections, quantity=quantity, **options
        )
        assert actual.shape == (3, 4, 20)
        for j in range(4):
            # Each neuron by itself, with delays in its input.
            late = spikes + delay[j, :, None]
            row = matrix[j : j + 1]
            alone = jax_core.lif_trace(late, row, times, quantity=quantity, **options)
            np.testing.assert_allclose(actual[:, j], alone[:, 0], rtol=1e-12, atol=1e-12)
    out = jax_core.lif(spikes, weight, connections=connections, **options)
    given = jax_core.lif_observed_trace(
        spikes, weight, out, times, connections=connections, **CONSTANTS
    )
    expected = jax_core.lif_trace(spikes, weight, times, connections=connections, **options)
    np.testing.assert_allclose(given, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("x64")
def test_health_counts_per_channel_over_samples_and_positions(rng):
    layer, spikes, weight = run("conv", rng, max_spikes=1, t_max=2.0)
    out, health = layer(spikes, weight.at[1].multiply(0.4), return_health=True)
    assert out.shape == (3, 2, 3, 1)
    np.testing.assert_array_equal(health.silent, np.isinf(out[..., 0]).sum(axis=(0, 2)))
    roomy, _, _ = run("conv", rng, max_spikes=9, t_max=2.0)
    many = roomy(spikes, weight.at[1].multiply(0.4))
    more = np.isfinite(many).sum(axis=-1) > 1
    np.testing.assert_array_equal(health.overflow, more.sum(axis=(0, 2)))
    assert more.any()


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", usual({"sparse"}, INPUTS))
def test_nothing_is_needed_to_run(kind, rng):
    layer, spikes, weight = run(kind, rng, t_max=5.0)
    shape = layer(spikes, weight).shape[1:]
    for out in (layer(spikes[:0], weight), jax.vjp(layer, spikes[:0], weight)[0]):
        assert out.shape == (0, *shape)
    assert layer(spikes[0], weight).shape == shape
    assert np.all(np.isinf(layer(jnp.full_like(spikes, math.inf), weight)))
    np.testing.assert_array_equal(
        layer(spikes.reshape(1, 3, *spikes.shape[1:]), weight)[0], layer(spikes, weight)
    )


@pytest.mark.usefixtures("x64")
def test_a_layer_without_neurons_or_without_connections():
    spikes = jnp.ones((2, 3, 1))
    none = np.zeros((0, 2), int)
    for outputs in (0, 2):
        lists = jax_core.Sparse.of(none, 3, outputs)
        out = jax_core.lif(spikes, jnp.zeros(0), connections=lists)
        assert out.shape == (2, outputs, 1)
        assert np.all(np.isinf(out))


@pytest.mark.parametrize("kind", INPUTS)
def test_nan_under_jit_stays_nan(kind, rng):
    layer, spikes, weight = run(kind, rng)
    spikes, weight = spikes.astype(jnp.float32), weight.astype(jnp.float32)
    connections = jax.tree.map(
        lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x,
        layer.keywords["connections"],
    )
    bad = weight.at[(0,) * weight.ndim].set(jnp.nan)
    out = jax.jit(lambda s, w: layer(s, w, connections=connections))(spikes, bad)
    assert np.isnan(out).any()
    assert not np.isnan(out).all()
    with pytest.raises(ValueError, match="weight must be finite"):
        layer(spikes, bad, connections=connections)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"kernel_size": ()}, "kernel_size must have one number"),
        ({"kernel_size": (0,)}, r"kernel_size must be .*>= 1"),
        ({"kernel_size": (3,), "stride": (0,)}, r"stride must be .*>= 1"),
        ({"kernel_size": (3,), "padding": (-1,)}, r"padding must be .*>= 0"),
        ({"kernel_size": (3, 3), "dilation": (1,)}, "dilation must have one number for each of"),
        ({"kernel_size": (3,), "groups": 0}, r"groups must be .*>= 1"),
    ],
)
def test_conv_refuses(options, problem):
    with pytest.raises((TypeError, ValueError), match=problem):
        jax_core.Conv(**options)


@pytest.mark.parametrize(
    ("conv", "shape", "weight", "problem"),
    [
        (jax_core.Conv((3,)), (2, 2, 1), (4, 2, 3), "covers 3 positions of an input of size"),
        (jax_core.Conv((2,), groups=3), (4, 5, 1), (3, 1, 2), "4 channels, which groups = 3"),
        (jax_core.Conv((2,), groups=2), (4, 5, 1), (3, 2, 2), "3 output channels, which groups"),
        (jax_core.Conv((2,)), (4, 5, 1), (3, 2, 2), r"weight must have shape \(out channels, 4, 2"),
        (jax_core.Conv((2,)), (5, 1), (3, 2, 2), "spikes must have at least 3 axes"),
    ],
)
def test_shapes_that_do_not_fit_a_convolution_are_refused(conv, shape, weight, problem):
    with pytest.raises(ValueError, match=problem):
        jax_core.lif(np.ones(shape, np.float32), np.ones(weight, np.float32), connections=conv)


PAIRS = [[0, 1], [1, 2]]


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        ([[0, 1], [2, 2]], r"connections\[1\] = \(2, 2\) lies outside of 2 neurons and 3 inputs"),
        ([[0, 1], [-1, 2]], r"connections\[1\] = \(-1, 2\) lies outside"),
        ([[0, 1], [1, 2], [0, 1]], r"connections\[2\] = \(0, 1\) is there twice.*add up"),
        ([[0.0, 1.0]], "connections must be whole numbers"),
        ([0, 1], "connections must be whole numbers of shape"),
    ],
)
def test_lists_of_connections_are_checked(pairs, problem):
    with pytest.raises(ValueError, match=problem):
        jax_core.Sparse.of(np.asarray(pairs), 3, 2)


@pytest.mark.parametrize(
    ("delay", "problem"),
    [
        ([0.1, -0.1], r"delay must be finite and >= 0"),
        ([0.1, math.nan], r"delay must be finite and >= 0"),
        ([0.1], r"delay must have one value per connection, the shape \(2,\)"),
    ],
)
def test_delays_are_checked(delay, problem):
    spikes, weight = np.ones((3, 1), np.float32), np.ones(2, np.float32)
    lists = jax_core.Sparse.of(np.asarray(PAIRS), 3, 2, np.asarray(delay, np.float32))
    with pytest.raises(ValueError, match=problem):
        jax_core.lif(spikes, weight, connections=lists)


def test_what_does_not_fit_single_connections_is_refused():
    spikes = np.ones((3, 1), np.float32)
    lists = jax_core.Sparse.of(np.asarray(PAIRS), 3, 2)
    with pytest.raises(ValueError, match=r"weight must have one value per connection, shape \(2,"):
        jax_core.lif(spikes, np.ones((2, 3), np.float32), connections=lists)
    with pytest.raises(ValueError, match="come from 4 neurons, but the connections are from 3"):
        jax_core.lif(np.ones((4, 1), np.float32), np.ones(2, np.float32), connections=lists)
    with jax.enable_x64(True):
        late = jax_core.Sparse.of(np.asarray(PAIRS), 3, 2, np.ones(2))
        with pytest.raises(TypeError, match="delay has dtype float64"):
            jax_core.lif(spikes, np.ones(2, np.float32), connections=late)
    events = jax_core.Events(jnp.ones(2), jnp.zeros(2, jnp.int32))
    with pytest.raises(TypeError, match=r"not Events; convert them with spike_times_from_events"):
        jax_core.lif(events, np.ones(2, np.float32), connections=lists)
    observed = np.ones((3, 1), np.float32)
    with pytest.raises(ValueError, match="observed"):
        jax_core.lif_observed(spikes, np.ones(2, np.float32), observed, connections=lists)
    with pytest.raises(ValueError, match=r"v_leak .*\(2,\)"):
        jax_core.lif(spikes, np.ones(2, np.float32), v_leak=np.zeros(3), connections=lists)
