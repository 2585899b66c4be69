"""Read-outs of leaky integrators against the reference: values, precision, transformations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core
from evtorch.jax_core.readout import _response as _li_response

from .._thorough import usual
from ._readouts import READOUTS, Problem, as_arrays, evaluate, random_problems, readout, reference

CONSTANTS = {"tau_mem": 2e-2, "tau_syn": 1e-2}


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("shared", [False, True], ids=["per neuron", "shared"])
def test_readouts_agree_with_the_reference(x64, rng, name, shared):
    problems = random_problems(rng, 60, shared)
    expected = reference(name, problems)
    for as_events in (False,) if shared else (False, True):
        actual = np.asarray(evaluate(name, as_events)(*problems)).reshape(expected.shape)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["value", "integral", "weighted integral", "maximum"])
def test_float32_is_accurate_to_its_rounding(rng, name):
    problems = random_problems(rng, 60)
    actual = evaluate(name)(*as_arrays(problems, jnp.float32))
    assert actual.dtype == jnp.float32
    expected = reference(name, problems)
    np.testing.assert_allclose(np.reshape(actual, expected.shape), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("name", ["value", "maximum"])
def test_the_unit_of_time_does_not_matter_in_float32(rng, name):
    problems = as_arrays(random_problems(rng, 30), jnp.float32)
    unit = 2.0**-20
    tiny = Problem(
        spikes=problems.spikes * unit,
        weight=problems.weight,
        tau_mem=problems.tau_mem * unit,
        tau_syn=problems.tau_syn * unit,
        v_leak=problems.v_leak,
        times=problems.times * unit,
    )
    if name == "value":
        readouts = (evaluate(name)(*tiny), evaluate(name)(*problems))
    else:
        run = jax.vmap(
            lambda p: jax_core.li_max(p[0], p[1], tau_mem=p[2], tau_syn=p[3], v_leak=p[4])
        )
        readouts = (run(tiny), run(problems))
    np.testing.assert_array_equal(*readouts)


def test_a_short_window_at_the_end_keeps_its_relative_precision():
    # One spike of weight 1 right before the end: the integral is U^2 / (2 tau_mem) to first order.
    window = 1e-4
    spikes = jnp.array([[1.0]], jnp.float32)
    t_max = float(np.float32(1 + window))
    u = t_max - 1
    integral = jax_core.li_integral(
        spikes, jnp.ones((1, 1), jnp.float32), tau_mem=2.0, tau_syn=1.0, t_max=t_max
    )
    kappa = u**2 / 4 * (1 - u / 2)
    np.testing.assert_allclose(integral[0], kappa, rtol=1e-6)


@pytest.mark.parametrize("as_events", [False, True], ids=["times", "events"])
@pytest.mark.parametrize("name", ["value", "weighted integral", "maximum"])
def test_leading_dimensions_are_independent_samples(x64, rng, name, as_events):
    single = random_problems(rng, 1, shared=True)
    spikes = np.stack([single.spikes[0], single.spikes[0] + 0.1, single.spikes[0] * 0.5])
    rest = [x[0] for x in single[1:]]
    run = readout(name, as_events)
    each = np.stack([run(s, *rest) for s in spikes])
    together = run(spikes.reshape(1, 3, *spikes.shape[1:]), *rest)
    np.testing.assert_allclose(together, each[None], rtol=0, atol=1e-14)


def test_times_can_differ_between_samples(x64, rng):
    spikes = np.sort(rng.uniform(0, 1, (3, 4, 2)), axis=-1)
    weight, times = rng.normal(size=(2, 4)), rng.uniform(0, 2, (3, 5))
    all_at_once = jax_core.li_value(spikes, weight, times, tau_mem=0.5, tau_syn=0.2)
    for sample in range(3):
        one = jax_core.li_value(spikes[sample], weight, times[sample], tau_mem=0.5, tau_syn=0.2)
        np.testing.assert_allclose(all_at_once[sample], one, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "shared"),
    usual(
        {("maximum", False)},
        [("value", True), ("value", False), ("weighted integral", False), ("maximum", False)],
    ),
)
def test_large_problems_in_pieces_give_the_same(rng, name, shared):
    batch, inputs, per_input, neurons = 24, 40, 10, 500
    # Pieces are cut of the neurons, or of the times where neurons share their constants.
    times = neurons if shared else 2
    kernel_values = batch * inputs * per_input * neurons
    assert kernel_values // 3 < _li_response._LARGEST_PIECE < kernel_values

    def draw(*shape):
        return jnp.asarray(rng.uniform(0.1, 1, shape), jnp.float32)

    constants = [draw() if shared else draw(neurons) for _ in range(3)]
    spikes = jnp.sort(draw(batch, inputs, per_input), axis=-1)
    rest = (draw(neurons, inputs) / inputs, *constants, draw(times))
    run = readout(name, False)

    @jax.jit
    def result_and_gradients(spikes, *rest):
        result, back = jax.vjp(run, spikes, *rest)
        return result, *back(jnp.ones_like(result))

    whole = result_and_gradients(spikes, *rest)
    thirds = [result_and_gradients(part, *rest) for part in jnp.split(spikes, 3)]
    expected = [np.concatenate([third[n] for third in thirds]) for n in range(2)]
    expected += [sum(third[n] for third in thirds) for n in range(2, len(whole))]
    for pieces, part in zip(whole, expected, strict=True):
        scale = np.max(np.abs(part))
        np.testing.assert_allclose(pieces, part, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("spikes", "tau_mem"),
    [(np.zeros((3, 0, 1)), np.full(4, 2e-2)), (np.full((3, 2, 2), math.inf), 2e-2)],
)
def test_without_input_the_voltage_stays_at_rest(x64, spikes, tau_mem):
    weight = np.ones((4, spikes.shape[1]))
    constants = {"tau_mem": tau_mem, "tau_syn": 1e-2, "v_leak": np.arange(4.0)}
    rest = np.tile(np.arange(4.0), (3, 1))
    padding = jax_core.Events(np.full((3, 2), math.inf), np.full((3, 2), -1))
    for form in (spikes, jax_core.events_from_spike_times(spikes), padding):
        value = jax_core.li_value(form, weight, np.array([0.0, 1.0]), **constants)
        np.testing.assert_array_equal(value, np.stack([rest, rest], axis=-1))
        np.testing.assert_array_equal(jax_core.li_max(form, weight, **constants), rest)
        integral = jax_core.li_integral(form, weight, **constants, t_max=0.5)
        np.testing.assert_array_equal(integral, rest / 2)


@pytest.mark.parametrize(
    ("shape", "tau_mem"), [((0, 2, 1), np.full(4, 2e-2)), ((2, 0, 2, 1), 2e-2)]
)
def test_empty_batches_give_empty_results(x64, shape, tau_mem):
    constants = {"tau_mem": tau_mem, "tau_syn": 1e-2}
    weight, spikes = np.ones((4, 2)), np.zeros(shape)
    batch = shape[:-2]
    for form in (spikes, jax_core.events_from_spike_times(spikes)):
        value = jax_core.li_value(form, weight, np.zeros(3), **constants)
        assert value.shape == (*batch, 4, 3)
        assert jax_core.li_max(form, weight, **constants).shape == (*batch, 4)
        assert jax_core.li_integral(form, weight, **constants, t_max=1.0).shape == (*batch, 4)
    assert jax_core.li_value(spikes, weight, np.zeros(0), **constants).shape == (*batch, 4, 0)
    assert jax_core.li_max(spikes, np.ones((0, 2)), tau_mem=1.0, tau_syn=2.0).shape == (*batch, 0)


def test_li_selects_the_readout(rng):
    spikes = jnp.asarray(np.sort(rng.uniform(0, 0.05, (2, 3, 2))), jnp.float32)
    weight = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    inputs = (spikes, weight)
    np.testing.assert_array_equal(
        jax_core.li(*inputs, t_max=0.04), jax_core.li_max(*inputs, **CONSTANTS, t_max=0.04)
    )
    np.testing.assert_array_equal(
        jax_core.li(*inputs, readout="integral", t_max=0.04),
        jax_core.li_integral(*inputs, **CONSTANTS, t_max=0.04),
    )
    np.testing.assert_array_equal(
        jax_core.li(*inputs, readout="value", t_max=0.04),
        jax_core.li_value(*inputs, np.array([0.04], np.float32), **CONSTANTS)[..., 0],
    )


def test_the_voltage_never_exceeds_the_maximum(x64, rng):
    problems = random_problems(rng, 30)
    dense = problems._replace(times=np.broadcast_to(np.linspace(0, 1.3, 2001), (30, 2001)))
    highest = np.max(evaluate("value")(*dense), axis=-1)
    maximum = np.asarray(evaluate("maximum")(*problems))
    assert np.all(highest <= maximum + 1e-13)
    # A grid misses a smooth maximum by the square of its spacing, a kink by the spacing.
    np.testing.assert_allclose(highest, maximum, rtol=0, atol=1e-2)
