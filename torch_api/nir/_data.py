"""Spikes as NIR's data format has them (``nir.data_ir``), from and to `Events`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...jax_core import Events
from .._validate import check_dtype
from ._aer import flat_samples
from ._package import nir_package


def to_nir_data(
    spikes: Mapping[str, Events | Tensor],
    t_max: float,
    *,
    neurons: Mapping[str, int] | None = None,
    time_unit: float = 1.0,
) -> Any:
    """Write the spikes of nodes as a ``nir.NIRGraphData``; save it with ``nir.write_data``.

    **Arguments:**

    - ``spikes``: by the name of the node, spike times ``(..., neurons, k)`` or ``Events``, seconds.
      Leading dimensions become one, of samples.
    - ``t_max``: end of the recording, seconds, not before the last spike.
    - ``neurons``: by the name of the node; needed for ``Events``, which do not say.
    - ``time_unit``: seconds per unit of the times written.
    """
    nir = nir_package()
    nodes = {}
    for name, signal in spikes.items():
        count = (neurons or {}).get(name)
        if isinstance(signal, Events):
            if count is None:
                raise ValueError(f"neurons must say how many neurons node {name!r} has")
        else:
            count = signal.shape[-2]
        time, index = flat_samples(signal, count)
        late = time[np.isfinite(time) & (time > t_max)]
        if late.size:
            raise ValueError(
                f"node {name!r} has a spike at {late[0]} s, after t_max = {t_max}; raise t_max"
            )
        data = nir.EventData(index, time / time_unit, count, t_max / time_unit)
        nodes[name] = nir.NIRNodeData({"spikes": data})
    return nir.NIRGraphData(nodes)


def from_nir_data(
    data: Any, *, time_unit: float = 1.0, sort: bool = False, dtype: torch.dtype | None = None
) -> dict[str, Events]:
    """Read the spikes of a ``nir.NIRGraphData``.

    Events become events; on a grid of steps, each entry that is true becomes an event at the start
    of its step. Other observables than ``"spikes"`` are left out.

    **Arguments:**

    - ``data``: the ``nir.NIRGraphData``, e.g. from ``nir.read_data``.
    - ``time_unit``: seconds per unit of its times.
    - ``sort``: sort events that do not ascend in time instead of raising.
    - ``dtype``: of the times.

    **Returns:** ``Events`` of shape ``(samples, M)`` by the name of the node, ``"graph.node"``
    within sub-graphs.

    **Raises:** ``ValueError`` naming the node for unsorted or negative times, addresses out of
    range, events with values, and grids that are not boolean.
    """
    dtype = check_dtype(dtype)
    found: dict[str, Events] = {}
    for name, node in data.nodes.items():
        if hasattr(node, "nodes"):
            inner = from_nir_data(node, time_unit=time_unit, sort=sort, dtype=dtype)
            found |= {f"{name}.{key}": value for key, value in inner.items()}
        elif "spikes" in node.observables:
            time, index = _read(node.observables["spikes"], name, sort)
            found[name] = Events(
                torch.as_tensor(time * time_unit).to(dtype), torch.as_tensor(index)
            )
    return found


def _read(data: Any, name: str, sort: bool) -> tuple[np.ndarray, np.ndarray]:
    kind = type(data).__name__
    if kind == "ValuedEventData":
        raise ValueError(
            f"node {name!r} has events with values, which spikes do not have; store EventData"
        )
    if kind == "TimeGriddedData":
        return _off_grid(data, name)
    time, index = np.asarray(data.time, np.float64), np.asarray(data.idx)
    there = index != -1
    good = np.where(there, (index >= 0) & (index < data.n_neurons), True)
    _check(good, index, name, f"must be -1 or 0 to {data.n_neurons - 1}")
    good = np.where(there, np.isfinite(time) & (time >= 0), time == np.inf)
    _check(good, time, name, "must be finite and >= 0, or inf where the index is -1")
    unsorted = time[:, 1:] < time[:, :-1]
    if unsorted.any():
        if not sort:
            sample, event = np.argwhere(unsorted)[0]
            raise ValueError(
                f"events of node {name!r} must ascend in time, with padding last, but event "
                f"{event + 1} of sample {sample} comes before event {event}; pass sort=True"
            )
        order = np.argsort(time, axis=-1, kind="stable")
        time, index = np.take_along_axis(time, order, -1), np.take_along_axis(index, order, -1)
    return time, index.astype(np.int32)


def _off_grid(data: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    grid = np.asarray(data.data)
    if grid.dtype != np.bool_:
        raise ValueError(
            f"node {name!r} has a grid of {grid.dtype}, not of bool; spikes are true or false"
        )
    counts = grid.sum((1, 2))
    room = int(counts.max(initial=0))
    time = np.full((len(grid), room), np.inf)
    index = np.full((len(grid), room), -1, np.int32)
    for sample, raster in enumerate(grid):
        step, neuron = np.nonzero(raster)
        time[sample, : len(step)], index[sample, : len(step)] = step * float(data.dt), neuron
    return time, index


def _check(good: np.ndarray, value: np.ndarray, name: str, rule: str) -> None:
    if not good.all():
        place = tuple(int(i) for i in np.argwhere(~good)[0])
        raise ValueError(f"event {place} of node {name!r} is {value[place]}, but {rule}")
