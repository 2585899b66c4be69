"""Dense rasters: the way from and to spike times and events, and what does not fit on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch.jax_core import (
    Events,
    dense_from_events,
    dense_from_spike_times,
    events_from_dense,
    events_from_spike_times,
    spike_times_from_dense,
)

DT, STEPS, NEURONS = 1e-3, 50, 4


def random_raster(rng, *batch, rate=0.1):
    return (rng.uniform(size=(STEPS, *batch, NEURONS)) < rate).astype(np.float32)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
def test_raster_to_spike_times_and_back(rng, batch):
    raster = random_raster(rng, *batch)
    spikes = spike_times_from_dense(raster, DT, STEPS)
    assert spikes.shape == (*batch, NEURONS, STEPS)
    np.testing.assert_array_equal(dense_from_spike_times(spikes, DT, STEPS), raster)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
def test_raster_to_events_and_back(rng, batch):
    raster = random_raster(rng, *batch)
    events = events_from_dense(raster, DT, STEPS * NEURONS)
    assert events.time.shape == events.index.shape == (*batch, STEPS * NEURONS)
    np.testing.assert_array_equal(dense_from_events(events, NEURONS, DT, STEPS), raster)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("dt", [1e-3, 0.1, 8e-9])
def test_times_on_the_grid_come_back_exactly(x64, rng, dtype, dt):
    steps = 20_000
    on_grid = np.sort(rng.permutation(steps)[:60]).astype(dtype) * dtype(dt)
    spikes = np.stack([on_grid, on_grid])
    again = spike_times_from_dense(dense_from_spike_times(spikes, dt, steps), dt, 60)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, spikes)


def test_raster_holds_time_first_and_the_nearest_step(rng):
    spikes = jnp.array([[[0.0, 1.4], [2.6, np.inf]], [[np.inf, np.inf], [1.0, 3.0]]])
    raster = dense_from_spike_times(spikes, 1.0, 4)
    expected = np.zeros((4, 2, 2))
    for step, sample, neuron in [(0, 0, 0), (1, 0, 0), (3, 0, 1), (1, 1, 1), (3, 1, 1)]:
        expected[step, sample, neuron] = 1
    np.testing.assert_array_equal(raster, expected)


def test_events_come_in_order_of_time_then_neuron():
    raster = np.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]], bool)
    events = events_from_dense(raster, 0.5, 4)
    assert events.time.dtype == jnp.float32
    np.testing.assert_array_equal(events.time, [0.0, 0.5, 0.5, np.inf])
    np.testing.assert_array_equal(events.index, [1, 0, 2, -1])


def test_both_readings_of_a_raster_agree(rng):
    raster = random_raster(rng, 3)
    events = events_from_spike_times(spike_times_from_dense(raster, DT, STEPS))
    direct = events_from_dense(raster, DT, NEURONS * STEPS)
    np.testing.assert_array_equal(events.time, direct.time)
    np.testing.assert_array_equal(events.index, direct.index)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float16, np.float32])
def test_every_dtype_of_raster_is_read(dtype):
    raster = np.eye(3, dtype=dtype)
    spikes = spike_times_from_dense(raster, 1.0, 1)
    assert spikes.dtype == jnp.float32
    np.testing.assert_array_equal(spikes, [[0.0], [1.0], [2.0]])
    assert spike_times_from_dense(raster, 1.0, 1, dtype=np.float32).dtype == jnp.float32


OVERFLOWS = {
    "two spikes in a step": lambda **how: dense_from_spike_times(
        jnp.array([[0.1, 0.2]]), 1.0, 4, **how
    ),
    "beyond the last step": lambda **how: dense_from_spike_times(
        jnp.array([[0.1, 3.6]]), 1.0, 4, **how
    ),
    "two events in a step": lambda **how: dense_from_events(
        Events(jnp.array([0.1, 0.2, 0.3]), jnp.array([0, 1, 0])), 2, 1.0, 4, **how
    ),
    "max_spikes": lambda **how: spike_times_from_dense(jnp.ones((2, 3, 1)), 1.0, 1, **how),
    "max_events": lambda **how: events_from_dense(jnp.ones((2, 3, 2)), 1.0, 3, **how),
}
LOST = {"max_spikes": 3, "max_events": 3}


@pytest.mark.parametrize("case", OVERFLOWS)
def test_overflow_is_never_silent(case):
    overflow, lost = OVERFLOWS[case], LOST.get(case, 1)
    with pytest.raises(ValueError, match=rf"{lost} spike\(s\) lost.*truncate"):
        overflow()
    with pytest.warns(RuntimeWarning, match=rf"{lost} spike\(s\) lost"):
        overflow(on_overflow="warn")
    with pytest.raises(jax.errors.JaxRuntimeError, match=rf"{lost} spike\(s\) lost"):
        jax.block_until_ready(jax.jit(overflow)())
    with pytest.raises(ValueError, match="on_overflow must be"):
        overflow(on_overflow="ignore")
    for plain, jitted in zip(
        jax.tree.leaves(overflow(on_overflow="truncate")),
        jax.tree.leaves(jax.jit(lambda: overflow(on_overflow="truncate"))()),
        strict=True,
    ):
        np.testing.assert_array_equal(plain, jitted)


def test_truncation_keeps_the_first_spikes():
    spikes = spike_times_from_dense(np.ones((3, 2)), 1.0, 2, on_overflow="truncate")
    np.testing.assert_array_equal(spikes, [[0.0, 1.0], [0.0, 1.0]])


def test_jit_and_vmap_agree_with_the_plain_call(rng):
    raster = random_raster(rng, 3)
    spikes = spike_times_from_dense(raster, DT, STEPS)
    one = jax.vmap(lambda r: spike_times_from_dense(r, DT, STEPS), in_axes=1)
    np.testing.assert_array_equal(jax.jit(one)(raster), spikes)
    draw = jax.vmap(lambda s: dense_from_spike_times(s, DT, STEPS), out_axes=1)
    np.testing.assert_array_equal(jax.jit(draw)(spikes), raster)


def test_rasters_have_zero_gradient():
    spikes = jnp.array([[0.1, 2.2, np.inf]])
    gradient = jax.grad(lambda s: jnp.sum(dense_from_spike_times(s, 1.0, 4)))(spikes)
    np.testing.assert_array_equal(gradient, np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s, r: dense_from_spike_times(s, 0.0, 4), ValueError, "dt must be > 0"),
        (lambda s, r: dense_from_spike_times(s, np.nan, 4), ValueError, "dt must be > 0"),
        (lambda s, r: dense_from_spike_times(s, np.inf, 4), ValueError, "dt must be finite"),
        (lambda s, r: dense_from_spike_times(s, 1.0, -1), ValueError, "steps must be >= 0"),
        (lambda s, r: dense_from_spike_times(s, 1.0, 4.0), TypeError, "steps must be an int"),
        (lambda s, r: spike_times_from_dense(r, 1.0, 0), ValueError, "max_spikes must be >= 1"),
        (lambda s, r: spike_times_from_dense(r[0], 1.0, 1), ValueError, "shape .time, "),
        (lambda s, r: spike_times_from_dense([[1]], 1.0, 1), TypeError, "raster must be an"),
        (lambda s, r: spike_times_from_dense(2 * r, 1.0, 1), ValueError, r"raster\[0, 0\] = 2"),
        (lambda s, r: events_from_dense(r * np.nan, 1.0, 1), ValueError, r"raster\[0, 0\] = nan"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((2, 1), np.float32), np.ones((2, 2), np.float32))
