"""Leaky integrate-and-fire neurons on a time grid."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._aelif import cuba_aelif_integration
from ._measured import Measured, Value, seen, stacked
from ._threshold import threshold as spiking_threshold


def cuba_lif_integration(
    input: Tensor | Sequence[Tensor],
    *,
    leak: Value,
    reset: Value,
    threshold: Value,
    tau_syn: Value,
    tau_mem: Value,
    refractory_time: Value = 0.0,
    method: str = "superspike",
    alpha: float = 50.0,
    dt: float = 1e-6,
) -> tuple[Tensor, Tensor, Tensor]:
    """Leaky integrate-and-fire neurons; **returns** ``(spikes, membrane, current)``."""
    found = cuba_aelif_integration(
        input,
        leak=leak,
        reset=reset,
        threshold=threshold,
        tau_syn=tau_syn,
        c_mem=tau_mem,
        g_l=1.0,
        refractory_time=refractory_time,
        method=method,
        alpha=alpha,
        dt=dt,
    )
    return found.spikes, found.membrane, found.current


def exp_cuba_lif_integration(
    input: Tensor,
    *,
    leak: Value,
    reset: Value,
    threshold: Value,
    tau_syn_exp: Value,
    tau_mem_exp: Value,
    method: str = "superspike",
    alpha: float = 50.0,
    hw_data: Any = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """LIF neurons whose decays per step are given: ``exp(-dt/tau)``.

    **Arguments:** ``hw_data``: as in `cuba_aelif_integration`.

    **Returns:** ``(spikes, membrane, current, fine samples of the membrane)``.
    """
    measured = Measured.of(hw_data, input)
    v = torch.zeros_like(input[0]) + leak
    i = torch.zeros_like(v)
    traces = []
    for step, received in enumerate(input.unbind(0)[: measured.steps(len(input))]):
        v = tau_mem_exp * (v - leak) + leak + (1 - tau_mem_exp) * i
        v = seen(v, measured.membrane, step)
        i = tau_syn_exp * i + received
        z = seen(spiking_threshold(v - threshold, method, alpha), measured.spikes, step)
        if measured.membrane is None:
            v = (1 - z.detach()) * v + z.detach() * reset
        traces.append((z, v, i))
    spikes, membrane, current = stacked(traces, 3, input)
    return spikes, membrane, current, measured.membrane_madc
