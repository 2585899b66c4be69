"""Every bad argument is an error that names it."""

import math

import jax
import numpy as np
import pytest

from evtorch import jax_core

SPIKES = np.array([[0.1, 0.5], [0.2, np.inf]], np.float32)
WEIGHT = np.array([[1.0, 2.0], [0.5, -1.0], [0.3, 0.1]], np.float32)
NAN, INF = math.nan, math.inf


def events(time, index):
    return jax_core.Events(np.array(time, np.float32), np.array(index, np.int32))


def array(*values):
    return np.array(values, np.float32)


BAD = {
    # Spikes.
    "one axis": ({"spikes": array(0.1, 0.2)}, "spikes"),
    "other number of inputs": ({"spikes": np.full((3, 2), 0.1, np.float32)}, "spikes|weight"),
    "integer times": ({"spikes": np.array([[1, 2], [3, 4]])}, "spikes"),
    "list of times": ({"spikes": [[0.1, 0.2], [0.3, 0.4]]}, "spikes"),
    "NaN time": ({"spikes": np.array([[0.1, NAN], [0.2, INF]], np.float32)}, "spikes.*NaN"),
    "negative time": ({"spikes": np.array([[-0.1, 0.1], [0.2, INF]], np.float32)}, "spikes"),
    "minus infinity": ({"spikes": np.array([[-INF, 0.1], [0.2, INF]], np.float32)}, "spikes"),
    "unsorted times": ({"spikes": np.array([[0.5, 0.1], [0.2, INF]], np.float32)}, "spikes"),
    "inf before a time": ({"spikes": np.array([[INF, 0.1], [0.2, INF]], np.float32)}, "spikes"),
    # Events.
    "index too large": ({"spikes": events([0.1, 0.2], [0, 2])}, "spikes.index"),
    "index below -1": ({"spikes": events([0.1, 0.2], [0, -2])}, "spikes.index"),
    "unsorted events": ({"spikes": events([0.2, 0.1], [0, 1])}, "spikes.time"),
    "NaN event": ({"spikes": events([0.2, NAN], [0, 1])}, "spikes.time"),
    "negative event": ({"spikes": events([-0.2, 0.1], [0, 1])}, "spikes.time"),
    "two lengths": ({"spikes": events([0.1, 0.2, 0.3], [0, 1])}, "spikes"),
    "padding without inf": ({"spikes": events([0.1, 0.2], [0, -1])}, "spikes"),
    "float index": (
        {"spikes": jax_core.Events(array(0.1, 0.2), array(0.0, 1.0))},
        "spikes.index",
    ),
    # Weights.
    "weight of one axis": ({"weight": array(1.0, 2.0)}, "weight"),
    "weight transposed": ({"weight": WEIGHT.T}, "weight"),
    "integer weight": ({"weight": WEIGHT.astype(int)}, "weight"),
    "NaN weight": ({"weight": np.where(WEIGHT == 0.5, NAN, WEIGHT)}, "weight"),
    "inf weight": ({"weight": np.where(WEIGHT == 0.5, INF, WEIGHT)}, "weight"),
    # Neuron constants.
    "tau_mem zero": ({"tau_mem": 0.0}, "tau_mem"),
    "tau_mem negative": ({"tau_mem": -0.1}, "tau_mem"),
    "tau_mem NaN": ({"tau_mem": NAN}, "tau_mem"),
    "tau_mem inf": ({"tau_mem": INF}, "tau_mem"),
    "one tau_mem negative": ({"tau_mem": array(0.1, -0.1, 0.1)}, "tau_mem"),
    "two tau_mem for three neurons": ({"tau_mem": array(0.1, 0.1)}, "tau_mem"),
    "tau_mem per synapse": ({"tau_mem": np.full((3, 2), 0.1, np.float32)}, "tau_mem"),
    "tau_syn zero": ({"tau_syn": 0.0}, "tau_syn"),
    "one tau_syn zero": ({"tau_syn": array(0.1, 0.0, 0.1)}, "tau_syn"),
    "v_threshold NaN": ({"v_threshold": NAN}, "v_threshold"),
    "v_threshold inf": ({"v_threshold": array(1.0, INF, 1.0)}, "v_threshold"),
    "v_leak NaN": ({"v_leak": array(0.0, NAN, 0.0)}, "v_leak"),
    "v_reset inf": ({"v_reset": -INF}, "v_reset"),
    "v_reset at threshold": ({"v_reset": 1.0}, "v_reset.*v_threshold"),
    "one v_reset above threshold": ({"v_reset": array(0.0, 1.2, 0.0)}, "v_reset.*v_threshold"),
    "threshold below reset": ({"v_threshold": -0.1}, "v_reset.*v_threshold"),
    "refractory negative": ({"refractory": -1.0}, "refractory"),
    "refractory NaN": ({"refractory": array(0.0, NAN, 0.0)}, "refractory"),
    "constant as text": ({"tau_mem": "0.1"}, "tau_mem"),
    "constant as list": ({"v_leak": [0.0, 0.0, 0.0]}, "v_leak"),
    # Settings.
    "no spikes": ({"max_spikes": 0}, "max_spikes"),
    "half a spike": ({"max_spikes": 1.5}, "max_spikes"),
    "t_max negative": ({"t_max": -1.0}, "t_max"),
    "t_max NaN": ({"t_max": NAN}, "t_max"),
    "unknown gradient": ({"gradient": "surrogate"}, "gradient.*eventprop"),
    "unknown on_overflow": ({"on_overflow": "ignore"}, "on_overflow.*truncate"),
    "unknown on_overflow where none can be": (
        {"on_overflow": "ignore", "refractory": INF},
        "on_overflow.*truncate",
    ),
    "a raster": (
        {"spikes": np.array([[[1.0, 0.0]] * 2] * 2, np.float32)},
        r"not a raster of zeros and ones; convert one with spike_times_from_dense\(",
    ),
    "a raster of integers": ({"spikes": np.zeros((2, 2, 2), int)}, "not a raster of zeros and"),
    "min_slope negative": ({"min_slope": -0.1}, "min_slope"),
    "min_slope NaN": ({"min_slope": NAN}, "min_slope"),
    "several spikes": ({"gradient": "fast_and_deep", "max_spikes": 2}, "fast_and_deep|max_spikes"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_named(arguments, message):
    given = {"spikes": SPIKES, "weight": WEIGHT, "on_overflow": "truncate", **arguments}
    with pytest.raises((ValueError, TypeError), match=message):
        jax_core.lif(**given)


TRACED = {name for name in BAD if any(s in name for s in ("axis", "number", "int", "two", "unk"))}


@pytest.mark.parametrize("name", sorted(TRACED - {"list of times"}))
def test_shapes_types_and_settings_are_checked_under_jit_too(name):
    arguments, message = BAD[name]
    given = {"spikes": SPIKES, "weight": WEIGHT, "on_overflow": "truncate", **arguments}
    arrays = {k: v for k, v in given.items() if not isinstance(v, str | int | float)}
    rest = {k: v for k, v in given.items() if k not in arrays}
    with pytest.raises((ValueError, TypeError), match=message):
        jax.jit(lambda arrays: jax_core.lif(**arrays, **rest))(arrays)


def test_checks_of_values_can_be_switched_off_but_not_those_of_shapes():
    unsorted = {"spikes": SPIKES[:, ::-1], "on_overflow": "truncate", "validate": False}
    assert np.shape(jax_core.lif(weight=WEIGHT, **unsorted)) == (3, 1)
    with pytest.raises(ValueError, match="weight"):
        jax_core.lif(weight=WEIGHT[0], **unsorted)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["weight", "tau_mem", "v_leak"])
def test_mixed_dtypes_are_named(name):
    arguments = {"spikes": SPIKES, "weight": WEIGHT, "on_overflow": "truncate"}
    arguments[name] = np.ones_like(WEIGHT if name == "weight" else WEIGHT[:, 0], np.float64)
    with pytest.raises((ValueError, TypeError), match=f"{name}.*float64"):
        jax_core.lif(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": np.array([0.1, NAN], np.float32)}, "times"),
        ({"times": np.array(0.1, np.float32)}, "times"),
        ({"times": np.array([-0.1, 0.3], np.float32)}, "times"),
        ({"times": np.array([1, 2])}, "times"),
        ({"tau_syn": -1.0}, "tau_syn"),
        ({"weight": WEIGHT.T}, "weight"),
        ({"spikes": SPIKES[:, ::-1]}, "spikes"),
        ({"max_spikes": 0}, "max_spikes"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_bad_arguments_of_the_trace_are_named(change, message):
    given = {"spikes": SPIKES, "weight": WEIGHT, "times": np.zeros(3, np.float32), **change}
    with pytest.raises((ValueError, TypeError), match=message):
        jax_core.lif_trace(**given)


def test_a_form_must_not_contradict_numbers():
    spikes, weight = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    for form in (
        jax_core.Form(ratio=1),
        jax_core.Form(ratio=3),
        jax_core.Form(ratio=2, spikes_once=True),
        jax_core.Form(ratio=2, is_refractory=False),
    ):
        with pytest.raises(ValueError, match=r"^form = .* contradicts the constants"):
            jax_core.lif(spikes, weight, form=form, tau_mem=2.0, tau_syn=1.0, refractory=0.5)
    with pytest.raises(TypeError, match=r"^form must be a Form"):
        jax_core.lif(spikes, weight, form=2)
