"""Read a graph in another framework and run it there, in steps.

    python _in_others.py norse|sinabs|rockpool GRAPH.nir RASTER.npy SPIKES.npy DT

The raster has the shape (steps, samples, *neurons), and so have the spikes. It knows nothing of
evtorch, so that it runs in an environment where that is not installed.
"""

# pyright: reportMissingImports=false

import sys
from typing import Any, cast

import numpy as np
import torch


def in_norse(graph: Any, raster: torch.Tensor, dt: float) -> torch.Tensor:
    """Norse, sample by sample, as it takes NIR's Flatten to include the samples."""
    import norse.torch as norse

    model, found = norse.from_nir(graph, dt=dt), []
    for sample in raster.transpose(0, 1):
        state, seen = None, []
        for step in sample:
            spikes, state = model(step, state)
            seen.append(spikes)
        found.append(torch.stack(seen))
    return torch.stack(found, dim=1)


def in_sinabs(graph: Any, raster: torch.Tensor, dt: float) -> torch.Tensor:
    """sinabs, with the neurons that NIR means: its reader gives those that subtract the threshold,
    spike several times a step, and whose voltage has a lower limit."""
    import sinabs.layers as layers
    from sinabs.activation import MembraneReset, SingleSpike
    from sinabs.nir import from_nir

    model = from_nir(graph, batch_size=raster.shape[1])
    for layer in model.modules():
        if isinstance(layer, layers.IAFSqueeze | layers.LIFSqueeze):
            layer.reset_fn, layer.spike_fn, layer.min_v_mem = MembraneReset(), SingleSpike, None
    out = model(raster.transpose(0, 1).flatten(0, 1))
    out = out[0] if isinstance(out, tuple) else out
    return out.unflatten(0, (raster.shape[1], len(raster))).transpose(0, 1)


def in_rockpool(graph: Any, raster: torch.Tensor, dt: float) -> torch.Tensor:
    """Rockpool, which takes its step from the graph."""
    from rockpool.nn.modules.torch.nir import from_nir

    return from_nir(graph)(raster.transpose(0, 1))[0].transpose(0, 1)


def without_reset(path: str) -> None:
    """Leave out ``v_reset``, which versions of nir up to 1.0.4 do not know; it must be 0."""
    import h5py

    with h5py.File(path, "r+") as file:
        for node in cast(Any, file["node/nodes"]).values():
            if "v_reset" in node:
                assert not np.any(node["v_reset"][()])
                del node["v_reset"]


@torch.no_grad()
def main(framework: str, path: str, raster: str, out: str, dt: str) -> None:
    import nir

    if nir.version <= "1.0.4":
        without_reset(path)
    run = {"norse": in_norse, "sinabs": in_sinabs, "rockpool": in_rockpool}[framework]
    spikes = run(nir.read(path), torch.as_tensor(np.load(raster)), float(dt))
    np.save(out, spikes.numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
