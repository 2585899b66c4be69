"""The figure of the example on STDP."""

import math
from pathlib import Path

import torch
from _hidden_pattern import MS, HiddenPattern
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor


def plot(path: Path, stream: HiddenPattern, weight: Tensor, spikes: Tensor) -> None:
    """Save latencies over the time of learning, false alarms, the last pattern, and weights.

    **Arguments:** ``weight``: in the end, ``(inputs,)``; ``spikes``: of the neuron, all of them.
    """
    figure = Figure(figsize=(12, 8), layout="constrained")
    (above, sample), (below, weights) = figure.subplots(2, 2, width_ratios=[2, 1])
    latency, outside = stream.answers(spikes)
    above.scatter(stream.starts, latency / MS, s=6, color="tab:blue", linewidth=0)
    above.set(ylabel="latency, ms", ylim=(0, stream.LENGTH / MS))
    above.set_title("first spike after each begin of the pattern")
    duration = len(stream.pieces) * stream.PIECE
    alarms = torch.histc(spikes[outside], max(int(duration), 1), 0, duration)
    below.stairs(alarms, range(len(alarms) + 1), color="tab:red", fill=True)
    below.set(xlabel="time in the stream, s", ylabel="spikes per second")
    below.set_title("outside of the pattern")
    below.sharex(above)
    _plot_sample(sample, stream, weight, spikes)
    weights.hist(weight, bins=20, range=(0, 1))
    weights.set(xlabel="weight", ylabel="inputs", title="in the end")
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _plot_sample(axes: Axes, stream: HiddenPattern, weight: Tensor, spikes: Tensor) -> None:
    """The last piece with a pattern: all input, dark where weights are large, and answers."""
    start = stream.starts[-1].item() if len(stream.starts) else 0.0
    number = min(int(start / stream.PIECE + 1e-6), len(stream.pieces) - 1)
    origin = number * stream.PIECE
    piece = stream.pieces[number]
    neuron, slot = (piece < math.inf).nonzero(as_tuple=True)
    times = piece[neuron, slot] / MS
    axes.scatter(times, neuron, c=weight[neuron], cmap="Greys", vmin=-0.2, vmax=1, s=3, linewidth=0)
    begin = (start - origin) / MS
    axes.axvspan(begin, begin + stream.LENGTH / MS, color="tab:blue", alpha=0.15, linewidth=0)
    for spike in spikes[(spikes >= origin) & (spikes < origin + stream.PIECE)].tolist():
        axes.axvline((spike - origin) / MS, color="tab:red")
    axes.set(xlabel="time, ms", ylabel="input", xlim=(0, stream.PIECE / MS))
    axes.set_title("last pattern (blue), answers (red)")
