"""Spike times so late that floating-point numbers are far apart there, for a neuron's constants."""

import math
import warnings
from typing import Any

import numpy as np

from .._events import Events
from .._validate import canonical_dtype, known

RESOLUTION = 1e-3
"""Spikes are late where neighbouring floating-point numbers may differ by more than this fraction
of the shorter time constant: with 10 ms, after 84 s in float32, and after 1400 years in float64.
"""


class LateSpikeWarning(RuntimeWarning):
    """Spikes are so late that their dtype rounds them by a noticeable part of a time constant."""


def latest_resolved(eps: float, shortest: Any) -> Any:
    """The time up to which spikes are resolved, with the shortest time constant, seconds."""
    return RESOLUTION * shortest / eps


def late_message(
    name: str, count: int, present: int, last: float, eps: float, shortest: float, dtype: Any
) -> str:
    """What is wrong with late spikes, and what to do about it."""
    return (
        f"{count} of {present} {name} are so late, up to {last:g} s, that {dtype} rounds their "
        f"times to {eps * last:.1g} s, which is no longer small for a time constant of "
        f"{shortest:g} s: distances between spikes are lost. Subtract an origin before times "
        f"become {dtype} (origin='first' of evtorch.torch_api.nir), let each sample begin at 0, "
        f"or compute in float64"
    )


def warn_if_late(
    spikes: Any, tau_mem: Any, tau_syn: Any, name: str = "spikes", *, values: bool = True
) -> None:
    """Warn of input spikes that are late, where all values are known."""
    times = spikes.time if isinstance(spikes, Events) else spikes
    if not values or not all(known(x) for x in (times, tau_mem, tau_syn)):
        return
    dtype = canonical_dtype(times)
    eps = float(np.finfo(dtype).eps)
    shortest = min(float(np.min(tau, initial=math.inf)) for tau in (tau_mem, tau_syn))
    checked = np.asarray(times)
    late = (checked > latest_resolved(eps, shortest)) & np.isfinite(checked)
    if late.any():
        present, last = int(np.isfinite(checked).sum()), float(checked[late].max())
        message = late_message(name, int(late.sum()), present, last, eps, shortest, dtype)
        warnings.warn(message, LateSpikeWarning, stacklevel=4)
