"""Spikes beyond the resolution of their dtype, and rasters in the place of spike times."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evtorch import jax_core
from evtorch import torch_api as snn
from evtorch.torch_api.hardware import MockBSS2

INF = math.inf
# eps t = 1e-3 tau: with 1 ms in float32, at 8.39 s.
TAU = 1e-3
LIMIT = 1e-3 * TAU / 2**-23
CONSTANTS = {"tau_mem": 2 * TAU, "tau_syn": TAU}

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "LIF": lambda **o: snn.LIF(3, 2, refractory=INF, **CONSTANTS, **o),
    "RecurrentLIF": lambda **o: snn.RecurrentLIF(3, 2, refractory=INF, **CONSTANTS, **o),
    "LI": lambda **o: snn.LI(3, 2, **CONSTANTS, **o),
    "LI integral": lambda **o: snn.LI(3, 2, readout="integral", t_max=1.0, **CONSTANTS, **o),
}


def inputs(last: float, dtype: torch.dtype = torch.float32) -> Tensor:
    times = torch.full((4, 3, 2), INF, dtype=dtype)
    times[:, :, 0] = torch.linspace(0, 1e-3, 12).reshape(4, 3)
    times[1, 2, 0] = times[3, 0, 1] = last
    return times.sort(-1).values


@pytest.mark.parametrize("name", LAYERS)
def test_late_spikes_are_counted_and_warned_of(name: str) -> None:
    layer = LAYERS[name]()
    with pytest.warns(snn.LateSpikeWarning, match=r"2 of 13 spikes are so late, up to 8\.8"):
        layer(inputs(1.05 * LIMIT))
    report = snn.health_report(layer)
    assert report.late == {type(layer).__name__: 2}
    assert "got 2 input spikes so late that their dtype does not resolve them" in str(report)
    layer(inputs(0.95 * LIMIT))
    assert snn.health_report(layer).late == {}


def test_late_spikes_are_counted_where_values_are_not_checked() -> None:
    layer = LAYERS["LIF"]()
    with snn.validation(False):
        layer(inputs(1.05 * LIMIT))
    assert layer.late == 2
    mapped = torch.stack([inputs(1.05 * LIMIT), inputs(0.0)])
    torch.func.vmap(layer)(mapped)
    assert layer.late == 2


def test_float64_resolves_what_float32_does_not() -> None:
    layer = LAYERS["LIF"](dtype=torch.float64)
    early, late = inputs(0.0, torch.float64), inputs(0.0, torch.float64)
    late += 1e6
    assert layer.late == 0
    difference = layer(late) - 1e6 - layer(early)
    assert difference[difference.isfinite()].abs().max() < 1e-9


def test_the_shortest_time_constant_of_all_neurons_counts() -> None:
    syn = torch.tensor([1e-2, TAU])
    layer = snn.LIF(3, 2, tau_mem=2e-2, tau_syn=syn, learn="tau_mem", refractory=INF)
    with pytest.warns(snn.LateSpikeWarning, match=r"for a time constant of 0\.001 s"):
        layer(inputs(1.05 * LIMIT))


def test_events_and_observed_spikes_may_be_late_too() -> None:
    events = snn.events_from_spike_times(inputs(1.05 * LIMIT))
    with pytest.warns(snn.LateSpikeWarning, match="2 of 13 spikes"):
        LAYERS["LI"]()(events)
    observed = torch.full((4, 2, 1), 1.05 * LIMIT)
    with pytest.warns(snn.LateSpikeWarning, match="8 of 8 observed spikes"):
        snn.functional.lif_observed(inputs(0.0), torch.ones(2, 3), observed, **CONSTANTS)


def test_late_spikes_on_a_backend() -> None:
    layer = snn.LIF(
        3, 2, tau_mem=2e-5, tau_syn=1e-5, t_max=1e-1, refractory=INF, backend=MockBSS2()
    )
    times = torch.full((1, 3, 1), 9e-2)
    with pytest.warns(snn.LateSpikeWarning):
        layer(times)
    assert layer.late == 3


@pytest.mark.parametrize("function", [jax_core.lif, jax_core.li])
def test_jax_functions_warn_where_values_are_known(function: Any) -> None:
    times = inputs(1.05 * LIMIT).numpy()
    weight = np.ones((2, 3), np.float32)
    with pytest.warns(jax_core.LateSpikeWarning, match="2 of 13 spikes are so late"):
        function(times, jnp.asarray(weight), **CONSTANTS)
    function(times, weight, **CONSTANTS, validate=False)
    function(np.minimum(times, np.float32(0.95 * LIMIT)), weight, **CONSTANTS)


def test_encoding_refuses_an_interval_without_resolution() -> None:
    encode = snn.LatencyEncoder(1e6, 1e6 + 0.02)
    with pytest.raises(ValueError, match=r"has only 0\.17 numbers between t_early .*begin at 0"):
        encode(torch.rand(3))
    assert encode(torch.rand(3, dtype=torch.float64)).unique().numel() == 3
    assert snn.LatencyEncoder(0.1, 0.1)(torch.rand(3)).unique().numel() == 1


RASTER = torch.zeros(5, 3)
RASTER[2, 1] = RASTER[3, 0] = 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("form", ["as it is", "transposed", "with an axis", "of layers", "flat"])
def test_rasters_get_the_hint_in_every_form(dtype: torch.dtype, form: str) -> None:
    raster = {
        "as it is": RASTER,
        "transposed": RASTER.T,
        "with an axis": RASTER[..., None],
        "of layers": RASTER[:, None],
        "flat": RASTER.flatten(),
    }[form].to(dtype)
    for layer in (LAYERS["LIF"](), LAYERS["LI"](dtype=torch.float64)):
        with pytest.raises(ValueError, match=r"hold 0 and 1 only.*spike_times_from_dense\("):
            layer(raster)
    array = raster.float().numpy().astype(jnp.dtype(str(dtype).removeprefix("torch.")))
    with pytest.raises(ValueError, match=r"hold 0 and 1 only.*spike_times_from_dense\("):
        jax_core.lif(array, jnp.ones((2, 3)))


def test_times_that_are_no_raster_are_taken() -> None:
    layer = LAYERS["LI"]()
    for times in ([[0.0], [0.0], [0.0]], [[0.0], [1.0], [0.5]], [[0.0, INF], [1.0, INF]] * 2):
        layer(torch.tensor(times)[:3])


def test_rasters_longer_than_float32_counts_are_refused() -> None:
    steps = 2**23 + 1
    raster = torch.zeros(1, dtype=torch.bool).expand(steps, 1)
    with snn.validation(False), pytest.raises(ValueError, match="8388609 steps, more than the"):
        snn.spike_times_from_dense(raster, 1e-6, 1)
    with pytest.raises(ValueError, match="8388609 steps, more than the"):
        jax_core.spike_times_from_dense(raster.numpy(), 1e-6, 1, validate=False)
