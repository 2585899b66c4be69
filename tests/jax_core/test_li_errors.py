"""Bad input to leaky integrators: errors that name the argument and the remedy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evtorch import jax_core

SPIKES = np.array([[0.1, 0.2], [0.1, math.inf]], np.float32)
WEIGHT = np.ones((3, 2), np.float32)
GOOD = {"spikes": SPIKES, "weight": WEIGHT, "tau_mem": 2e-2, "tau_syn": 1e-2, "t_max": 1.0}

BAD = {
    "spikes list": ({"spikes": [[0.1]]}, TypeError, "spikes must be an array"),
    "spikes NaN": ({"spikes": SPIKES * np.nan}, ValueError, r"spikes\[0, 0\] = nan"),
    "spikes unsorted": ({"spikes": SPIKES[:, ::-1]}, ValueError, "spikes must ascend"),
    "spikes of others": ({"spikes": SPIKES[:1]}, ValueError, "takes 2 inputs|2 are expected"),
    "weight list": ({"weight": [[1.0, 2.0]]}, TypeError, "weight must be an array"),
    "weight axes": ({"weight": WEIGHT[0]}, ValueError, "weight must have shape .out, in."),
    "weight inf": ({"weight": WEIGHT * math.inf}, ValueError, r"weight\[0, 0\] = inf"),
    "weight dtype": ({"weight": WEIGHT.astype(int)}, TypeError, "weight must be float32"),
    "tau_mem zero": ({"tau_mem": 0.0}, ValueError, "tau_mem must be > 0"),
    "tau_syn negative": ({"tau_syn": np.float32([1, -1, 1])}, ValueError, r"tau_syn\[1\] = -1"),
    "tau_syn shape": ({"tau_syn": np.ones(2, np.float32)}, ValueError, r"shape \(3,\)"),
    "tau_mem text": ({"tau_mem": "2ms"}, TypeError, "tau_mem must be a number"),
    "v_leak NaN": ({"v_leak": math.nan}, ValueError, "v_leak must not be NaN"),
    "v_leak inf": ({"v_leak": math.inf}, ValueError, "v_leak must be finite"),
    "t_max negative": ({"t_max": -1.0}, ValueError, "t_max must be >= 0"),
    "t_max array": ({"t_max": np.ones(3)}, TypeError, "t_max must be a number"),
    "readout": ({"readout": "mean"}, ValueError, 'readout must be "max"'),
    "value at inf": ({"readout": "value", "t_max": math.inf}, ValueError, "t_max.*be finite"),
    "tau_weight zero": (
        {"readout": "integral", "tau_weight": 0.0},
        ValueError,
        "tau_weight must be > 0",
    ),
    "weight of a maximum": ({"tau_weight": 0.1}, ValueError, "tau_weight must be inf with readou"),
    "weight of a value": (
        {"readout": "value", "tau_weight": np.float32(0.1)},
        ValueError,
        r"tau_weight must be inf with readout='value', got 0\.1",
    ),
    "integral to inf": (
        {"readout": "integral", "t_max": math.inf, "v_leak": 0.1},
        ValueError,
        "t_max must be finite",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    change, error, message = BAD[case]
    arguments = {**GOOD, **change}
    with pytest.raises(error, match=message):
        jax_core.li(arguments.pop("spikes"), arguments.pop("weight"), **arguments)


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (0.1, TypeError, "times must be an array"),
        (np.float32([0.1, -0.1]), ValueError, r"times\[1\] = -0\.1"),
        (np.float32([math.inf]), ValueError, "times must be finite"),
        (np.ones((3, 2), np.float32), ValueError, r"shape \(T,\)"),
        (np.ones(3, int), TypeError, "times must be float32"),
    ],
)
def test_bad_times_are_refused(times, error, message):
    with pytest.raises(error, match=message):
        jax_core.li_value(SPIKES, WEIGHT, times, tau_mem=2e-2, tau_syn=1e-2)


def test_a_weight_that_is_traced_is_taken_with_an_integral_only():
    def integral(tau_weight, readout):
        return jax_core.li(**GOOD, readout=readout, tau_weight=tau_weight)

    given = jax.jit(integral, static_argnums=1)(jnp.float32(0.2), "integral")
    plain = jax_core.li_integral(**GOOD, tau_weight=0.2)
    np.testing.assert_allclose(given, plain, rtol=1e-5)
    with pytest.raises(ValueError, match="tau_weight must be inf with readout='max'"):
        jax.jit(integral, static_argnums=1)(jnp.float32(0.2), "max")


def test_mixed_dtypes_are_refused(x64):
    with pytest.raises(TypeError, match="weight has dtype float64, but the spikes have float32"):
        jax_core.li(SPIKES, WEIGHT.astype(float))
    with pytest.raises(TypeError, match="tau_mem has dtype float64"):
        jax_core.li(SPIKES, WEIGHT, tau_mem=np.ones(3))
    with pytest.raises(TypeError, match="times has dtype float64"):
        jax_core.li_value(SPIKES, WEIGHT, np.ones(3), tau_mem=1.0, tau_syn=1.0)


def test_an_unknown_leak_has_no_integral_over_all_times():
    def integral(v_leak):
        constants = {"tau_mem": 1.0, "tau_syn": 2.0, "v_leak": v_leak}
        return jax_core.li_integral(SPIKES, WEIGHT, **constants, t_max=math.inf)

    # Every spike of weight 1 has the area 1 * tau_syn under its postsynaptic potential.
    np.testing.assert_allclose(integral(0.0), [6.0, 6.0, 6.0], rtol=1e-6)
    with pytest.raises(ValueError, match="t_max must be finite"):
        jax.jit(integral)(jnp.zeros(3))


def test_values_are_not_checked_on_request():
    events = jax_core.Events(jnp.array([0.1, 0.2]), jnp.array([0, -1]))
    constants = {"tau_mem": 1.0, "tau_syn": 2.0}
    with pytest.raises(ValueError, match="set both or neither"):
        jax_core.li_max(events, WEIGHT, **constants)
    assert jax_core.li_max(events, WEIGHT, **constants, validate=False).shape == (3,)
