"""What stands for a spike of a neuron that is silent: a time that goes on from the grazing one."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from ...jax_core import Events
from .. import functional
from ._neuron_layer import LI_CONSTANTS, NeuronLayer

Silent = Literal["inf", "peak"]


def check_silent(silent: str, silent_time: float | None, t_max: float) -> float:
    """Check what a layer gives for silent neurons; **returns** the time of one without a peak."""
    if silent not in ("inf", "peak"):
        raise ValueError(f'silent must be "inf" or "peak", got {silent!r}')
    if silent_time is None:
        if silent == "peak" and math.isinf(t_max):
            raise ValueError(
                'silent_time must be given with silent="peak" where t_max is infinite: a neuron '
                "whose voltage never rises gets that time; choose one after the latest spike"
            )
        return float(t_max)
    if silent == "inf":
        raise ValueError('silent_time is for silent="peak"; pass that too, or leave it out')
    if not 0 <= silent_time < math.inf:
        raise ValueError(f"silent_time must be None or finite and >= 0, got {silent_time}")
    if silent_time < t_max < math.inf:
        raise ValueError(
            f"silent_time must be at least t_max = {t_max:g}, got {silent_time:g}: a neuron "
            f"without a spike would come before others that spike"
        )
    return float(silent_time)


def silent_repr(silent: Silent, silent_time: float) -> list[str]:
    """The part of a layer's ``extra_repr``."""
    return [] if silent == "inf" else [f"silent={silent!r}, silent_time={silent_time:g}"]


def with_pseudo_spikes(
    layer: NeuronLayer, spikes: Tensor | Events, weight: Tensor, out: Tensor, silent_time: float
) -> Tensor:
    """``out``, with a time in the first slot of neurons that did not spike.

    **Arguments:** ``spikes``: all that arrives at the neurons; ``weight``: through which it does;
    ``out``: what the layer found, ``(..., out, k)``.
    """
    constants: dict[str, Any] = {
        name: value for name, value in layer.constants().items() if name in LI_CONSTANTS
    }
    peak, at = functional.li_peak(spikes, weight, **constants, t_max=layer.t_max)
    leak, threshold = (
        torch.as_tensor(x, dtype=weight.dtype, device=weight.device)
        for x in (layer.v_leak, layer.v_threshold)
    )
    rests = leak < threshold
    height = (peak - leak) / torch.where(rests, threshold - leak, 1)
    return filled(out, torch.where(rests, height, 0), at, silent_time)


def filled(out: Tensor, height: Tensor, at: Tensor, silent_time: float) -> Tensor:
    """``out``, of neurons without a spike with the time that goes with a voltage's peak.

    **Arguments:** ``height``: of the peak, from 0 to 1 at the threshold; ``at``: its time.
    """
    height = height.clamp(max=1)
    pseudo = height * at + (1 - height) * silent_time
    first = torch.where(out[..., 0] == math.inf, pseudo, out[..., 0])
    return torch.cat([first.unsqueeze(-1), out[..., 1:]], dim=-1)
