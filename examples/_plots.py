"""The figure of the Yin-Yang example."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from _curves import plot_training
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle
from torch import Tensor, nn

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

Predict = Callable[[nn.Module, Tensor], Tensor]

COLORS = ("tab:blue", "tab:orange", "tab:green")
MS = 1e-3
_PANELS: list[Any] = [
    ["loss", "spikes"],
    ["accuracy", "spikes"],
    ["decisions", "voltages"],
    ["decisions", "voltages"],
]


def plot(
    path: Path,
    model: nn.Sequential,
    predict: Predict,
    loss: Sequence[float],
    test_accuracy: Sequence[float],
    test: YinYang,
) -> None:
    """Save curves, decision map, and spikes and output voltages of one sample as an image.

    The spikes are also in ``sample.html`` beside it, to go through in a browser.

    **Arguments:** ``model``: encoder, hidden layer and read-out; ``predict``: the class of each
    sample, -1 for none; ``loss`` and ``test_accuracy``: one number per epoch.
    """
    figure = Figure(figsize=(11, 9), layout="constrained")
    panels = figure.subplot_mosaic(_PANELS)
    panels["accuracy"].sharex(panels["loss"])
    plot_training(panels["loss"], panels["accuracy"], loss, test_accuracy)
    panels["loss"].set_title("training")
    plot_decisions(panels["decisions"], model, predict, test)
    panels["voltages"].sharex(panels["spikes"])
    layers = _plot_sample(panels["spikes"], panels["voltages"], model, test)
    figure.savefig(path, dpi=120)
    snn.plot.view(layers, path.with_name("sample.html"), title="Yin-Yang: spikes of one sample")


def plot_decisions(axes: Axes, model: nn.Module, predict: Predict, test: YinYang) -> None:
    """What the network answers all over the plane, and the test samples it gets wrong."""
    center = torch.full((2,), test.r_big)
    snn.plot.decisions(
        lambda points: predict(model, torch.cat([points, 1 - points], dim=-1)),
        axes,
        where=lambda points: (points - center).norm(dim=-1) <= test.r_big,
        points=test.values[:, :2],
        classes=test.classes,
        names=test.class_names,
    )
    r, head = test.r_big, (test.r_big / 2, test.r_big)
    for middle, bend in ((head, 180), ((3 * head[0], r), 0)):
        axes.add_patch(Arc(middle, r, r, theta1=bend, theta2=bend + 180, linewidth=0.5))
        axes.add_patch(Circle(middle, test.r_small, fill=False, linewidth=0.5))
    axes.set(xlabel="x", ylabel="y")


@torch.no_grad()
def _plot_sample(
    above: Axes, below: Axes, model: nn.Sequential, test: YinYang
) -> dict[str, Tensor]:
    """All spikes caused by the first test sample, and the voltages of the outputs.

    **Returns:** the spikes of each layer.
    """
    encoder, hidden = model[0], model[1]
    readout = cast(snn.LIF | snn.LI, model[2])
    inputs = encoder(test.values[0])
    spikes = hidden(inputs)
    output = readout(spikes)
    groups = [("inputs", inputs, ["k"]), ("hidden", spikes, ["tab:gray"])]
    if output.ndim == 2:
        groups.append(("outputs", output, list(COLORS)))
    rows, ticks, last = 0, {}, 0.0
    for name, times, colors in groups:
        early_first, order = times[:, 0].sort()
        number = int(early_first.isfinite().sum())
        color = np.resize(colors, len(times))[order][:number]
        snn.plot.raster(early_first[:number, None], above, first_row=rows, c=color, s=40)
        if number:
            ticks[rows + (number - 1) / 2] = f"{number} of {len(times)}\n{name}"
            last = max(last, early_first[number - 1].item())
        rows += number
    above.set_yticks(list(ticks), list(ticks.values()))
    above.set(
        xlabel="",
        ylabel="",
        title=f"spikes of one sample, class {test.class_names[test.classes[0]]}",
    )
    above.grid(alpha=0.3, axis="x")
    _plot_voltages(below, readout, spikes, output, last)
    return {name: times for name, times, _ in groups}


def _plot_voltages(
    axes: Axes, readout: snn.LIF | snn.LI, spikes: Tensor, output: Tensor, last: float
) -> None:
    """Voltages of the outputs, with what makes the answer; ``last``: time of the last spike."""
    if isinstance(readout, snn.LI):
        # Voltages may be highest long after the last spike.
        times, answer = torch.linspace(0, last + float(readout.tau_mem), 500), "highest voltage"
    else:
        times, answer = torch.linspace(0, 1.1 * last, 500), "first spike"
        spiked = output[output.isfinite()]
        # Without samples just before the spikes, peaks would seem to miss the threshold.
        times = torch.cat([times, spiked * (1 - 1e-6), spiked]).sort().values
    is_lif = isinstance(readout, snn.LIF)
    voltages = readout.trace(spikes, times)
    names, threshold = YinYang.class_names, readout.v_threshold if is_lif else None
    snn.plot.voltage(times, voltages, axes, labels=names, threshold=threshold)
    if not is_lif:
        for voltage, color in zip(voltages, COLORS, strict=True):
            axes.plot(times[voltage.argmax()] / MS, voltage.max(), "o", color=color)
        axes.plot([], "ok", label="highest")
    axes.set_title(f"outputs; the answer is the {answer}")
    axes.legend()
    axes.grid(alpha=0.3)
