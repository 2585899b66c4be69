"""Interleaved timing, and what has to be said about the machine beside every number."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

WARM_UP_STEPS = 3
BLOCK_SECONDS = 0.2
MAX_BLOCK_STEPS = 20


class Timing(NamedTuple):
    """Seconds per step: quartiles over ``steps`` steps, each timed on its own."""

    median: float
    lower_quartile: float
    upper_quartile: float
    steps: int


def measure(
    runs: Mapping[str, Callable[[int], object]], batches: int, rounds: int
) -> dict[str, Timing]:
    """Time every run in turn, ``rounds`` times over, so that a change of load hits all alike.

    A turn is one untimed step, which brings the run's data back into the caches, and as many timed
    ones as fit into ``BLOCK_SECONDS``. ``runs`` maps a name to a function of the batch's index.
    """
    clocks = {name: _Clock(run, batches) for name, run in runs.items()}
    block = {}
    for name, clock in clocks.items():
        seconds = min(clock.step() for _ in range(WARM_UP_STEPS))
        block[name] = int(np.clip(BLOCK_SECONDS / seconds, 1, MAX_BLOCK_STEPS))
    seconds_of: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, clock in clocks.items():
            clock.step()
            seconds_of[name] += [clock.step() for _ in range(block[name])]
    return {name: _summary(seconds) for name, seconds in seconds_of.items()}


class _Clock:
    """Steps a run through its batches, over and over."""

    def __init__(self, run: Callable[[int], object], batches: int) -> None:
        self._run, self._batches, self._next = run, batches, 0

    def step(self) -> float:
        begin = time.perf_counter()
        self._run(self._next)
        seconds = time.perf_counter() - begin
        self._next = (self._next + 1) % self._batches
        return seconds


def _summary(seconds: list[float]) -> Timing:
    lower, median, upper = np.quantile(seconds, [0.25, 0.5, 0.75])
    return Timing(float(median), float(lower), float(upper), len(seconds))


def machine() -> dict[str, str]:
    """The date, and what processor, system and versions are."""
    packages = ("evtorch", "torch", "jax", "jaxlib", "numpy", "optax", "jaxsnn")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "torch threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


def described(*more: str) -> str:
    """What a report says of date, machine and versions, with those of ``more`` packages."""
    where = machine()
    names = ("date", "processor", "cores", "system", "python")
    names += ("evtorch", "torch", "jax", "jaxlib", "numpy")
    parts = [f"{name} {where[name]}" for name in names]
    return ", ".join([*parts, *(f"{package} {version(package)}" for package in more)])


def load() -> str:
    """The system's load averages over 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
