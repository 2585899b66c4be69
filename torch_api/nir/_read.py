"""From a NIR graph to layers."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..layers._convolved import Convolved
from ..layers._pooling import FlattenSpikes, SumPool2d, UnflattenSpikes
from ._convention import Convention, find_convention
from ._graph import Block, Chain, read_chain
from ._layers import Reader
from ._package import nir_package
from ._record import record_of
from ._shapes import Shape, conv_shapes, pool_shapes


def from_nir(
    graph: Any,
    convention: Convention | str | None = None,
    *,
    tau_syn: float | None = None,
    bias: Literal["error", "rest"] = "error",
    lif: Mapping[str, Any] | None = None,
    li: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Sequential:
    """Make layers of a NIR graph, a chain of projections and neurons.

    A Linear or Affine with the CubaLIF neurons behind it becomes a `LIF`, with LIF or IF neurons a
    `DeltaLIF`, of which those of IF have ``tau_mem = inf``, with CubaLI neurons an `LI`. If another
    Linear leads from the neurons back to them it is the recurrent layer of this name. A Conv1d or
    Conv2d with spiking neurons becomes a `LIFConv1d`, `DeltaLIFConv2d` and so on; with neurons that
    such a layer does not have (`docs/nir.md`), a layer with a matrix made of the kernel. A
    SumPool2d becomes a `SumPool2d`, an AvgPool2d too, and its division a factor of the next
    weights. A Delay becomes a `Delay`, or the dendritic delay of a `LIF` if it stands between
    projection and neurons. What enters and leaves
    is flat, in C order; where layers have axes of channels and positions, `UnflattenSpikes` and
    `FlattenSpikes` stand between. `to_nir` writes what was not changed since exactly as it was.

    **Arguments:**

    - ``graph``: a ``nir.NIRGraph``, or the path of a file that ``nir.write`` wrote.
    - ``convention``: what its numbers mean: ``"nir"``, ``"hxtorch"``, ``"norse"``, ``"snntorch"``
      or a `Convention`; not needed for graphs of `to_nir`, which note it.
    - ``tau_syn``: seconds; LIF, LI and IF nodes, which have no synapse, get one with this time
      constant, which carries the same charge, and become `LIF`, `LI` and `IF`; those that spike get
      a refractory time of 10 ``tau_syn``, as what a voltage jump has above the threshold is lost.
      The shorter, the closer; see `compare`. Other than without, spike times then depend on
      weights smoothly, so that these can learn from them.
    - ``bias``: ``"error"`` refuses an Affine or convolution with a bias other than 0. ``"rest"``
      moves the leak potential by the voltage to which the bias would lift the neuron; the neuron
      then starts there, while in NIR the bias acts from t = 0 on.
    - ``lif``, ``li``: further arguments of the layers, such as ``{"max_spikes": 4}``.
    - ``device``, ``dtype``: of the layers.

    **Returns:** the layers in an ``nn.Sequential``.

    **Raises:** ``ValueError`` naming the node that cannot be represented, the reason, a remedy.
    """
    if bias not in ("error", "rest"):
        raise ValueError(f"bias must be 'error' or 'rest', got {bias!r}")
    if tau_syn is not None and not 0 < tau_syn < float("inf"):
        raise ValueError(f"tau_syn must be finite and > 0 (seconds), got {tau_syn}")
    graph = open_graph(graph)
    convention = find_convention(convention, graph)
    reader = Reader(convention, tau_syn, bias, dict(lif or {}), dict(li or {}), device, dtype)
    chain = read_chain(graph)
    layers = [reader.layer(block) for block in chain.blocks]
    chain.blocks[-1].chain.extend(chain.trailing)
    _remember_ends(layers, chain)
    return nn.Sequential(*_reshaped(chain.blocks, layers))


def _reshaped(blocks: list[Block], layers: list[nn.Module]) -> list[nn.Module]:
    """The layers, with axes of neurons made and joined between them, so that ends are flat."""
    found: list[nn.Module] = []
    current: Shape | None = None
    for block, layer in zip(blocks, layers, strict=True):
        wanted, given = _axes(block, layer)
        if wanted != current:
            if current is not None:
                found.append(FlattenSpikes(len(current)))
            if wanted is not None:
                found.append(UnflattenSpikes(wanted))
        found.append(layer)
        current = given
    if current is not None:
        found.append(FlattenSpikes(len(current)))
    return found


def _axes(block: Block, layer: nn.Module) -> tuple[Shape, Shape] | tuple[None, None]:
    """The axes of neurons that a layer takes and gives, ``None`` for one."""
    if isinstance(layer, Convolved):
        return conv_shapes(block.projection, block.arriving)
    if isinstance(layer, SumPool2d):
        assert block.pool is not None
        return pool_shapes(block.pool, block.arriving)
    return None, None


def _remember_ends(layers: list[nn.Module], chain: Chain) -> None:
    for layer in layers:
        record = record_of(layer)
        assert record is not None
        record.source, record.target = chain.source.name, chain.target.name


def open_graph(graph: Any) -> Any:
    """The graph itself, or the one in a file, unchecked as Norse writes Inputs with a batch."""
    if isinstance(graph, str | os.PathLike):
        return nir_package().read(Path(graph), type_check=False)
    return graph
