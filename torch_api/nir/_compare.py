"""How far the spikes of a graph, by its own equations, are from those of the layers made of it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._validate import check_spikes
from ..layers._li import LI
from ..layers._model_layer import ModelLayer
from ..layers._neuron_layer import NeuronLayer
from ..layers._pooling import FlattenSpikes, UnflattenSpikes
from ._convention import Convention, find_convention
from ._graph import Block, Chain, read_chain
from ._neurons import flat
from ._read import open_graph
from ._simulate import Trains, pooled, population

_SCANS = 50


@dataclass(frozen=True)
class NodeComparison:
    """One neuron node: spikes are matched in their order, neuron by neuron.

    ``missing``: spikes of the graph without one of the layer. ``extra``: the reverse. Differences
    are of spike times in seconds, layer minus graph in absolute value, and of voltages for neurons
    that do not spike; ``nan`` where there is nothing to compare.
    """

    name: str
    neurons: int
    spikes: int
    missing: int
    extra: int
    mean_difference: float
    max_difference: float
    max_voltage_difference: float = math.nan


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`, one `NodeComparison` per neuron node; prints as a table."""

    nodes: tuple[NodeComparison, ...]

    @property
    def max_difference(self) -> float:
        """The largest difference of spike times, seconds; ``inf`` if one is missing or extra."""
        if any(node.missing or node.extra for node in self.nodes):
            return math.inf
        return max((node.max_difference for node in self.nodes if node.spikes), default=0.0)

    def __str__(self) -> str:
        lines = ["node              neurons   spikes  missing    extra  mean diff.   max diff."]
        for node in self.nodes:
            if math.isnan(node.max_voltage_difference):
                found = f"{node.mean_difference:10.2e} s {node.max_difference:10.2e} s"
            else:
                found = f"voltages differ by {node.max_voltage_difference:.2e} at most"
            counts = f"{node.neurons:8} {node.spikes:8} {node.missing:8} {node.extra:8}"
            lines.append(f"{node.name:16} {counts} {found}")
        return "\n".join(lines)


def compare(
    graph: Any,
    model: nn.Sequential,
    spikes: Tensor,
    convention: Convention | str | None = None,
    *,
    dt: float | None = None,
    t_end: float | None = None,
) -> Comparison:
    """Simulate a graph by its own equations and compare the spikes of each node with the layers'.

    The graph is solved in NumPy apart from the layers: with ``dt=None`` from event to event, in
    float64, which shows what approximations cost (a short synapse, a bias, float32); with ``dt`` in
    steps, as the framework that wrote the graph runs it. Both start at ``v_leak`` with no current.
    It is meant for reference inputs of moderate size: its time grows with events and neurons.

    **Arguments:**

    - ``graph``, ``convention``: as in `from_nir`.
    - ``model``: what `from_nir` made of the graph.
    - ``spikes``: input spike times, seconds, shape ``(..., neurons, k)``.
    - ``dt``: seconds, the step of the writer's simulation; ``None`` for the exact solution.
    - ``t_end``: seconds, end of the comparison; ``None``: that of the layers, or else 10 times the
      longest time constant after the last input.

    **Returns:** a `Comparison`.
    """
    check_spikes(spikes)
    graph = open_graph(graph)
    convention = find_convention(convention, graph)
    chain = read_chain(graph)
    layers = sum(not isinstance(layer, FlattenSpikes | UnflattenSpikes) for layer in model)
    if len(chain.blocks) != layers:
        raise ValueError(
            f"model has {layers} layers, but the graph makes {len(chain.blocks)}; pass the "
            f"model that from_nir made of this graph"
        )
    if dt is not None and not 0 < dt < math.inf:
        raise ValueError(f"dt must be finite and > 0 (seconds), got {dt}")
    batch = spikes.detach().cpu().double().numpy().reshape(-1, *spikes.shape[-2:])
    constants = _time_constants(chain, convention)
    end = _end(model, batch, max(constants)) if t_end is None else float(t_end)
    grid = np.arange(0.0, end, min(constants) / _SCANS if dt is None else dt)
    samples: list[Trains] = [[[t for t in row if t <= end] for row in sample] for sample in batch]
    return Comparison(tuple(_nodes(chain, model, spikes, samples, convention, dt, grid, end)))


