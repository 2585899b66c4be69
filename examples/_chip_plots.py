"""The figure of the hardware-in-the-loop example."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor, nn

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

MS = 1e-3
COLORS = ("tab:red", "tab:blue")
LABELS = ("chip as it is", "calibrated")
QUANTITIES = ("threshold", "tau_mem", "tau_syn", "gain")


def plot(
    path: Path,
    model: nn.Sequential,
    uncalibrated: snn.hardware.OnBackend,
    calibrated: snn.hardware.OnBackend,
    test: YinYang,
    results: Mapping[str, Mapping[str, Mapping[str, list[float]]]],
) -> None:
    """Save spike times, weights, constants and accuracies as an image.

    **Arguments:** ``model``: encoder, hidden layer and read-out; ``uncalibrated``, ``calibrated``:
    the same on a chip; ``results``: accuracies by network, experiment and state of the chip.
    """
    figure = Figure(figsize=(13, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False).flat
    times, weights, constants = above.subplots(1, 3)
    _plot_times(times, model, (uncalibrated, calibrated), test)
    _plot_weights(weights, model, uncalibrated)
    _plot_constants(constants, calibrated)
    _plot_accuracies(below.subplots(), results)
    figure.savefig(path, dpi=100)


def _plot_times(
    axes: Axes, model: nn.Sequential, chips: tuple[snn.hardware.OnBackend, ...], test: YinYang
) -> None:
    """First spikes of hidden neurons in one sample: here and there."""
    values = test.values[:1]
    ideal = _hidden_times(model, values)
    for chip, color, label in zip(chips, COLORS, LABELS, strict=True):
        seen = _hidden_times(model, values, chip)
        both = ideal.isfinite() & seen.isfinite()
        only = int((ideal.isfinite() ^ seen.isfinite()).sum())
        text = f"{label}; {only} spike in one only"
        axes.scatter(ideal[both] / MS, seen[both] / MS, s=12, color=color, label=text)
    end = float(ideal[ideal.isfinite()].max()) / MS
    axes.plot([0, end], [0, end], color="k", linewidth=0.5)
    axes.set(
        title="hidden neurons' spikes in one sample",
        xlabel="simulation, ms",
        ylabel="chip, ms of the model's time",
    )
    axes.legend()


@torch.no_grad()
def _hidden_times(
    model: nn.Sequential, values: Tensor, chip: snn.hardware.OnBackend | None = None
) -> Tensor:
    encoder, hidden = model[0], cast(snn.LIF, model[1])
    if chip is None:
        return hidden(encoder(values))[0, :, 0]
    (network,) = chip.networks()
    scale = chip.scaling.time
    seen = chip.backend.run(network, scale * encoder(values).numpy(), hidden.t_max * scale)
    return torch.as_tensor(seen.spikes[0][0, :, 0] / scale)


def _plot_weights(axes: Axes, model: nn.Sequential, chip: snn.hardware.OnBackend) -> None:
    """Weights of the model against the whole numbers on the chip."""
    (network,) = chip.networks()
    for k, (layer, name) in enumerate(zip(network.layers, ("hidden", "output"), strict=True)):
        weight = cast(snn.LIF, model[k + 1]).weight.detach().numpy()
        on_chip = layer.weight
        clipped = np.abs(weight * chip.scaling.weight) > 63.5
        axes.scatter(
            weight.ravel(),
            on_chip.ravel(),
            s=6,
            label=f"{name}: {np.unique(on_chip).size} levels, {clipped.mean():.1%} clipped",
        )
    axes.set(title="weights", xlabel="model", ylabel="chip: whole numbers from -63 to 63")
    axes.legend()
    axes.grid(alpha=0.3)


def _plot_constants(axes: Axes, chip: snn.hardware.OnBackend) -> None:
    """What neurons have relative to what was asked for, measured twice."""
    calibration = cast(snn.hardware.Calibrated, chip.backend).calibration
    generator = np.random.default_rng(0)
    for row, name in enumerate(QUANTITIES):
        for after, color, label in zip((False, True), COLORS, LABELS, strict=True):
            values = calibration.factors(name, after=after)
            place = row + 0.4 * (after - 0.5) + generator.uniform(-0.12, 0.12, len(values))
            axes.scatter(place, values, s=5, color=color, label=label if row == 0 else None)
            spread = f"{calibration.spread(name, after=after):.1%}"
            axes.annotate(
                spread, (row + 0.4 * (after - 0.5), 1.4), ha="center", color=color, fontsize=8
            )
    axes.set(
        title="neurons and their spread, as measured",
        ylabel="constant / constant asked for",
        ylim=(0.55, 1.47),
    )
    axes.set_xticks(range(4), QUANTITIES)
    axes.legend(loc="lower right")


def _plot_accuracies(
    axes: Axes, results: Mapping[str, Mapping[str, Mapping[str, list[float]]]]
) -> None:
    """Each chip's accuracy, and the medians as bars."""
    place, ticks = 0, []
    for name, found in results.items():
        for what, by_state in found.items():
            for state, values in by_state.items():
                color = "tab:gray" if not state else COLORS[state == "calibrated"]
                height = 100 * float(np.median(values))
                shift = {"": 0.0, "calibrated": 0.2}.get(state, -0.2)
                axes.barh(place + shift, height, 0.35, color=color, alpha=0.5)
                axes.scatter(
                    100 * np.array(values), [place + shift] * len(values), s=8, color=color
                )
            ticks.append(f"{name}: {what}")
            place += 1
    axes.set_yticks(range(place), ticks)
    axes.invert_yaxis()
    chance = axes.axvline(100 / 3, color="k", linestyle=":", label="chance level")
    axes.set(title="accuracy: median and each chip", xlabel="test accuracy, %", xlim=(0, 100))
    axes.grid(alpha=0.3, axis="x")
    named = zip(("tab:gray", *COLORS), ("simulation", *LABELS), strict=True)
    patches = [Patch(color=color, alpha=0.5, label=label) for color, label in named]
    axes.legend(handles=[*patches, chance], loc="upper left", bbox_to_anchor=(1, 1))
