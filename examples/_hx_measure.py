"""What a training step costs in time and memory, and how exact its gradient is."""

import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from hx_yinyang import SNN, US, loss_of
from torch import Tensor

import evtorch.torch_api.hx as hxsnn
from evtorch.torch_api.datasets import YinYang
from evtorch.torch_api.hx.transforms.encode import SpikeTimesToDense

METHODS: dict[str, dict[str, Any]] = {
    "event-based, exact": {"engine": "event"},
    "time grid, surrogate gradient": {"engine": "euler"},
    "time grid, EventProp": {
        "engine": "euler",
        "synapse": hxsnn.EventPropSynapse,
        "neuron": hxsnn.EventPropLIF,
    },
}
_STEPS = 38
_WEIGHTS = 16


def inputs(dt: float, batch: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Spikes at whole microseconds, which every grid has, and classes."""
    data = YinYang(batch, seed=7)
    times = ((2 + 24 * data.values).round() * US).to(dtype)
    times = torch.nn.functional.pad(times, (0, 1), value=2 * US)
    # In the middle of a step, where rounding cannot move a spike to another one.
    raster = SpikeTimesToDense(dt, round(_STEPS * US / dt))(times + 1e-3 * dt)
    return hxsnn.SpikeRaster.remembering(raster, times[..., None], dt), data.classes


def step_cost(method: str, dt: float, hidden: int, batch: int, repeats: int) -> dict[str, float]:
    """Seconds and megabytes of a training step, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_step_cost, (method, dt, hidden, batch, repeats))


def _step_cost(method: str, dt: float, hidden: int, batch: int, repeats: int) -> dict[str, float]:
    torch.set_num_threads(1)
    before = _memory("VmRSS")
    network = SNN(hidden, dt, **METHODS[method])
    spikes, classes = inputs(dt, batch, torch.float32)
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> float:
        start = time.perf_counter()
        optimizer.zero_grad()
        loss_of(network(spikes).amax(0), classes).backward()
        optimizer.step()
        return time.perf_counter() - start

    step()
    # Compilation has its own peak, which is not that of a step.
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    seconds = statistics.median(step() for _ in range(repeats))
    return {"seconds": seconds, "megabytes": _memory("VmHWM") - before}


def _memory(what: str) -> float:
    """Megabytes of this process as Linux counts them; NaN elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    line = next(x for x in status.read_text().splitlines() if x.startswith(what))
    return int(line.split()[1]) / 1024


def gradient_errors(steps: list[tuple[str, float]], hidden: int, batch: int) -> list[float]:
    """Relative errors of the hidden weights' gradients, for each ``(method, dt)``.

    Measured against central differences of the exact model's loss, in float64, for the weights
    with the largest gradients.
    """
    exact = _network("event-based, exact", US, hidden)
    spikes, classes = inputs(US, batch, torch.float64)
    gradient = _gradient(exact, spikes, classes)
    at = gradient.abs().flatten().topk(min(_WEIGHTS, gradient.numel())).indices
    true = torch.stack([_difference(exact, int(k), spikes, classes) for k in at])
    errors = []
    for method, dt in steps:
        found = _gradient(_network(method, dt, hidden), *inputs(dt, batch, torch.float64))
        errors.append(float((found.flatten()[at] - true).norm() / true.norm()))
    return errors


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
