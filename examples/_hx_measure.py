"""What a training step costs in time and memory, and how exact its gradient is."""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hx_yinyang import SNN, US, loss_of
from torch import Tensor

import evtorch.torch_api.hx as hxsnn
from evtorch.torch_api.datasets import YinYang
from evtorch.torch_api.hx.transforms.encode import SpikeTimesToDense

EXACT = "event-based, exact"
METHODS: dict[str, dict[str, Any]] = {
    EXACT: {"engine": "event"},
    "time grid, surrogate gradient": {"engine": "euler"},
    "time grid, EventProp": {
        "engine": "euler",
        "synapse": hxsnn.EventPropSynapse,
        "neuron": hxsnn.EventPropLIF,
    },
}
_STEPS = 38
_WEIGHTS = 16
_TURN = 0.3


def inputs(dt: float, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Spikes at whole microseconds, which every grid has, and classes."""
    data = YinYang(batch, seed=7)
    times = ((2 + 24 * data.values).round() * US).to(dtype)
    times = torch.nn.functional.pad(times, (0, 1), value=2 * US)
    # In the middle of a step, where rounding cannot move a spike to another one.
    raster = SpikeTimesToDense(dt, round(_STEPS * US / dt))(times + 1e-3 * dt).to(dtype)
    return hxsnn.SpikeRaster.remembering(raster, times[..., None], dt), data.classes


Case = tuple[str, float]
"""A method and its time step, seconds."""


def name_of(case: Case) -> str:
    """For a legend or a progress bar."""
    method, dt = case
    return method if method == EXACT else f"{method}, {dt / US:g} µs"


def step_seconds(cases: list[Case], hidden: int, batch: int, rounds: int) -> list[float]:
    """Median seconds of a training step for each case.

    All cases take turns, so that other load on the machine hits them alike. A turn is one untimed
    step, and then as many as fit into a third of a second, or one.
    """
    steps = [_training_step(*case, hidden, batch) for case in cases]
    seconds: list[list[float]] = [[] for _ in cases]
    for step in steps:
        step()
    for _ in range(rounds):
        for step, found in zip(steps, seconds, strict=True):
            turn = max(1, min(20, int(_TURN / step())))
            found += [step() for _ in range(turn)]
    return [statistics.median(found) for found in seconds]


def step_megabytes(method: str, dt: float, hidden: int, batch: int) -> float:
    """Memory of a training step at its peak, beyond what the process had before it built a network.

    In a process of its own. What stays of compiling is included, its own peak is not.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_step_megabytes, (method, dt, hidden, batch))


def _step_megabytes(method: str, dt: float, hidden: int, batch: int) -> float:
    torch.set_num_threads(1)
    before = _memory("VmRSS")
    step = _training_step(method, dt, hidden, batch)
    step()
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    step()
    return _memory("VmHWM") - before


def _training_step(method: str, dt: float, hidden: int, batch: int) -> Callable[[], float]:
    """A function that makes a step, and **returns** its seconds."""
    torch.manual_seed(3)
    network = SNN(hidden, dt, **METHODS[method])
    spikes, classes = inputs(dt, batch, torch.float32)
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        loss_of(network(spikes).amax(0), classes).backward()
        optimizer.step()
        return time.perf_counter() - start

    return step


def _memory(what: str) -> float:
    """Megabytes of this process as Linux counts them; NaN elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(x for x in status.read_text().splitlines() if x.startswith(what))
    return int(line.split()[1]) / 1024


def gradient_errors(cases: list[Case], hidden: int, batch: int) -> list[float]:
    """Relative errors of the hidden weights' gradients.

    Measured against central differences of the loss of the exact model, simulated event by event
    in float64 and read out at the same time steps, for the weights with the largest gradients.
    """
    errors = []
    for dt in dict.fromkeys(dt for _, dt in cases):
        exact = _network(EXACT, dt, hidden)
        spikes, classes = inputs(dt, batch, torch.float64)
        largest = _gradient(exact, spikes, classes).abs().flatten()
        at = largest.topk(min(_WEIGHTS, len(largest))).indices
        true = torch.stack([_difference(exact, int(k), spikes, classes) for k in at])
        for method in (method for method, own in cases if own == dt):
            found = _gradient(_network(method, dt, hidden), spikes, classes)
            error = float((found.flatten()[at] - true).norm() / true.norm())
            errors.append((cases.index((method, dt)), error))
    return [error for _, error in sorted(errors)]


def _network(method: str, dt: float, hidden: int) -> SNN:
    torch.manual_seed(3)
    return SNN(hidden, dt, **METHODS[method]).double()


def _gradient(network: SNN, spikes: Tensor, classes: Tensor) -> Tensor:
    network.zero_grad()
    loss_of(network(spikes).amax(0), classes).backward()
    assert network.linear_h.weight.grad is not None
    return network.linear_h.weight.grad.clone()


@torch.no_grad()
def _difference(network: SNN, k: int, spikes: Tensor, classes: Tensor) -> Tensor:
    weight = network.linear_h.weight.view(-1)
    value, size = weight[k].item(), 1e-6
    losses = []
    for moved in (value + size, value - size):
        weight[k] = moved
        losses.append(loss_of(network(spikes).amax(0), classes))
    weight[k] = value
    return (losses[0] - losses[1]) / (2 * size)
