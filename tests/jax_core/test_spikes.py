"""Spike-time tensors and events: conversions keep every spike, in order, and differentiate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch.jax_core import Events, events_from_spike_times, spike_times_from_events

INF = np.inf


def random_spikes(rng, *shape, missing=0.4, grid=None):
    """Spike times with missing spikes, ties if on a ``grid``, shape ``(..., neurons, k)``."""
    spikes = rng.uniform(0, 1, shape)
    if grid is not None:
        spikes = np.round(spikes / grid) * grid
    spikes[rng.uniform(size=shape) < missing] = INF
    return np.sort(spikes, axis=-1).astype(np.float32)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
@pytest.mark.parametrize(("neurons", "k"), [(1, 1), (4, 3), (5, 1), (0, 2), (2, 0)])
def test_round_trip_returns_every_spike(rng, batch, neurons, k):
    spikes = random_spikes(rng, *batch, neurons, k, grid=0.25)
    events = events_from_spike_times(spikes)
    assert events.time.shape == events.index.shape == (*batch, neurons * k)
    assert events.index.dtype == jnp.int32
    again = spike_times_from_events(events, neurons, max(k, 1))
    assert again.shape == (*batch, neurons, max(k, 1))
    np.testing.assert_array_equal(again[..., :k], spikes)
    assert np.all(np.asarray(again[..., k:]) == INF)


def test_events_are_sorted_ties_keep_the_order_of_neurons_and_padding_is_last():
    events = events_from_spike_times(jnp.array([[[0.3, 0.5], [0.1, INF], [0.3, 0.3]]]))
    np.testing.assert_array_equal(
        events.time, np.array([[0.1, 0.3, 0.3, 0.3, 0.5, INF]], np.float32)
    )
    np.testing.assert_array_equal(events.index, [[1, 0, 2, 2, 0, -1]])


def test_events_survive_the_way_through_spike_times(rng):
    spikes = random_spikes(rng, 4, 6, 3)
    events = events_from_spike_times(spikes)
    again = events_from_spike_times(spike_times_from_events(events, 6, 3))
    np.testing.assert_array_equal(again.time, events.time)
    np.testing.assert_array_equal(again.index, events.index)


def test_both_directions_pass_gradients_of_times(rng):
    spikes = jnp.asarray(random_spikes(rng, 2, 3, 4, missing=0.3))
    upstream = jnp.asarray(rng.normal(size=spikes.shape), jnp.float32)

    def loss(spikes):
        again = spike_times_from_events(events_from_spike_times(spikes), 3, 4)
        return jnp.sum(jnp.where(again < INF, again * upstream, 0))

    expected = np.where(np.isfinite(spikes), upstream, 0)
    np.testing.assert_array_equal(jax.grad(loss)(spikes), expected)
    np.testing.assert_array_equal(jax.jit(jax.grad(loss))(spikes), expected)


def test_missing_spikes_have_no_gradient_even_under_a_nan(rng):
    spikes = jnp.asarray(random_spikes(rng, 3, 4, missing=0.5))
    events, back = jax.vjp(events_from_spike_times, spikes)
    upstream = jnp.where(jnp.isinf(events.time), jnp.nan, 1)
    (gradient,) = back(Events(upstream, np.zeros(events.index.shape, jax.dtypes.float0)))
    np.testing.assert_array_equal(gradient, np.isfinite(spikes).astype(np.float32))

    again, back = jax.vjp(
        lambda t: spike_times_from_events(Events(t, events.index), 3, 4), events.time
    )
    (gradient,) = back(jnp.where(jnp.isinf(again), jnp.nan, 1))
    np.testing.assert_array_equal(gradient, np.isfinite(events.time).astype(np.float32))


def test_jit_and_vmap_agree_with_the_plain_call(rng):
    spikes = random_spikes(rng, 5, 3, 2)
    plain = events_from_spike_times(spikes)
    for function in (jax.jit(events_from_spike_times), jax.vmap(events_from_spike_times)):
        for one, other in zip(function(spikes), plain, strict=True):
            np.testing.assert_array_equal(one, other)
    back = jax.jit(jax.vmap(lambda e: spike_times_from_events(e, 3, 2)))(plain)
    np.testing.assert_array_equal(back, spikes)


def test_float64_stays_float64(x64, rng):
    spikes = np.sort(rng.uniform(0, 1, (3, 2)), axis=-1)
    events = events_from_spike_times(spikes)
    assert events.time.dtype == jnp.float64
    np.testing.assert_array_equal(spike_times_from_events(events, 3, 2), spikes)


def test_too_many_spikes_are_never_lost_silently():
    events = Events(jnp.array([0.1, 0.2, 0.3, INF]), jnp.array([1, 0, 1, -1]))
    with pytest.raises(ValueError, match=r"1 spike\(s\) lost.*max_spikes = 1"):
        spike_times_from_events(events, 2, 1)
    with pytest.warns(RuntimeWarning, match="1 spike"):
        kept = spike_times_from_events(events, 2, 1, on_overflow="warn")
    np.testing.assert_array_equal(kept, np.array([[0.2], [0.1]], np.float32))
    truncated = spike_times_from_events(events, 2, 1, on_overflow="truncate")
    np.testing.assert_array_equal(truncated, kept)


def test_too_many_spikes_under_jit_fail_the_computation():
    events = Events(jnp.array([0.1, 0.2, 0.3, INF]), jnp.array([1, 0, 1, -1]))
    function = jax.jit(lambda e: spike_times_from_events(e, 2, 1))
    with pytest.raises(jax.errors.JaxRuntimeError, match="max_spikes = 1"):
        jax.block_until_ready(function(events))


def test_an_address_out_of_range_under_jit_counts_as_lost():
    events = Events(jnp.array([0.1, 0.2]), jnp.array([0, 7]))
    function = jax.jit(lambda e: spike_times_from_events(e, 2, 1))
    with pytest.raises(jax.errors.JaxRuntimeError, match="1 spike"):
        jax.block_until_ready(function(events))


@pytest.mark.parametrize(
    ("spikes", "error", "message"),
    [
        ([[0.1]], TypeError, "spikes must be an array"),
        (np.ones((2, 1), np.int32), TypeError, "float32 or float64, got int32"),
        (np.ones((2, 1), np.float16), TypeError, "float32 or float64, got float16"),
        (np.ones(2, np.float32), ValueError, "at least two axes"),
        (np.array([[0.1, np.nan]]), ValueError, r"not be NaN, but spikes\[0, 1\] = nan"),
        (np.array([[0.1], [-1.0]]), ValueError, r">= 0, but spikes\[1, 0\] = -1\.0"),
        (np.array([[0.1, 0.3, 0.2]]), ValueError, r"spikes\[0, 2\] = 0\.2 follows 0\.3"),
        (np.array([[INF, 0.2]]), ValueError, r"spikes\[0, 1\] = 0\.2 follows inf"),
    ],
)
def test_bad_spike_times_are_refused(spikes, error, message):
    with pytest.raises(error, match=message):
        events_from_spike_times(spikes)


@pytest.mark.parametrize(
    ("time", "index", "error", "message"),
    [
        ([0.1, 0.2], np.array([0.0, 1.0]), TypeError, "index must hold integers"),
        ([0.1, 0.2], np.array([0]), ValueError, "share one shape"),
        ([0.2, 0.1], np.array([0, 1]), ValueError, r"time\[1\] = 0\.1 follows 0\.2"),
        ([0.1, np.nan], np.array([0, 1]), ValueError, r"time\[1\] = nan"),
        ([0.1, 0.2], np.array([0, 2]), ValueError, r"index\[1\] = 2"),
        ([0.1, 0.2], np.array([0, -2]), ValueError, r"index\[1\] = -2"),
        ([0.1, 0.2], np.array([0, -1]), ValueError, "set both or neither"),
        ([0.1, INF], np.array([0, 1]), ValueError, "set both or neither"),
    ],
)
def test_bad_events_are_refused(time, index, error, message):
    with pytest.raises(error, match=message):
        spike_times_from_events(Events(np.array(time, np.float32), index), 2, 2)


def test_validation_of_values_can_be_switched_off():
    events = events_from_spike_times(np.array([[0.3, 0.2]], np.float32), validate=False)
    np.testing.assert_array_equal(events.time, np.array([0.2, 0.3], np.float32))
    with pytest.raises(ValueError, match="at least two axes"):
        events_from_spike_times(np.ones(2, np.float32), validate=False)


@pytest.mark.parametrize("arguments", [{"neurons": 2, "max_spikes": 0}, {"neurons": -1}])
def test_bad_sizes_are_refused(arguments):
    events = Events(np.zeros(1, np.float32), np.zeros(1, np.int32))
    with pytest.raises(ValueError, match="must be >= "):
        spike_times_from_events(events, **{"neurons": 1, "max_spikes": 1, **arguments})