def _nodes(
    chain: Chain,
    model: nn.Sequential,
    signal: Tensor,
    samples: list[Trains],
    convention: Convention,
    dt: float | None,
    grid: np.ndarray,
    end: float,
) -> Iterator[NodeComparison]:
    """Node by node, with the spikes of the graph and of the layers that enter each."""
    blocks = iter(chain.blocks)
    for layer in model:
        before = signal
        with torch.no_grad():
            signal = layer(before)
        if isinstance(layer, FlattenSpikes | UnflattenSpikes):
            continue
        block = next(blocks)
        if block.pool is not None:
            samples = [pooled(sample, block) for sample in samples]
            continue
        if block.neuron is None:
            samples = [_delayed(sample, block, convention, end) for sample in samples]
            continue
        own = population(block, convention)
        if dt is None:
            found = [own.run(sample, np.append(grid, end)) for sample in samples]
        else:
            found = [own.step(sample, dt, len(grid)) for sample in samples]
        samples = [trains for trains, _ in found]
        if isinstance(layer, LI):
            seen = np.array([voltages for _, voltages in found])
            times = grid + dt if dt is not None else np.append(grid, end)
            yield _voltages(block, layer, before, seen, times)
        else:
            yield _trains(block, samples, signal, end)


def _time_constants(chain: Chain, convention: Convention) -> list[float]:
    found = []
    for block in chain.blocks:
        for name in ("tau_mem", "tau_syn", "tau"):
            if block.neuron is not None and hasattr(block.neuron.node, name):
                values = flat(block.neuron, name, math.prod(block.out_shape))
                found += [float(values.min()), float(values.max())]
    return [value * convention.time_unit for value in found] or [1.0]


def _end(model: nn.Sequential, batch: np.ndarray, longest: float) -> float:
    ends = [layer.t_max for layer in model if isinstance(layer, NeuronLayer | ModelLayer | LI)]
    finite = [end for end in ends if end < math.inf]
    arrived = batch[np.isfinite(batch)]
    return min(finite) if finite else 10 * longest + float(arrived.max(initial=0.0))


def _delayed(sample: Trains, block: Block, convention: Convention, end: float) -> Trains:
    assert block.delay is not None
    delays = flat(block.delay, "delay", len(sample)) * convention.time_unit
    return [
        [t + delay for t in train if t + delay <= end]
        for train, delay in zip(sample, delays, strict=True)
    ]


def _trains(block: Block, samples: list[Trains], signal: Tensor, end: float) -> NodeComparison:
    neurons = math.prod(block.out_shape)
    times = signal.detach().cpu().double().numpy().reshape(-1, neurons, signal.shape[-1])
    expected = missing = extra = 0
    differences: list[float] = []
    for sample, rows in zip(samples, times, strict=True):
        for train, row in zip(sample, rows, strict=True):
            ours = row[row <= end]
            expected += len(train)
            missing += max(len(train) - len(ours), 0)
            extra += max(len(ours) - len(train), 0)
            differences += [abs(a - b) for a, b in zip(train, ours, strict=False)]
    assert block.neuron is not None
    return NodeComparison(
        block.neuron.name,
        neurons,
        expected,
        missing,
        extra,
        float(np.mean(differences)) if differences else math.nan,
        max(differences, default=math.nan),
    )


def _voltages(
    block: Block, layer: LI, signal: Tensor, seen: np.ndarray, times: np.ndarray
) -> NodeComparison:
    with torch.no_grad():
        ours = layer.trace(signal, torch.as_tensor(times).to(signal))
    ours = ours.cpu().double().numpy().reshape(seen.shape)
    difference = float(np.abs(ours - seen).max())
    assert block.neuron is not None
    counts = {"spikes": 0, "missing": 0, "extra": 0}
    return NodeComparison(
        block.neuron.name,
        seen.shape[1],
        **counts,
        mean_difference=math.nan,
        max_difference=math.nan,
        max_voltage_difference=difference,
    )
