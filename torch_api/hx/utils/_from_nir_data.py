"""Spikes of NIR as dense tensors."""

from typing import Any

import torch
from torch import Tensor

from ...nir._data import from_nir_data as events_from_nir_data
from ...spikes._events import spike_times_from_events
from ..engines._raster import SpikeRaster


def from_nir_data(
    nir_graph_data: Any, hxtorch_model: Any, *, sort: bool = False
) -> dict[str, Tensor]:
    """Dense spikes ``(time, batch, neurons)`` of the nodes of a ``nir.NIRGraphData``, seconds.

    A spike lies in the step of ``hxtorch_model.exp.dt`` that it falls into; rasters of events
    remember the exact times, which the event engine uses.

    **Arguments:** ``sort``: sort events that do not ascend in time instead of raising.
    """
    dt = hxtorch_model.exp.dt
    found = {}
    for name, events in events_from_nir_data(nir_graph_data, sort=sort).items():
        if name not in nir_graph_data.nodes:
            raise ValueError(
                f"node {name!r} lies in a NIRGraphData within nir_graph_data, which has no "
                f"counterpart in an experiment; give the inner one"
            )
        observed = nir_graph_data.nodes[name].observables["spikes"]
        steps = round(observed.t_max / dt)
        neurons = observed.n_neurons
        per_neuron = torch.zeros(len(events.time), neurons + 1, dtype=torch.long)
        per_neuron.scatter_add_(1, (events.index + 1).long(), torch.ones_like(events.index).long())
        room = int(per_neuron[:, 1:].max()) if per_neuron.numel() else 0
        times = spike_times_from_events(events, neurons, max(room, 1))
        late = torch.isfinite(times) & (times >= steps * dt)
        if late.any():
            raise ValueError(f"node {name!r} has a spike at its t_max or later; raise its t_max")
        finite = torch.isfinite(times)
        step = torch.where(finite, times / dt + 1e-4, 0).floor().long()
        raster = torch.zeros(steps, *times.shape[:2])
        sample, neuron, _ = torch.nonzero(finite, as_tuple=True)
        raster[step[finite], sample, neuron] = 1
        found[name] = SpikeRaster.remembering(raster, times, dt)
    return found
