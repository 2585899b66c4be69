"""Neurons on a time grid: explicit Euler, as hxtorch's simulation computes them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...backend._straight_through import straight_through
from ._refractory import refractory_update
from ._step_integration_code_factory import check_step_code
from ._threshold import threshold as spiking_threshold

Value = Tensor | float


class Integrated(NamedTuple):
    """Traces ``(time, batch, neurons)``."""

    membrane: Tensor
    current: Tensor
    adaptation: Tensor
    spikes: Tensor


class _Measured(NamedTuple):
    """What was measured: ``(time, batch, neurons)`` each, and of one neuron, finely sampled."""

    membrane: Tensor | None = None
    adaptation: Tensor | None = None
    spikes: Tensor | None = None
    membrane_madc: Tensor | None = None
    adaptation_madc: Tensor | None = None

    @staticmethod
    def of(hw_data: Any, like: Tensor) -> "_Measured":
        """Read a handle with ``voltage``, ``adaptation`` and ``spikes``."""
        if hw_data is None:
            return _Measured()
        voltage, adaptation = hw_data.voltage, hw_data.adaptation
        found = (
            getattr(voltage, "cadc", None),
            getattr(adaptation, "cadc", None),
            hw_data.spikes,
            getattr(voltage, "madc", None),
            getattr(adaptation, "madc", None),
        )
        return _Measured(*(None if each is None else each.to(like) for each in found))

    def at(self, step: int) -> tuple[Tensor | None, Tensor | None]:
        """Spikes and membrane of a step."""
        spikes, membrane = self.spikes, self.membrane
        return (
            None if spikes is None else spikes[step],
            None if membrane is None else membrane[step],
        )

    def steps(self, most: int) -> int:
        """The number of steps that all have."""
        return min([most, *(len(each) for each in self[:3] if each is not None)])


def _seen(computed: Tensor, measured: Tensor | None, step: int) -> Tensor:
    """The measured value of a step, if there is one, with the gradient of the computed one."""
    return computed if measured is None else straight_through(computed, measured[step])


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
    if refractory is None and integration_step_code is not None:
        refractory = "refractory" in integration_step_code.split("\n")
    elif refractory is None:
        refractory = fire and not _is_zero(refractory_time)
    measured = _Measured.of(hw_data, total)
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
    traces: list[tuple[Tensor, ...]] = []
    # Not total[step], whose backward would make a gradient of all steps for each of them.
    for step, received in enumerate(total.unbind(0)[: measured.steps(len(total))]):
        drive = i
        if leaky:
            drive = drive + g_l * (leak - v)
        if exponential:
            drive = drive + g_l * exp_slope * torch.exp((v - exp_threshold) / exp_slope)
        if subthreshold_adaptation or spike_triggered_adaptation:
            drive = drive - w
        i = i * (1 - dt / tau_syn) + received
        v = _seen(v + dt / c_mem * drive, measured.membrane, step)
        if fire:
            z = _seen(spiking_threshold(v - threshold, method, alpha), measured.spikes, step)
        if subthreshold_adaptation or spike_triggered_adaptation:
            w_next = w * (1 - dt / tau_adap)
            if subthreshold_adaptation:
                w_next = w_next + dt / tau_adap * subthreshold_adaptation_strength * (v - leak)
            if spike_triggered_adaptation:
                w_next = w_next + spike_triggered_adaptation_increment * z
            w = _seen(w_next, measured.adaptation, step)
        if fire and measured.membrane is None:
            v = (1 - z.detach()) * v + z.detach() * reset
        if fire and refractory:
            z, v, hold = refractory_update(
                *(z, v, hold, *measured.at(step)),
                reset=reset,
                refractory_time=refractory_time,
                dt=dt,
            )
        traces.append((v, i, w, z))
    found = _stacked(traces, 4, total)
    if integration_step_code is None:
        return Integrated(*found)
    membrane, current, adaptation, spikes = found
    return (
        *(membrane, measured.membrane_madc, current),
        *(adaptation, measured.adaptation_madc, spikes),
    )


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
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """LIF neurons whose decays per step are given: ``exp(-dt/tau)``.

    **Arguments:** ``hw_data``: as in `cuba_aelif_integration`.

    **Returns:** ``(spikes, membrane, current, fine samples of the membrane)``.
    """
    measured = _Measured.of(hw_data, input)
    v = torch.zeros_like(input[0]) + leak
    i = torch.zeros_like(v)
    traces = []
    for step, received in enumerate(input.unbind(0)[: measured.steps(len(input))]):
        v = tau_mem_exp * (v - leak) + leak + (1 - tau_mem_exp) * i
        v = _seen(v, measured.membrane, step)
        i = tau_syn_exp * i + received
        z = _seen(spiking_threshold(v - threshold, method, alpha), measured.spikes, step)
        if measured.membrane is None:
            v = (1 - z.detach()) * v + z.detach() * reset
        traces.append((z, v, i))
    spikes, membrane, current = _stacked(traces, 3, input)
    return spikes, membrane, current, measured.membrane_madc


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


def _stacked(traces: list[tuple[Tensor, ...]], count: int, like: Tensor) -> tuple[Tensor, ...]:
    if not traces:
        return tuple(like.new_zeros(0, *like.shape[1:]) for _ in range(count))
    return tuple(torch.stack(trace) for trace in zip(*traces, strict=True))


def _is_zero(value: Value) -> bool:
    return bool((torch.as_tensor(value) == 0).all())
