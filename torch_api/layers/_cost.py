"""How many operations a network takes for a sample, as NeuroBench counts them.

Yik et al. 2025, doi:10.1038/s41467-025-56739-4: a synaptic operation is an input of a neuron that
is not 0, times a weight that is not 0. With spikes for inputs it is an accumulation (AC), with
numbers a multiplication and an accumulation (MAC).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jax import Array
from torch import Tensor, nn

from ...jax_core import Connections, Events
from ..functional._layer import call_as_is
from ..functional._lists import lists_of
from ._connection_list import times_of_events
from ._input_counts import input_counts
from ._li import LI
from ._model_layer import ModelLayer
from ._neuron_layer import WeightedLayer
from ._projections import Projections
from ._recurrent_lif import RecurrentLIF
from ._recurrent_model import RecurrentModelLayer

_OF_NUMBERS = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d
_OF_SPIKES = WeightedLayer, Projections


@dataclass(frozen=True)
class LayerCost:
    """What one layer does for a sample, on average."""

    name: str
    """Name of the layer in the model."""
    kind: Literal["AC", "MAC"]
    """Accumulations of spikes, or multiplications and accumulations of numbers."""
    inputs: float
    """Spikes that arrive before ``t_max``, or numbers that are not 0."""
    operations: float
    """Synaptic operations: inputs times their weights that are not 0."""
    dense: float
    """Those if every input spiked once, or were not 0, and no weight were 0: the connections."""
    spikes: float | None
    """Spikes of the layer; ``None`` of one that does not spike."""


@dataclass(frozen=True)
class Cost:
    """What a model costs per sample; ``str()`` gives a table."""

    layers: tuple[LayerCost, ...]
    footprint: int
    """Bytes of parameters and buffers."""

    def total(self, kind: Literal["AC", "MAC"]) -> float:
        """Synaptic operations of a kind, of all layers."""
        return sum(layer.operations for layer in self.layers if layer.kind == kind)

    @property
    def spikes(self) -> float:
        """Spikes of all layers."""
        return sum(layer.spikes or 0.0 for layer in self.layers)

    def __str__(self) -> str:
        rows = [("layer", "inputs", "spikes", "operations", "", "dense")]
        for layer in self.layers:
            spikes = "-" if layer.spikes is None else f"{layer.spikes:.1f}"
            counts = f"{layer.operations:.0f}", layer.kind, f"{layer.dense:.0f}"
            rows.append((layer.name, f"{layer.inputs:.1f}", spikes, *counts))
        widths = [max(len(row[k]) for row in rows) for k in range(6)]
        lines = [
            "  ".join(
                cell.ljust(width) if k in (0, 4) else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        total = f"{self.total('AC'):.0f} AC and {self.total('MAC'):.0f} MAC per sample"
        return "\n".join([*lines, f"{total}, {self.spikes:.1f} spikes, {self.footprint} bytes"])


@torch.no_grad()
def cost(model: nn.Module, inputs: Any) -> Cost:
    """Count spikes and synaptic operations of a model, per sample, in one forward.

    Counted are evtorch's layers with weights, ``nn.Linear`` and ``nn.Conv1d`` to ``3d``, each as
    often as it is called. Pooling, delays and neurons' own dynamics have no synapses. A spike of a
    recurrent layer is an input of its neurons, too. Of layers that run together on a backend, count
    the model that they were made of.

    **Arguments:** ``model``: in the mode in which it is to be counted; ``inputs``: what it takes, a
    tensor, `Events` or a dict of tensors, with samples along the first axis.

    **Raises:** ``ValueError`` if there is no such layer, or one of evtorch's was not called.
    """
    found: list[LayerCost] = []
    called: set[str] = set()
    samples = _samples(inputs)

    def note(name: str, layer: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        called.add(name)
        found.append(_layer_cost(name, layer, given[0], out, samples))

    modules = dict(model.named_modules())
    counted = {n: m for n, m in modules.items() if isinstance(m, _OF_NUMBERS + _OF_SPIKES)}
    hooks = [
        module.register_forward_hook(lambda m, given, out, name=name: note(name, m, given, out))
        for name, module in counted.items()
    ]
    try:
        model(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    own = {name for name, m in counted.items() if isinstance(m, _OF_SPIKES)}
    left = sorted(own - called)
    if left or not found:
        raise ValueError(
            f"the forward did not call {', '.join(left) or 'any layer with weights'}, so nothing "
            "was counted there; pass the model itself, before on_backend"
        )
    tensors = [*model.parameters(), *model.buffers()]
    return Cost(tuple(found), sum(t.numel() * t.element_size() for t in tensors))


def _samples(inputs: Any) -> int:
    if isinstance(inputs, Mapping):
        inputs = next(iter(inputs.values()), None)
    first = inputs.time if isinstance(inputs, Events) else inputs
    if not isinstance(first, Tensor) or first.ndim == 0 or len(first) == 0:
        raise ValueError("inputs must have samples along the first axis, at least one")
    return len(first)


def _layer_cost(name: str, layer: Any, given: Any, out: Any, samples: int) -> LayerCost:
    if isinstance(layer, _OF_NUMBERS):
        inputs, operations, dense = _of_numbers(layer, given)
        kind, spikes = "MAC", None
    else:
        inputs, operations, dense = _of_spikes(layer, given)
        out = out[0] if isinstance(out, tuple) else out
        # Not those that QIF neurons add after the end.
        happened = _before(out, layer.t_max) if isinstance(layer, ModelLayer) else out.isfinite()
        kind, spikes = "AC", None if isinstance(layer, LI) else float(happened.sum())
        if isinstance(layer, RecurrentLIF | RecurrentModelLayer):
            counts = input_counts(out, layer.out_features, layer.t_max, torch.float64)
            is_lif = isinstance(layer, RecurrentLIF)
            weight = layer.dense_recurrent_weight() if is_lif else layer.recurrent_weight
            fan_out = (weight != 0).double().sum(0)
            operations += float((counts @ fan_out).sum())
            dense += samples * layer.recurrent_weight.numel()
    return LayerCost(
        name=name,
        kind=kind,
        inputs=inputs / samples,
        operations=operations / samples,
        dense=dense / samples,
        spikes=None if spikes is None else spikes / samples,
    )


def _of_spikes(layer: Any, given: Any) -> tuple[float, float, float]:
    """Spikes that arrive, operations, and connections times samples."""
    if isinstance(layer, Projections):
        each = [
            _fully_connected(synapses.arriving(given[name]), synapses.weight, layer.t_max)
            for name, synapses in layer.synapses.items()
        ]
        inputs, operations, dense = (sum(values) for values in zip(*each, strict=True))
        return inputs, operations, dense
    arriving = layer.delay_input(given)
    connections = layer.connections() if hasattr(layer, "connections") else None
    if isinstance(layer, RecurrentLIF) and connections is None and layer.sparse is not None:
        connections = layer.sparse.with_delay(None)
        if isinstance(arriving, Events):
            arriving = times_of_events(arriving, layer.in_features, layer.t_max)
    if connections is None:
        return _fully_connected(arriving, layer.weight, layer.t_max)
    inputs = _before(given.time if isinstance(given, Events) else given, layer.t_max).sum()
    return float(inputs), *_by_list(arriving, layer.weight, connections, layer.t_max)


def _fully_connected(spikes: Any, weight: Tensor, t_max: float) -> tuple[float, float, float]:
    counts = input_counts(spikes, weight.shape[1], t_max, torch.float64)
    fan_out = (weight != 0).double().sum(0)
    samples = counts[..., 0].numel() if weight.shape[1] else 0
    return float(counts.sum()), float((counts @ fan_out).sum()), float(samples * weight.numel())


def _before(times: Tensor, t_max: float) -> Tensor:
    return times.isfinite() & (times <= t_max)


def _rows(weight: Array, *, connections: Connections) -> Array:
    return connections.rows(weight)


def _by_list(
    spikes: Tensor, weight: Tensor, connections: Connections, t_max: float
) -> tuple[float, float]:
    """Operations, and connections times samples, of neurons in places with lists of inputs."""
    counts = _before(lists_of(spikes, connections), t_max).double().sum(-1)
    fan_out = _fan_out(weight, connections)
    # What a list lacks has no weight in it: of each place, its own.
    dense = counts.shape[1] * float(_fan_out(torch.ones_like(weight), connections).sum())
    return float(torch.einsum("gbi,gi->", counts, fan_out)), dense


def _fan_out(weight: Tensor, connections: Connections) -> Tensor:
    rows = call_as_is(_rows, weight, connections=connections)
    return (rows != 0).double().sum(1)


def _of_numbers(layer: Any, x: Tensor) -> tuple[float, float, float]:
    """Inputs that are not 0, multiplications of two numbers that are not 0, and of all."""
    active, weight = (x != 0).to(x.dtype), (layer.weight != 0).to(layer.weight.dtype)

    def products(x: Tensor, weight: Tensor) -> float:
        if isinstance(layer, nn.Linear):
            return float(nn.functional.linear(x, weight).double().sum())
        return float(layer._conv_forward(x, weight, None).double().sum())

    dense = products(torch.ones_like(x), torch.ones_like(weight))
    return float(active.double().sum()), products(active, weight), dense
