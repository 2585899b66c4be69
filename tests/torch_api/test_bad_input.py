"""Bad input gets an error at the call that names the argument, what is wrong, and the remedy."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from evtorch import torch_api as snn

from ._networks import INF, draw_delay, spikes, strong

GOOD = spikes(2, 3, 2, dtype=torch.float32)
LAYERS = {
    "LIF": lambda **o: snn.LIF(3, 2, refractory=INF, **o),
    "LI": lambda **o: snn.LI(3, 2, **o),
}


def changed(value, where=(1, 2, 0)):
    times = GOOD.clone()
    times[where] = value
    return times


def events(**changes):
    merged = snn.events_from_spike_times(GOOD)
    return merged._replace(**{k: f(getattr(merged, k).clone()) for k, f in changes.items()})


def with_first(value):
    def change(x):
        x[0, 0] = value
        return x

    return change


BAD_SPIKES = {
    "not a tensor": (GOOD.tolist(), TypeError, "spikes must be a tensor.*got list.*as_tensor"),
    "numpy": (GOOD.numpy(), TypeError, "spikes must be a tensor.*got ndarray"),
    "None": (None, TypeError, r"spikes must be a tensor of .* or Events, got NoneType$"),
    "integers": (
        GOOD.int(),
        TypeError,
        "got torch.int32; spikes are times in seconds, not a raster",
    ),
    "booleans": (GOOD > 0, TypeError, "got torch.bool; spikes are times in seconds, not a raster"),
    "raster": (
        torch.tensor([[0.0, 1.0, 0.0]] * 3),
        ValueError,
        r"not a raster of zeros and ones; convert one with spike_times_from_dense\(",
    ),
    "sparse": (GOOD.to_sparse(), TypeError, r"spikes must be dense.*\.to_dense\(\)"),
    "float64 array": (GOOD.double().numpy(), TypeError, "as_tensor.spikes, dtype=torch.float32"),
    "no spike axis": (
        GOOD[..., 0].T.T,
        ValueError,
        r"did you mean spikes\[\.\.\., None\], with one",
    ),
    "an axis too many": (
        torch.rand(4, 3, 1, 1),
        ValueError,
        r"flatten the neurons' axes into one, .*\(\.\.\., 3, k\)",
    ),
    "half": (GOOD.half(), TypeError, "spikes must be float32 or float64, got torch.float16"),
    "one axis": (GOOD[0, :, 0], ValueError, "spikes must have at least two axes"),
    "neurons": (GOOD[:, :2], ValueError, r"spikes of shape \(2, 2, 2\) come from 2 .* but 3"),
    "NaN": (changed(math.nan), ValueError, r"spikes must not be NaN.*spikes\[1, 2, 0\].*inf"),
    "negative": (changed(-1.0), ValueError, r"spikes must be >= 0.*spikes\[1, 2, 0\] = -1.*shift"),
    "unsorted": (changed(1.0), ValueError, r"spikes must ascend.*spikes\[1, 2, 1\].*sort"),
    "NaN later": (changed(math.nan, (0, 1, 1)), ValueError, r"spikes\[0, 1, 1\] = nan"),
    "dtype mix": (
        GOOD.double(),
        TypeError,
        "weight is .*float32, but spikes is .*float64",
    ),
    "meta device": (GOOD.to("meta"), ValueError, "weight is on cpu, but spikes is on meta"),
    "event index": (events(index=with_first(3)), ValueError, r"spikes.index must be >= 0 and < 3"),
    "event order": (events(time=with_first(1.0)), ValueError, r"spikes.time must ascend"),
    "event NaN": (events(time=with_first(math.nan)), ValueError, r"spikes.time must not be NaN"),
    "event padding": (events(index=with_first(-1)), ValueError, "spikes: an absent event has"),
    "event dtype": (
        events(index=lambda x: x.float()),
        TypeError,
        "index must be a tensor of integers",
    ),
    "event shapes": (events(index=lambda x: x[:1]), ValueError, "spikes.time and spikes.index"),
    "index array": (events(index=lambda x: x.numpy()), TypeError, "spikes.index must be a tensor"),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("case", BAD_SPIKES)
def test_spikes(layer, case):
    bad, error, message = BAD_SPIKES[case]
    with pytest.raises(error, match=message):
        LAYERS[layer]()(bad)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("bad", [math.nan, INF, -INF])
def test_weights(layer, bad):
    module = LAYERS[layer]()
    with torch.no_grad():
        module.weight[1, 2] = bad
    with pytest.raises(ValueError, match=r"weight must be finite.*weight\[1, 2\]"):
        module(GOOD)


@pytest.mark.parametrize("function", [snn.functional.lif, snn.functional.li])
def test_weights_of_functions(function):
    with pytest.raises(TypeError, match=r"weight must be a tensor of shape \(out, in\), got list"):
        function(GOOD, [[1.0]])
    with pytest.raises(ValueError, match=r"weight must have shape \(out, in\)"):
        function(GOOD, torch.ones(3))
    with pytest.raises(ValueError, match=r"spikes of shape .* come from 3 neurons .* but 4"):
        function(GOOD, torch.ones(2, 4))


BAD_CONSTANTS = {
    "tau_mem": [0.0, -1.0, math.nan, INF, torch.zeros(2)],
    "tau_syn": [0.0, -1.0, math.nan, INF, torch.tensor([1.0, -1.0])],
    "v_leak": [math.nan, INF, torch.tensor([0.0, math.nan])],
    "v_threshold": [math.nan, INF],
    "v_reset": [1.0, 2.0, torch.tensor([0.0, 1.5]), -INF],
    "refractory": [-1.0, math.nan],
}


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in BAD_CONSTANTS.items() for v in values]
)
def test_constants_at_construction_and_in_functions(name, value, learn):
    with pytest.raises(ValueError, match=f"{name} must"):
        snn.LIF(3, 2, **{name: value}, learn=name if learn else ())
    with pytest.raises(ValueError, match=f"{name} must"):
        snn.functional.lif(GOOD, torch.ones(2, 3), **{name: value})


def test_constants_of_wrong_kind():
    with pytest.raises(ValueError, match=r"tau_mem must be a number or .* shape \(2,\)"):
        snn.LIF(3, 2, tau_mem=torch.ones(3))
    with pytest.raises(TypeError, match=r"got list; convert it: torch\.tensor\(tau_mem, dtype"):
        snn.LIF(3, 2, tau_mem=[1e-2, 2e-2])  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"got torch\.int64; convert it with tau_mem\.float\(\)"):
        snn.LIF(3, 2, tau_mem=torch.ones(2, dtype=torch.int64))
    others: list[Any] = ["1", np.ones(2), None, True]
    for other in others:
        with pytest.raises(TypeError, match=r"tau_mem must be a number or a tensor.*got"):
            snn.LIF(3, 2, tau_mem=other)
    with pytest.raises(TypeError, match=r"tau_mem is torch.float64, but spikes is torch.float32"):
        snn.functional.lif(GOOD, torch.ones(2, 3), tau_mem=torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "bad"), [("tau_mem", -1e-3), ("v_reset", 1.5), ("v_leak", math.nan)]
)
def test_a_learned_constant_out_of_its_range_is_found_at_the_next_call(name, bad):
    layer = snn.LIF(3, 2, learn=("tau_mem", "v_reset", "v_leak"))
    with torch.no_grad():
        getattr(layer, name)[1] = bad
    with pytest.raises(ValueError, match=rf"{name} must"):
        layer(GOOD)


def test_a_delay_that_is_not_a_number_is_found_at_the_next_call():
    layer = snn.LIF(3, 2, delay="axonal")
    draw_delay(layer, 0, 1)[0] = math.nan
    with pytest.raises(ValueError, match="delay must be finite"):
        layer(GOOD)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"learn": ("tau",)}, ValueError, "learn must name neuron constants.*'tau'"),
        ({"learn": True}, TypeError, r"learn must hold names of neuron constants.*got True"),
        ({"learn": "weight"}, ValueError, "learn must name .* weight is always learned"),
        ({"learn": "refractory", "refractory": INF}, ValueError, "refractory = inf cannot"),
        ({"max_spikes": 0}, ValueError, "max_spikes must be >= 1"),
        ({"max_spikes": 1.0}, TypeError, "max_spikes must be an int"),
        ({"t_max": 0.0}, ValueError, "t_max must be > 0"),
        ({"t_max": math.nan}, ValueError, "t_max must be > 0"),
        ({"min_slope": -1.0}, ValueError, "min_slope must be >= 0"),
        ({"gradient": "surrogate"}, ValueError, "gradient must be 'eventprop' or"),
        ({"gradient": "fast_and_deep", "max_spikes": 2}, ValueError, "set max_spikes=1 or"),
        ({"on_overflow": "ignore"}, ValueError, "on_overflow must be 'error', 'warn' or"),
        ({"delay": "long"}, ValueError, "delay must be None, 'axonal'"),
        ({"backend": "chip"}, TypeError, r"backend must be None \(the simulation\)"),
        ({"dtype": torch.float16}, TypeError, "dtype must be torch.float32 or torch.float64"),
        ({"dtype": torch.int64}, TypeError, "dtype must be torch.float32 or torch.float64"),
    ],
)
def test_settings_of_lif(settings, error, message):
    with pytest.raises(error, match=message):
        snn.LIF(3, 2, **settings)


@pytest.mark.parametrize("kind", [snn.LIF, snn.LI])
def test_sizes(kind):
    with pytest.raises(TypeError, match="in_features must be an int"):
        kind(3.0, 2)
    with pytest.raises(ValueError, match="out_features must be >= 0"):
        kind(3, -2)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (0.1, TypeError, "times must be a tensor"),
        (torch.ones(3, 2), ValueError, r"times must have shape \(T,\), or"),
        (torch.tensor([0.1, -0.1]), ValueError, "times must be >= 0"),
        (torch.tensor([math.nan]), ValueError, "times must be finite"),
        (torch.tensor([0.1], dtype=torch.float64), TypeError, "times is torch.float64"),
    ],
)
def test_times_of_traces(layer, times, error, message):
    with pytest.raises(error, match=message):
        LAYERS[layer]().trace(GOOD, times)


def test_ends_of_integrals():
    weight = torch.ones(2, 3)
    bad: Any = "1"
    with pytest.raises(ValueError, match="tau_weight must be > 0"):
        snn.functional.li_integral(GOOD, weight, t_max=1.0, tau_weight=0.0)
    with pytest.raises(TypeError, match="tau_weight must be a number, got str"):
        snn.functional.li_integral(GOOD, weight, t_max=1.0, tau_weight=bad)
    with pytest.raises(ValueError, match="t_max must be finite where tau_weight is not"):
        snn.functional.li_integral(GOOD, weight, t_max=INF)
    with pytest.raises(TypeError, match="t_max must be a number, got str"):
        snn.LI(3, 2, t_max=bad)


def test_checks_of_values_can_be_switched_off_and_nothing_else():
    layer = strong(LAYERS["LIF"]())
    bad = changed(1.0)
    with snn.validation(False):
        layer(bad)
        with pytest.raises(ValueError, match="come from 2"):
            layer(bad[:, :2])
        with snn.validation(True), pytest.raises(ValueError, match="ascend"):
            layer(bad)
        layer(bad)
    with pytest.raises(ValueError, match="ascend"):
        layer(bad)
