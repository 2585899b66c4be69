"""Pictures show what they are given; matplotlib draws into given axes without a display."""

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from evtorch import torch_api as snn

from ._networks import spikes, strong

INF = float("inf")


@pytest.fixture
def ax() -> Axes:
    return Figure().subplots()


def offsets(ax: Axes) -> np.ndarray:
    """Positions of all dots, ascending in time."""
    found: Any = ax.collections[0].get_offsets()
    return np.asarray(sorted(found.tolist()))


def bars(ax: Axes) -> list[Any]:
    return list(ax.patches)


def heights(ax: Axes) -> list[float]:
    return [bar.get_height() for bar in bars(ax)]


def test_rasters_of_times_and_of_events(ax):
    times = torch.tensor([[1e-3, INF], [2e-3, 5e-3]])
    assert snn.plot.raster(times, ax, first_row=10, color="k") is ax
    expected = [[1, 10], [2, 11], [5, 11]]
    np.testing.assert_allclose(offsets(ax), expected, rtol=1e-6)
    events = snn.plot.raster(snn.events_from_spike_times(times), first_row=10)
    np.testing.assert_allclose(offsets(events), expected, rtol=1e-6)
    assert events.get_xlabel() == "time, ms"


def test_rates_and_intervals(ax):
    times = torch.tensor([[[0.1, 0.2, 0.5], [0.3, INF, INF]], [[0.1, INF, INF], [INF, INF, INF]]])
    snn.plot.rates(times, 0.5, ax, bins=4)
    # 3 and 1 spikes, and 1 and 0, in half a second.
    assert heights(ax) == [1, 0, 0, 1]
    assert [bars(ax)[0].get_x(), bars(ax)[3].get_x() + bars(ax)[3].get_width()] == [1, 4]
    other = snn.plot.intervals(times, bins=2)
    assert heights(other) == [1, 1]
    assert bars(other)[0].get_x() == pytest.approx(100, rel=1e-5)


def test_voltages_reach_the_threshold_at_the_spikes(ax):
    layer = strong(snn.LIF(5, 3, max_spikes=8, t_max=3e-2, on_overflow="truncate").double())
    inputs = spikes(5, 2)
    output = layer(inputs)
    assert output.isfinite().any(dim=-1).all()
    times = torch.linspace(0, 3e-2, 300, dtype=torch.float64)
    voltages = layer.trace(inputs, times, output=output)
    snn.plot.voltage(
        times, voltages, ax, spikes=output, threshold=layer.v_threshold, labels=["a", "b", "c"]
    )
    curves = [line for line in ax.lines if len(np.atleast_1d(line.get_xdata())) == 300]
    np.testing.assert_allclose(curves[1].get_ydata(), voltages[1].detach())
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [len(np.atleast_1d(dot.get_ydata())) for dot in dots] == output.isfinite().sum(
        dim=-1
    ).tolist()
    assert all((np.asarray(dot.get_ydata()) == 1).all() for dot in dots)
    assert ax.get_legend() is not None


def test_weights_and_delays(ax):
    layer = snn.LIF(4, 3, delay="axonal")
    with torch.no_grad():
        layer.delay.copy_(torch.tensor([0, 1e-3, 2e-3, 2e-3]))
    snn.plot.weights(layer, ax, matrix=True)
    np.testing.assert_allclose(ax.images[0].get_array(), layer.weight.detach().double())
    low, high = ax.images[0].get_clim()
    assert low == -high == -float(layer.weight.detach().abs().max())
    found = snn.plot.delays(layer, bins=2)
    assert heights(found) == [1, 3]
    assert sum(heights(snn.plot.weights(layer.weight))) == 12


def test_health_over_training(ax):
    layer = snn.LIF(5, 3, refractory=INF)
    reports = []
    for scale in (0.0, 100.0):
        with torch.no_grad():
            layer.weight.fill_(scale)
        layer(spikes(4, 5, 1, dtype=torch.float32))
        reports.append(snn.health_report(nn.Sequential(layer)))
    snn.plot.health(reports, ax)
    assert list(ax.lines[0].get_ydata()) == [100, 0]
    assert list(ax.lines[0].get_xdata()) == [1, 2]
    with pytest.raises(ValueError, match="over must have 2 entries"):
        snn.plot.health(reports, over=[1])


def test_decisions_hide_what_has_no_answer_and_mark_what_is_wrong(ax):
    points = torch.tensor([[0.2, 0.5], [0.8, 0.5]])
    snn.plot.decisions(
        lambda p: (p[:, 0] > 0.5).long(),
        ax,
        resolution=10,
        where=lambda p: p[:, 1] < 0.5,
        points=points,
        classes=torch.tensor([0, 0]),
        names=("left", "right"),
    )
    image: Any = ax.images[0].get_array()
    assert image.shape == (10, 10)
    assert image.mask[5:].all()
    assert not image.mask[:5].any()
    np.testing.assert_array_equal(image[0], [0] * 5 + [1] * 5)
    np.testing.assert_allclose(offsets(ax), [[0.8, 0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: snn.plot.raster(torch.zeros(2, 3, 1)), r"spikes must have shape \(neurons, k\)"),
        (lambda: snn.plot.raster(torch.zeros(3, 1), unit="h"), "unit must be one of s, ms, us"),
        (lambda: snn.plot.rates(torch.zeros(3, 1), -1.0), "duration"),
        (lambda: snn.plot.rates(torch.zeros(3), 1.0), "at least two axes"),
        (lambda: snn.plot.raster(torch.full((2, 1), math.nan)), "spikes must not be NaN"),
        (lambda: snn.plot.intervals(torch.tensor([[2.0, 1.0]])), "spikes"),
        (lambda: snn.plot.weights(nn.ReLU()), "ReLU has no weight"),
        (
            lambda: snn.plot.weights(torch.zeros(3), matrix=True),
            r"shape \(out, in\) to be",
        ),
        (lambda: snn.plot.delays(snn.LIF(2, 3)), "LIF has no delay"),
        (
            lambda: snn.plot.voltage(torch.zeros(5), torch.zeros(2, 4)),
            r"voltages must have shape \(T,\) or \(neurons, T\) with T = 5",
        ),
        (
            lambda: snn.plot.voltage(torch.zeros(5), torch.zeros(2, 5), labels=["a"]),
            "labels must have 2 entries",
        ),
        (
            lambda: snn.plot.decisions(lambda p: p[:, 0], points=torch.zeros(1, 2)),
            "together",
        ),
        (lambda: snn.plot.decisions(lambda p: p[:, 0], bounds=(1, 0, 0, 1)), "left < right"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_axes_of_something_else_are_refused():
    with pytest.raises(TypeError, match="ax must be matplotlib axes"):
        snn.plot.raster(torch.zeros(2, 1), Figure())  # pyright: ignore[reportArgumentType]


def test_without_matplotlib_the_remedy_is_named():
    code = """
import sys
sys.modules["matplotlib"] = None
import torch
from evtorch import torch_api as snn
try:
    snn.plot.raster(torch.zeros(2, 1))
except ImportError as error:
    assert "pip install" in str(error), error
else:
    raise SystemExit("no error")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
