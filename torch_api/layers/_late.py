"""Input spikes so late that their dtype rounds them by a noticeable part of a time constant."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from ...jax_core import LateSpikeWarning
from ...jax_core.spikes._resolution import late_message, latest_resolved
from .._validate import values_are_checked


@torch.no_grad()
def count_late(times: Tensor, constants: dict[str, Any]) -> Tensor | None:
    """How many spikes are late, a scalar on their device; ``None`` if there is none for sure.

    **Arguments:** ``times``: of any shape; ``constants``: of the neurons that they reach, by name.
    """
    times = times.detach()
    limit = latest_resolved(torch.finfo(times.dtype).eps, _shortest(constants))
    # Quick where there is no padding; it waits for the device, as checks of values do.
    if values_are_checked() and (times.numel() == 0 or bool(times.amax() <= limit)):
        return None
    return ((times > limit) & (times < math.inf)).sum(dtype=torch.int32)


def warn_if_late(times: Tensor, constants: dict[str, Any], name: str = "spikes") -> None:
    """Warn of late spikes, where values are checked."""
    if not values_are_checked():
        return
    late = count_late(times, constants)
    if late is None or not bool(late):
        return
    finite = times.detach()[times.detach() < math.inf]
    message = late_message(
        name,
        int(late),
        finite.numel(),
        float(finite.max()),
        torch.finfo(times.dtype).eps,
        float(_shortest(constants)),
        str(times.dtype).removeprefix("torch."),
    )
    warnings.warn(message, LateSpikeWarning, stacklevel=4)


def _shortest(constants: dict[str, Any]) -> Any:
    """The shorter time constant, of all neurons: a number, or a scalar on the neurons' device."""
    found: Any = math.inf
    for name in ("tau_mem", "tau_syn"):
        value = constants.get(name, math.inf)
        if not isinstance(value, Tensor):
            found = min(found, value) if not isinstance(found, Tensor) else found.clamp(max=value)
        elif value.numel():
            least = value.detach().amin()
            found = (
                torch.minimum(found, least) if isinstance(found, Tensor) else least.clamp(max=found)
            )
    return found
