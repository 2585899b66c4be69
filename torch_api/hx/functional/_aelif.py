"""Neurons on a time grid: explicit Euler, as hxtorch's simulation computes them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ._measured import Measured, Value, seen, stacked
from ._refractory import refractory_update
from ._step_integration_code_factory import check_step_code
from ._threshold import threshold as spiking_threshold


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
    hw_data: Any = None,
    dt: float = 1e-6,
    leaky: bool = True,
    fire: bool = True,
    refractory: bool | None = None,
    exponential: bool = False,
    subthreshold_adaptation: bool = False,
    spike_triggered_adaptation: bool = False,
    integration_step_code: str | None = None,
) -> Any:
    """Adaptive exponential neurons, current-based synapses; terms can be switched off.

    In a step the membrane moves by ``dt/c (i + g_l (leak - v) + ...)`` with the current of the
    step before, then the current decays by ``1 - dt/tau_syn`` and takes up the input (so that input
    acts one step later), then neurons with ``v > threshold`` spike and are reset.

    **Arguments:** ``input``: weighted spikes ``(time, batch, neurons)``, or several to be summed;
    constants in SI units and voltages, numbers or tensors ``(neurons,)``. ``refractory``: whether
    there is a refractory time; ``None``: where it is not 0. ``hw_data``: a handle of what was
    measured, which takes the place of what is computed and has its gradient.
    ``integration_step_code``: the terms once more, from `CuBaStepCode`.

    **Returns:** `Integrated`; with ``integration_step_code``, as hxtorch, the tuple (membrane, its
    fine samples, current, adaptation, its fine samples, spikes).
    """
    total = input if isinstance(input, Tensor) else torch.stack(tuple(input)).sum(0)
    if refractory is None:
        refractory = _is_refractory(integration_step_code, fire, refractory_time)
    measured = Measured.of(hw_data, total)
    if integration_step_code is not None:
        check_step_code(
            integration_step_code,
            leaky=leaky,
            fire=fire,
            refractory=refractory,
            exponential=exponential,
            subthreshold_adaptation=subthreshold_adaptation,
            spike_triggered_adaptation=spike_triggered_adaptation,
        )
    v = torch.zeros(total.shape[1:], dtype=total.dtype, device=total.device)
    i, w, hold, z = v, v, v, v
    if leaky or subthreshold_adaptation:
        v = v + leak
    adapts = subthreshold_adaptation or spike_triggered_adaptation
    traces: list[tuple[Tensor, ...]] = []
    # Not total[step], whose backward would make a gradient of all steps for each of them.
    for step, received in enumerate(total.unbind(0)[: measured.steps(len(total))]):
        drive = i
        if leaky:
            drive = drive + g_l * (leak - v)
        if exponential:
            drive = drive + g_l * exp_slope * torch.exp((v - exp_threshold) / exp_slope)
        if adapts:
            drive = drive - w
        i = i * (1 - dt / tau_syn) + received
        v = seen(v + dt / c_mem * drive, measured.membrane, step)
        if fire:
            z = seen(spiking_threshold(v - threshold, method, alpha), measured.spikes, step)
        if adapts:
            w_next = w * (1 - dt / tau_adap)
            if subthreshold_adaptation:
                w_next = w_next + dt / tau_adap * subthreshold_adaptation_strength * (v - leak)
            if spike_triggered_adaptation:
                w_next = w_next + spike_triggered_adaptation_increment * z
            w = seen(w_next, measured.adaptation, step)
        if fire and measured.membrane is None:
            v = (1 - z.detach()) * v + z.detach() * reset
        if fire and refractory:
            state = z, v, hold, *measured.at(step)
            pause = {"reset": reset, "refractory_time": refractory_time, "dt": dt}
            z, v, hold = refractory_update(*state, **pause)
        traces.append((v, i, w, z))
    found = Integrated(*stacked(traces, 4, total))
    return found if integration_step_code is None else _as_hxtorch(found, measured)


def _is_zero(value: Value) -> bool:
    return bool((torch.as_tensor(value) == 0).all())


def _is_refractory(step_code: str | None, fire: bool, refractory_time: Value) -> bool:
    if step_code is not None:
        return "refractory" in step_code.split("\n")
    return fire and not _is_zero(refractory_time)


def _as_hxtorch(found: Integrated, measured: Measured) -> tuple[Any, ...]:
    membrane, current, adaptation, spikes = found
    return (
        *(membrane, measured.membrane_madc, current),
        *(adaptation, measured.adaptation_madc, spikes),
    )
