"""Spikes as NIR's data format has them (``nir.data_ir``), from and to `Events`."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from ...jax_core import Events
from .._validate import check_dtype
from ._aer import flat_samples
from ._package import nir_package
from ._times import Origin, Sample, check_origin, check_time_unit, padded, seconds, since


def to_nir_data(
    spikes: Mapping[str, Events | Tensor],
    t_max: float,
    *,
    neurons: Mapping[str, int] | None = None,
    time_unit: float = 1.0,
    origin: float = 0.0,
) -> Any:
    """Write the spikes of nodes as a ``nir.NIRGraphData``; save it with ``nir.write_data``.

    **Arguments:**

    - ``spikes``: by the name of the node, spike times ``(..., neurons, k)`` or ``Events``, seconds.
      Leading dimensions become one, of samples.
    - ``t_max``: end of the recording, seconds, not before the last spike.
    - ``neurons``: by the name of the node; needed for ``Events``, which do not say.
    - ``time_unit``: seconds per unit of the times written.
    - ``origin``: what is written for time 0, in this unit, as `from_nir_data` returns it.
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
        written = time / time_unit + origin
        data = nir.EventData(index, written, count, t_max / time_unit + origin)
        nodes[name] = nir.NIRNodeData({"spikes": data})
    return nir.NIRGraphData(nodes)


@overload
def from_nir_data(
    data: Any,
    *,
    time_unit: float = ...,
    sort: bool = ...,
    dtype: torch.dtype | None = ...,
    origin: Origin = ...,
    return_origin: Literal[False] = ...,
    max_events: int | None = ...,
) -> dict[str, Events]: ...
@overload
def from_nir_data(
    data: Any,
    *,
    time_unit: float = ...,
    sort: bool = ...,
    dtype: torch.dtype | None = ...,
    origin: Origin = ...,
    return_origin: Literal[True],
    max_events: int | None = ...,
) -> tuple[dict[str, Events], int | float]: ...
def from_nir_data(
    data: Any,
    *,
    time_unit: float = 1.0,
    sort: bool = False,
    dtype: torch.dtype | None = None,
    origin: Origin = None,
    return_origin: bool = False,
    max_events: int | None = None,
) -> dict[str, Events] | tuple[dict[str, Events], int | float]:
    """Read the spikes of a ``nir.NIRGraphData``.

    Events become events; on a grid of steps, each entry that is true becomes an event at the start
    of its step. Other observables than ``"spikes"`` are left out.

    **Arguments:**

    - ``data``: the ``nir.NIRGraphData``, e.g. from ``nir.read_data``.
    - ``time_unit``: seconds per unit of its times.
    - ``sort``: sort events that do not ascend in time instead of raising.
    - ``dtype``: of the times.
    - ``origin``: what becomes time 0, in units of the times; ``"first"`` is the first event of all
      nodes and samples, which keep their common clock.
    - ``return_origin``: also return the origin, a number.
    - ``max_events``: room for this many events per sample; ``None`` rounds up to one of few sizes,
      as `events_from_aer`.

    **Returns:** ``Events`` of shape ``(samples, M)`` by the name of the node, ``"graph.node"``
    within sub-graphs; with ``return_origin`` a tuple of them and the origin.

    **Raises:** ``ValueError`` naming the node for unsorted or negative times, different times that
    would become equal in ``dtype``, addresses out of range, events with values, and grids that are
    not boolean; `SpikeOverflowError` for more than ``max_events`` events.
    """
    dtype = check_dtype(dtype)
    check_time_unit(time_unit)
    origin = check_origin(origin)
    nodes = {name: _samples(node, name, sort) for name, node in _spiking_nodes(data)}
    start = 0 if origin is None else origin
    if isinstance(start, str):
        firsts = [time[0].item() for node, _ in nodes.values() for time, _ in node if len(time)]
        start = min(firsts, default=0)
    found = {}
    for node, (samples, width) in nodes.items():
        names = [f"sample {place} of node {node!r}" for place in range(len(samples))]
        converted = []
        for (time, index), name in zip(samples, names, strict=True):
            ticks, _ = since(time, start, name)
            converted.append((seconds(ticks, time, time_unit, dtype, name, origin), index))
        found[node] = padded(converted, dtype, max_events, names, width)
    return (found, start) if return_origin else found


def _spiking_nodes(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The spikes of all nodes by their names, those of sub-graphs included."""
    for name, node in data.nodes.items():
        if hasattr(node, "nodes"):
            yield from _spiking_nodes(node, f"{prefix}{name}.")
        elif "spikes" in node.observables:
            yield prefix + name, node.observables["spikes"]


def _samples(data: Any, name: str, sort: bool) -> tuple[list[Sample], int]:
    """Times, in the type that they are stored in, and addresses of each sample, ascending.

    **Returns:** them, and the room that they are stored in.
    """
    kind = type(data).__name__
    if kind == "ValuedEventData":
        raise ValueError(
            f"node {name!r} has events with values, which spikes do not have; store EventData"
        )
    if kind == "TimeGriddedData":
        return _off_grid(data, name), 0
    time, index = np.asarray(data.time), np.asarray(data.idx)
    there = index != -1
    good = np.where(there, (index >= 0) & (index < data.n_neurons), True)
    _check(good, index, name, f"must be -1 or 0 to {data.n_neurons - 1}")
    good = np.where(there, np.isfinite(time) & (time >= 0), time == np.inf)
    _check(good, time, name, "must be finite and >= 0, or inf where the index is -1")
    unsorted = time[:, 1:] < time[:, :-1]
    if unsorted.any() and not sort:
        sample, event = np.argwhere(unsorted)[0]
        raise ValueError(
            f"events of node {name!r} must ascend in time, with padding last, but event "
            f"{event + 1} of sample {sample} comes before event {event}; pass sort=True"
        )
    found = []
    for ticks, address, real in zip(time, index, there, strict=True):
        ticks, address = ticks[real], address[real].astype(np.int32)
        order = np.argsort(ticks, kind="stable")
        found.append((ticks[order], address[order]))
    return found, time.shape[-1]


def _off_grid(data: Any, name: str) -> list[Sample]:
    grid = np.asarray(data.data)
    if grid.dtype != np.bool_:
        raise ValueError(
            f"node {name!r} has a grid of {grid.dtype}, not of bool; spikes are true or false"
        )
    found = []
    for raster in grid:
        step, neuron = np.nonzero(raster)
        found.append((step * float(data.dt), neuron.astype(np.int32)))
    return found


def _check(good: np.ndarray, value: np.ndarray, name: str, rule: str) -> None:
    if not good.all():
        place = tuple(int(i) for i in np.argwhere(~good)[0])
        raise ValueError(f"event {place} of node {name!r} is {value[place]}, but {rule}")
