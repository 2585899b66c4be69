"""The figure of the Yin-Yang example."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle
from torch import Tensor, nn

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

Predict = Callable[[nn.Module, Tensor], Tensor]

COLORS = ("tab:blue", "tab:orange", "tab:green")
MS = 1e-3


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
    curves, decisions, raster, voltages = figure.subplots(2, 2).flat
    _plot_curves(curves, loss, test_accuracy)
    _plot_decisions(decisions, model, predict, test)
    _plot_sample(raster, voltages, model, test)
    figure.savefig(path, dpi=120)


def _plot_curves(axes: Axes, loss: Sequence[float], test_accuracy: Sequence[float]) -> None:
    epochs = np.arange(1, len(loss) + 1)
    axes.semilogy(epochs, loss, color="tab:gray")
    axes.set(title="training", xlabel="epoch", ylabel="training loss (gray)")
    right = axes.twinx()
    right.plot(epochs, 100 * np.asarray(test_accuracy), color="tab:red")
    right.set_ylabel("test accuracy, % (red)")
    right.grid(alpha=0.3)


def _plot_decisions(axes: Axes, model: nn.Module, predict: Predict, test: YinYang) -> None:
    """What the network answers all over the plane, and the test samples it gets wrong."""
    side = torch.linspace(0, 1, 201)
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
        s=25,
    )
    axes.set(
        title=f"decisions; {int(wrong.sum())} of {len(test)} test samples are wrong",
        xlabel="x",
        ylabel="y",
    )


@torch.no_grad()
def _plot_sample(raster: Axes, voltages: Axes, model: nn.Sequential, test: YinYang) -> None:
    """All spikes caused by the first test sample, and the voltages of the outputs."""
    encoder, hidden = model[0], model[1]
    readout = cast(snn.LIF | snn.LI, model[2])
    inputs = encoder(test.values[0])
    spikes = hidden(inputs)
    output = readout(spikes)
    outputs = output if output.ndim == 2 else spikes.new_full((3, 1), torch.inf)
    early_first = torch.cat([inputs, spikes[spikes[:, 0].argsort()], outputs])[:, 0] / MS
    colors = ["k"] * len(inputs) + ["tab:gray"] * len(spikes) + list(COLORS)
    place = np.arange(len(early_first))
    raster.scatter(early_first.numpy(), place, c=colors, marker="|", s=40)
    raster.set(
        title=f"spikes of one sample, class {test.class_names[test.classes[0]]}",
        xlabel="time, ms",
        ylabel="inputs, hidden neurons by time, outputs",
    )
    last = early_first[early_first.isfinite()].max().item()
    times = torch.linspace(0, 1.1 * last * MS, 500)
    for voltage, color, name in zip(
        readout.trace(spikes, times), COLORS, test.class_names, strict=True
    ):
        voltages.plot(times / MS, voltage, color=color, label=name)
    voltages.set(title="output neurons", xlabel="time, ms", ylabel="membrane voltage")
    voltages.legend()
    voltages.grid(alpha=0.3)
