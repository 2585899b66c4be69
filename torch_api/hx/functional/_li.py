"""Leaky integrators on a time grid."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._aelif import cuba_aelif_integration
from ._lif import exp_cuba_lif_integration
from ._measured import Value


def cuba_li_integration(
    input: Tensor | Sequence[Tensor],
    *,
    leak: Value,
    tau_syn: Value,
    tau_mem: Value,
    dt: float = 1e-6,
) -> tuple[Tensor, Tensor]:
    """Leaky integrators; **returns** ``(membrane, current)``."""
    found = cuba_aelif_integration(
        input,
        leak=leak,
        reset=leak,
        threshold=math.inf,
        tau_syn=tau_syn,
        c_mem=tau_mem,
        g_l=1.0,
        dt=dt,
        fire=False,
    )
    return found.membrane, found.current


def exp_cuba_li_integration(
    input: Tensor | Sequence[Tensor],
    *,
    leak: Value,
    tau_syn_exp: Value,
    tau_mem_exp: Value,
    hw_data: Any = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Leaky integrators with given decays per step.

    **Returns:** ``(membrane, current, fine samples of the membrane)``.
    """
    _, membrane, current, madc = exp_cuba_lif_integration(
        input if isinstance(input, Tensor) else torch.stack(tuple(input)).sum(0),
        leak=leak,
        reset=leak,
        threshold=math.inf,
        tau_syn_exp=tau_syn_exp,
        tau_mem_exp=tau_mem_exp,
        hw_data=hw_data,
    )
    return membrane, current, madc
