"""From layers to a NIR graph."""

import itertools
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from torch import nn

from ..layers._delay import Delay
from ..layers._li import LI
from ..layers._lif import LIF
from ..layers._neuron_layer import NeuronLayer
from ..layers._recurrent_lif import RecurrentLIF
from ._convention import Convention, find_convention, noted
from ._new_nodes import new_loop, new_nodes
from ._node import NEURONS, NOTED, SPIKING
from ._package import nir_package
from ._record import Record, record_of
from ._remembered_nodes import has_projection, remembered_loop, remembered_nodes
from ._values import values

Nodes = list[tuple[str, Any]]
Layer = LIF | RecurrentLIF | LI | Delay


def to_nir(
    model: nn.Module,
    convention: Convention | str | None = None,
    *,
    refractory: Literal["error", "metadata"] = "error",
) -> Any:
    """Write layers as a NIR graph.

    A `LIF` becomes a Linear and a CubaLIF, a `RecurrentLIF` has a second Linear from its neurons to
    themselves, an `LI` becomes a Linear and a CubaLI, a `Delay` or the delay of a layer a Delay.
    Weights are written as they are (``"nir"``: ``w_in = tau_syn``, so that a spike raises the
    current by the weight). What `from_nir` read with the same convention, and nothing has changed
    since, is written exactly as it was, names included. Save it with ``nir.write``.

    **Arguments:**

    - ``model``: a `LIF`, `LI` or `Delay`, or an ``nn.Sequential`` of these. Encoders stand before
      the spikes and have no counterpart in NIR: pass the layers behind them.
    - ``convention``: in which to write, a name or a `Convention` as in `from_nir`; ``None``: the
      one that the model was read with, else ``"nir"``.
    - ``refractory``: NIR has no refractory time. ``"error"`` refuses layers that have one;
      ``"metadata"`` notes it beside the node, where evtorch finds it and others do not look.

    **Returns:** a ``nir.NIRGraph``.
    """
    nir = nir_package()
    if refractory not in ("error", "metadata"):
        raise ValueError(f"refractory must be 'error' or 'metadata', got {refractory!r}")
    layers = list(_layers(model, ""))
    if not layers:
        raise ValueError("model has no layers to write; pass LIF, LI or Delay layers")
    records = [record_of(layer) for _, layer in layers]
    found = _convention(records, convention)
    nodes: Nodes = []
    loops: list[tuple[str, Nodes]] = []
    for position, (path, layer) in enumerate(layers):
        if isinstance(layer, LI) and position < len(layers) - 1:
            raise ValueError(f"layer {path!r} (LI) gives numbers, no spikes; it must come last")
        record, held = records[position], 0.0
        if record is not None and record.convention == found and has_projection(layer, record):
            written, held = remembered_nodes(nir, layer, record), record.refractory
            loop = remembered_loop(nir, layer, record)
        else:
            written = new_nodes(nir, layer, path, found)
            loop = new_loop(nir, layer, path, found)
        _note(written, layer, path, held, refractory)
        _join(nir, nodes, written, path)
        nodes += written
        if loop:
            neuron = next(name for name, node in written if type(node).__name__ in SPIKING)
            loops.append((neuron, loop))
    first, last = records[0], records[-1]
    ends = (first.source if first else "input", last.target if last else "output")
    return _graph(nir, nodes, loops, found, ends)


def _convention(records: list[Record | None], given: Convention | str | None) -> Convention:
    """The convention given, or else the one that layers were read with."""
    if given is not None:
        return find_convention(given, None)
    return next((record.convention for record in records if record is not None), Convention())


def _layers(module: nn.Module, path: str) -> Iterator[tuple[str, Layer]]:
    if isinstance(module, Layer):
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
    refractory = values(layer.refractory) if isinstance(layer, NeuronLayer) else np.zeros(0)
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


def _join(nir: Any, nodes: Nodes, written: Nodes, path: str) -> None:
    """Let new nodes follow those before them: flatten, if need be, and give names only once."""
    if nodes:
        before = np.ravel(nodes[-1][1].output_type["output"])
        after = np.ravel(written[0][1].input_type["input"])
        if before.prod() != after.prod():
            raise ValueError(
                f"layer {path!r} takes {after.prod()} neurons, but the one before it has "
                f"{before.prod()}; make the layers fit"
            )
        if len(before) > len(after) == 1:
            flatten = nir.Flatten(input_type={"input": before}, start_dim=0, end_dim=-1)
            written.insert(0, (f"flatten_{path}", flatten))
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
) -> Any:
    named = dict(nodes)
    first = _unique(ends[0], set(named))
    last = _unique(ends[1], {first, *named})
    source = nir.Input(input_type={"input": np.ravel(nodes[0][1].input_type["input"])})
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
