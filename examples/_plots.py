"""The figure of the Yin-Yang example."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from _curves import plot_training
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle, Patch
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
    _plot_sample(panels["spikes"], panels["voltages"], model, test)
    figure.savefig(path, dpi=120)


def plot_decisions(axes: Axes, model: nn.Module, predict: Predict, test: YinYang) -> None:
    """What the network answers all over the plane, and the test samples it gets wrong."""
    side = torch.linspace(0, 1, 200)
    y, x = torch.meshgrid(side, side, indexing="ij")
    answer = predict(model, torch.stack([x, y, 1 - x, 1 - y], dim=-1).reshape(-1, 4))
    image = answer.reshape(x.shape).numpy()
    in_disk = (x - 0.5) ** 2 + (y - 0.5) ** 2 <= test.r_big**2
    image = np.ma.masked_where(~in_disk.numpy() | (image < 0), image)
    extent = (0.0, 1.0, 0.0, 1.0)
    colors = ListedColormap(list(COLORS))
    axes.imshow(image, cmap=colors, vmin=0, vmax=2, alpha=0.4, origin="lower", extent=extent)
    wrong = predict(model, test.values) != test.classes
    r, head = test.r_big, (test.r_big / 2, test.r_big)
    for center, bend in ((head, 180), ((3 * head[0], r), 0)):
        axes.add_patch(Arc(center, r, r, theta1=bend, theta2=bend + 180, linewidth=0.5))
        axes.add_patch(Circle(center, test.r_small, fill=False, linewidth=0.5))
    axes.scatter(
        *test.values[wrong, :2].T.numpy(),
        c=[COLORS[label] for label in test.classes[wrong]],
        edgecolors="k",
        linewidths=0.8,
        s=25 if int(wrong.sum()) < 100 else 8,
    )
    axes.set(
        title=f"decisions; {int(wrong.sum())} of {len(test)} test samples are wrong\n"
        f"(dots, in the colour of their true class)",
        xlabel="x",
        ylabel="y",
    )
    names = zip(COLORS, test.class_names, strict=True)
    axes.legend(
        handles=[Patch(color=color, alpha=0.4, label=name) for color, name in names],
        loc="upper left",
        bbox_to_anchor=(1, 1),
    )


@torch.no_grad()
def _plot_sample(above: Axes, below: Axes, model: nn.Sequential, test: YinYang) -> None:
    """All spikes caused by the first test sample, and the voltages of the outputs."""
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
        early_first, order = (times[:, 0] / MS).sort()
        number = int(early_first.isfinite().sum())
        colors = np.resize(colors, len(times))[order]
        above.scatter(early_first.numpy(), rows + np.arange(len(times)), c=colors, marker="|", s=40)
        if number:
            ticks[rows + (number - 1) / 2] = f"{number} of {len(times)}\n{name}"
            last = max(last, early_first[number - 1].item())
        rows += number
    above.set_yticks(list(ticks), list(ticks.values()))
    above.set(title=f"spikes of one sample, class {test.class_names[test.classes[0]]}")
    above.grid(alpha=0.3, axis="x")
    _plot_voltages(below, readout, spikes, output, last * MS)


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
    for k, voltage in enumerate(readout.trace(spikes, times)):
        axes.plot(times / MS, voltage, color=COLORS[k], label=YinYang.class_names[k])
        if isinstance(readout, snn.LI):
            axes.plot(times[voltage.argmax()] / MS, voltage.max(), "o", color=COLORS[k])
    if isinstance(readout, snn.LI):
        axes.plot([], "ok", label="highest")
    else:
        axes.axhline(float(readout.v_threshold), color="k", linestyle=":", label="threshold")
    axes.set(
        title=f"outputs; the answer is the {answer}",
        xlabel="time, ms",
        ylabel="membrane voltage",
    )
    axes.legend()
    axes.grid(alpha=0.3)
