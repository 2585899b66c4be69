"""Neurons on a time grid: explicit Euler, as hxtorch's simulation computes them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._threshold import threshold as spiking_threshold

Value = Tensor | float


class Integrated(NamedTuple):
    """Traces ``(time, batch, neurons)``."""

    membrane: Tensor
    current: Tensor
    adaptation: Tensor
    spikes: Tensor


def cuba_aelif_integration(
    input: Tensor | Sequence[Tensor],
    *,
    leak: Value,
    reset: Value,
    threshold: Value,
    tau_syn: Value,
    c_mem: Value,
    g_l: Value,
    refractory_time: Value = 0.0,
    method: str = "superspike",
    alpha: float = 50.0,
    exp_slope: Value = 1.0,
    exp_threshold: Value = 0.0,
    subthreshold_adaptation_strength: Value = 0.0,
    spike_triggered_adaptation_increment: Value = 0.0,
    tau_adap: Value = 1.0,
    dt: float = 1e-6,
    leaky: bool = True,
    fire: bool = True,
    exponential: bool = False,
    subthreshold_adaptation: bool = False,
    spike_triggered_adaptation: bool = False,
) -> Integrated:
    """Adaptive exponential neurons, current-based synapses; terms can be switched off.

    In a step the membrane moves by ``dt/c (i + g_l (leak - v) + ...)`` with the current of the
    step before, then the current decays by ``1 - dt/tau_syn`` and takes up the input (so that input
    acts one step later), then neurons with ``v > threshold`` spike and are reset.

    **Arguments:** ``input``: weighted spikes ``(time, batch, neurons)``, or several to be summed;
    constants in SI units and voltages, numbers or tensors ``(neurons,)``.
    """
    total = input if isinstance(input, Tensor) else torch.stack(tuple(input)).sum(0)
    shape = total.shape[1:]
    v = torch.zeros(shape, dtype=total.dtype, device=total.device)
    i, w, hold = v, v, v
    if leaky or subthreshold_adaptation:
        v = v + leak
    is_adapting = subthreshold_adaptation or spike_triggered_adaptation
    pauses = fire and not _is_zero(refractory_time)
    z = torch.zeros_like(v)
    traces: list[tuple[Tensor, ...]] = []
    # Not total[step], whose backward would make a gradient of all steps for each of them.
    for received in total.unbind(0):
        drive = i
        if leaky:
            drive = drive + g_l * (leak - v)
        if exponential:
            drive = drive + g_l * exp_slope * torch.exp((v - exp_threshold) / exp_slope)
        if is_adapting:
            drive = drive - w
        i = i * (1 - dt / tau_syn) + received
        v = v + dt / c_mem * drive
        if fire:
            z = spiking_threshold(v - threshold, method, alpha)
        if is_adapting:
            w_next = w * (1 - dt / tau_adap)
            if subthreshold_adaptation:
                w_next = w_next + dt / tau_adap * subthreshold_adaptation_strength * (v - leak)
            if spike_triggered_adaptation:
                w_next = w_next + spike_triggered_adaptation_increment * z
            w = w_next
        if fire:
            v = (1 - z.detach()) * v + z.detach() * reset
        if pauses:
            is_held = (hold > 0).to(v.dtype)
            v = (1 - is_held) * v + is_held * reset
            z = (1 - is_held) * z
            hold = (1 - z) * torch.relu(hold - is_held) + z * (refractory_time / dt)
        traces.append((v, i, w, z))
    if not traces:
        return Integrated(*(total.new_zeros(0, *shape) for _ in range(4)))
    return Integrated(*(torch.stack(trace) for trace in zip(*traces, strict=True)))


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
) -> tuple[Tensor, Tensor, Tensor, None]:
    """LIF neurons whose decays per step are given: ``exp(-dt/tau)``.

    **Returns:** ``(spikes, membrane, current, None)``.
    """
    _refuse(hw_data)
    v = torch.zeros_like(input[0]) + leak
    i = torch.zeros_like(v)
    traces = []
    for step in input:
        v = tau_mem_exp * (v - leak) + leak + (1 - tau_mem_exp) * i
        i = tau_syn_exp * i + step
        z = spiking_threshold(v - threshold, method, alpha)
        v = (1 - z.detach()) * v + z.detach() * reset
        traces.append((z, v, i))
    spikes, membrane, current = (torch.stack(trace) for trace in zip(*traces, strict=True))
    return spikes, membrane, current, None


def exp_cuba_li_integration(
    input: Tensor,
    *,
    leak: Value,
    tau_syn_exp: Value,
    tau_mem_exp: Value,
    hw_data: Any = None,
) -> tuple[Tensor, Tensor, None]:
    """Leaky integrators with given decays per step; **returns** ``(membrane, current, None)``."""
    _, membrane, current, _ = exp_cuba_lif_integration(
        input,
        leak=leak,
        reset=leak,
        threshold=math.inf,
        tau_syn_exp=tau_syn_exp,
        tau_mem_exp=tau_mem_exp,
        hw_data=hw_data,
    )
    return membrane, current, None


def _refuse(hw_data: Any) -> None:
    if hw_data is not None:
        raise ValueError("hw_data is not supported; run on a backend with Experiment(mock=False)")


def _is_zero(value: Value) -> bool:
    return bool((torch.as_tensor(value) == 0).all())
