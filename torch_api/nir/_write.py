"""From layers to a NIR graph."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from torch import nn

from ..layers._delay import Delay
from ..layers._li import LI
from ..layers._lif import LIF
from ..layers._lif_conv import LIFConv1d, LIFConv2d
from ..layers._model_layer import ModelLayer
from ..layers._neuron_layer import NeuronLayer
from ..layers._pooling import FlattenSpikes, SumPool2d, UnflattenSpikes
from ..layers._recurrent_lif import RecurrentLIF
from ._convention import Convention, find_convention, noted
from ._new_nodes import new_loop, new_nodes
from ._node import NEURONS, NOTED, POOLS, SPIKING, Named
from ._package import nir_package
from ._record import Record, record_of
from ._remembered_nodes import has_projection, remembered_loop, remembered_nodes
from ._shapes import Shape, pool_gain
from ._values import values

Nodes = list[tuple[str, Any]]
Layer = LIF | RecurrentLIF | LIFConv1d | LIFConv2d | ModelLayer | LI | Delay | SumPool2d
Reshape = UnflattenSpikes | FlattenSpikes


def to_nir(
    model: nn.Module,
    convention: Convention | str | None = None,
    *,
    refractory: Literal["error", "metadata"] = "error",
    input_shape: Sequence[int] | None = None,
) -> Any:
    """Write layers as a NIR graph.

    A `LIF` becomes a Linear and a CubaLIF, an `LI` a Linear and a CubaLI, a `DeltaLIF` a Linear and
    a LIF, or an IF where ``tau_mem`` is ``inf``; recurrent layers have a second Linear from their
    neurons to themselves, and convolutions a Conv1d or Conv2d for the Linear. A `Delay` or the
    delay of a layer becomes a Delay, a `SumPool2d` a SumPool2d; a Flatten stands before the next
    layer of flat neurons.
    Weights are written as they are (``"nir"``: ``w_in = tau_syn``, so that a spike raises the
    current by the weight). What `from_nir` read with the same convention, and nothing has changed
    since, is written exactly as it was, names included. Save it with ``nir.write``.

    **Arguments:**

    - ``model``: one of these layers, or an ``nn.Sequential`` of them, with `FlattenSpikes` and
      `UnflattenSpikes` between them. Encoders stand before the spikes and have no counterpart in
      NIR: pass the layers behind them.
    - ``convention``: in which to write, a name or a `Convention` as in `from_nir`; ``None``: the
      one that the model was read with, else ``"nir"``.
    - ``refractory``: NIR has no refractory time. ``"error"`` refuses layers that have one;
      ``"metadata"`` notes it beside the node, where evtorch finds it and others do not look.
    - ``input_shape``: of the neurons before the model: (channels, height, width) or (channels,
      length), for a model that begins with a convolution or a `SumPool2d` of which nothing says how
      large its input is.

    **Returns:** a ``nir.NIRGraph``.
    """
    nir = nir_package()
    if refractory not in ("error", "metadata"):
        raise ValueError(f"refractory must be 'error' or 'metadata', got {refractory!r}")
    layers = list(_layers(model, ""))
    records = [record_of(layer) for _, layer in layers if not isinstance(layer, Reshape)]
    if not records:
        raise ValueError("model has no layers to write; pass LIF, LI or Delay layers")
    found = _convention(records, convention)
    given = None if input_shape is None else tuple(int(size) for size in input_shape)
    nodes, loops = _nodes(nir, layers, found, refractory, given)
    first, last = records[0], records[-1]
    if last is None and isinstance(layers[-1][1], FlattenSpikes):
        before = np.ravel(nodes[-1][1].output_type["output"])
        name, flatten = _flatten(nir, layers[-1][0], before)
        nodes += [(_unique(name, set(dict(nodes))), flatten)] if len(before) > 1 else []
    ends = (first.source if first else "input", last.target if last else "output")
    return _graph(nir, nodes, loops, found, ends, given)


def _nodes(
    nir: Any,
    layers: list[tuple[str, Layer | Reshape]],
    convention: Convention,
    refractory: str,
    shape: Shape | None,
) -> tuple[Nodes, list[tuple[str, Nodes]]]:
    """The nodes of all layers, and by the names of neurons those of their loops.

    **Arguments:** ``shape``: of the neurons before the first layer, if it was given.
    """
    nodes: Nodes = []
    loops: list[tuple[str, Nodes]] = []
    before = shape
    gain = 1.0
    integrator: str | None = None
    for path, layer in layers:
        if isinstance(layer, UnflattenSpikes):
            shape = layer.shape
        if isinstance(layer, Reshape):
            continue
        if integrator is not None:
            raise ValueError(
                f"layer {integrator!r} (LI) gives numbers, no spikes; it must come last"
            )
        integrator = path if isinstance(layer, LI) else None
        written, loop, held = _translated(nir, layer, path, convention, shape, gain)
        gain = _gain_behind(written, gain)
        _note(written, layer, path, held, refractory)
        _join(nir, nodes, written, path, before)
        nodes += written
        before = shape = tuple(int(n) for n in np.ravel(nodes[-1][1].output_type["output"]))
        if loop:
            neuron = next(name for name, node in written if type(node).__name__ in SPIKING)
            loops.append((neuron, loop))
    if gain != 1:
        raise ValueError(
            f"layer {layers[-1][0]!r} is the last one, but a SumPool2d before it was read from an "
            f"AvgPool2d, whose division is in the weights of the layer that followed; write that, "
            f"too, or put a new SumPool2d there"
        )
    return nodes, loops


def _gain_behind(written: Nodes, gain: float) -> float:
    """By what average pools have multiplied spikes, of which no projection knows yet."""
    for name, node in written:
        named = Named(name, node)
        gain = gain * pool_gain(named) if named.kind in POOLS else gain
        gain = 1.0 if named.kind in NEURONS else gain
    return gain


def _translated(
    nir: Any,
    layer: Layer,
    path: str,
    convention: Convention,
    shape: Shape | None,
    gain: float,
) -> tuple[Nodes, Nodes, float]:
    """The nodes of a layer, those of its loop, and the refractory time that they imply."""
    record = record_of(layer)
    if (
        record is not None
        and record.convention == convention
        and has_projection(layer, record)
        and record.takes(shape)
        and (record.gain == gain or not any(named.kind in NEURONS for named in record.chain))
    ):
        written = remembered_nodes(nir, layer, record)
        return written, remembered_loop(nir, layer, record), record.refractory
    if shape is None and record is not None:
        shape = record.arriving
    written = new_nodes(nir, layer, path, convention, shape, gain)
    return written, new_loop(nir, layer, path, convention), 0.0


def _convention(records: list[Record | None], given: Convention | str | None) -> Convention:
    """The convention given, or else the one that layers were read with."""
    if given is not None:
        return find_convention(given, None)
    return next((record.convention for record in records if record is not None), Convention())


def _layers(module: nn.Module, path: str) -> Iterator[tuple[str, Layer | Reshape]]:
    if isinstance(module, Layer | Reshape):
        yield path or "0", module
    elif isinstance(module, nn.Sequential):
        for name, child in module.named_children():
            yield from _layers(child, f"{path}.{name}" if path else name)
    else:
        raise TypeError(
            f"layer {path or 'model'!r} ({type(module).__name__}) has no counterpart in NIR; pass "
            f"an nn.Sequential of LIF, RecurrentLIF, LI and Delay layers, without what stands "
            f"before the spikes"
        )


def _note(written: Nodes, layer: nn.Module, path: str, held: float, policy: str) -> None:
    """Put beside the node what NIR does not have; ``held`` is a refractory time that it implies."""
    notes: dict[str, Any] = {name: getattr(layer, name) for name in NOTED if hasattr(layer, name)}
    refractory = np.zeros(0)
    if isinstance(layer, NeuronLayer | ModelLayer):
        refractory = values(layer.refractory)
    if refractory.size > 1:
        neurons = math.prod(written[-1][1].output_type["output"])
        refractory = np.repeat(refractory, neurons // refractory.size)
    if (refractory != held).any():
        if policy == "error":
            raise ValueError(
                f"layer {path!r} ({type(layer).__name__}) has a refractory time, which NIR does "
                f"not have; pass refractory='metadata' to note it where only evtorch looks, or "
                f"set it to 0"
            )
        notes["refractory"] = refractory if refractory.size > 1 else float(refractory[0])
    for _, node in written:
        if type(node).__name__ in NEURONS:
            node.metadata = {**node.metadata, "evtorch": notes}


def _join(nir: Any, nodes: Nodes, written: Nodes, path: str, before: Shape | None) -> None:
    """Let new nodes follow those before them: flatten, if need be, and give names only once.

    **Arguments:** ``before``: the shape of what comes, if it is known.
    """
    if before is not None:
        after = np.ravel(written[0][1].input_type["input"])
        if math.prod(before) != after.prod():
            raise ValueError(
                f"layer {path!r} takes {after.prod()} neurons, but "
                f"{'the one before it has' if nodes else 'input_shape says'} {math.prod(before)}; "
                f"make the layers fit"
            )
        if len(before) > len(after) == 1:
            written.insert(0, _flatten(nir, path, before))
        elif not np.array_equal(before, after):
            raise ValueError(
                f"layer {path!r} takes neurons in shape {tuple(after)}, but they come in shape "
                f"{tuple(before)}, and NIR cannot reshape; put no layer of another shape before it"
            )
    used = {name for name, _ in nodes}
    for place, (name, node) in enumerate(written):
        unique = _unique(name, used)
        used.add(unique)
        written[place] = (unique, node)


def _flatten(nir: Any, path: str, before: Any) -> tuple[str, Any]:
    types = {"input": np.array(before)}
    return f"flatten_{path}", nir.Flatten(input_type=types, start_dim=0, end_dim=-1)


def _unique(name: str, used: set[str]) -> str:
    found, count = name, 1
    while found in used:
        found, count = f"{name}_{count}", count + 1
    return found


def _graph(
    nir: Any,
    nodes: Nodes,
    loops: list[tuple[str, Nodes]],
    convention: Convention,
    ends: tuple[str, str],
    input_shape: Shape | None,
) -> Any:
    named = dict(nodes)
    first = _unique(ends[0], set(named))
    last = _unique(ends[1], {first, *named})
    shape = nodes[0][1].input_type["input"] if input_shape is None else input_shape
    source = nir.Input(input_type={"input": np.ravel(shape)})
    target = nir.Output(output_type={"output": np.ravel(nodes[-1][1].output_type["output"])})
    edges = list(itertools.pairwise([first, *named, last]))
    for neuron, loop in loops:
        way = [neuron]
        for name, node in loop:
            way.append(_unique(name, set(named)))
            named[way[-1]] = node
        edges += itertools.pairwise([*way, neuron])
    return nir.NIRGraph(
        nodes={first: source, **named, last: target},
        edges=edges,
        metadata={"evtorch": noted(convention)},
    )
