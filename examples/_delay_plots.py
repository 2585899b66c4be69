"""The figure of the example with delays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _curves import plot_training
from _plots import Predict, plot_decisions
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import nn

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

_PANELS: list[Any] = [["loss", "decisions"], ["accuracy", "decisions"], ["hidden", "outputs"]]


def plot(
    path: Path,
    model: nn.Sequential,
    predict: Predict,
    loss: Sequence[float],
    test_accuracy: Sequence[float],
    test: YinYang,
) -> None:
    """Save curves, decision map, and the delays of both layers as an image.

    **Arguments:** as of the figure of yinyang.py.
    """
    figure = Figure(figsize=(10, 9), layout="constrained")
    panels = figure.subplot_mosaic(_PANELS)
    panels["accuracy"].sharex(panels["loss"])
    plot_training(panels["loss"], panels["accuracy"], loss, test_accuracy)
    plot_decisions(panels["decisions"], model, predict, test)
    layers: list[Any] = list(model)[1:]
    for name, layer in zip(("hidden", "outputs"), layers, strict=True):
        axes = panels[name]
        if layer.delay is None:
            axes.set_axis_off()
            continue
        snn.plot.delays(layer, axes, bins=20, color="tab:purple")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        above_0 = int((layer.delay > 0).sum())
        axes.set_title(f"delays to {name}: {above_0} of {layer.delay.numel()} are not 0")
    figure.savefig(path, dpi=120)
