"""EventProp on a time grid, as hxtorch discretises it: for comparison with the exact method."""

from typing import Any

import torch
from torch import Tensor


class EventPropSynapseFunction(torch.autograd.Function):
    """Weighted spikes, stacked with zeros that give the adjoint a second way back."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        weighted = input.matmul(weight.t())
        return torch.stack((weighted, torch.zeros_like(weighted)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        to_weight, to_input = gradients[0]
        return (
            to_input.matmul(weight) if ctx.needs_input_grad[0] else None,
            torch.einsum("tbo,tbi->boi", to_weight, input).sum(0)
            if ctx.needs_input_grad[1]
            else None,
        )


class EventPropLIFFunction(torch.autograd.Function):
    """Euler steps forward, the discretised adjoint backward; ``(spikes, membrane, current)``.

    The current takes up the input before the membrane moves, other than in
    `cuba_aelif_integration`. Gradients of membrane and current are ignored. With ``hw_data``, a
    handle as there, spikes and membrane are those measured, and the current is ``None``.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        leak: Any,
        reset: Any,
        threshold: Any,
        tau_syn: Any,
        tau_mem: Any,
        hw_data: Any = None,
        dt: float = 1e-6,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        weighted = input[0]
        ctx.constants = (leak, reset, threshold, tau_syn, tau_mem, dt)
        if hw_data is not None:
            current = _currents(weighted, tau_syn, dt)
            spikes = hw_data.spikes.to(weighted)[: len(weighted)]
            ctx.save_for_backward(spikes, current)
            membrane = getattr(hw_data.voltage, "cadc", None)
            return spikes.clone(), None if membrane is None else membrane.to(weighted), None
        i = torch.zeros_like(weighted[0])
        z, v = torch.zeros_like(i), torch.zeros_like(i) + leak
        traces = [(z, v, i)]
        for step in range(len(weighted) - 1):
            i = i * (1 - dt / tau_syn) + weighted[step]
            v = v + dt / tau_mem * (leak - v + i)
            # A voltage that is NaN must not look like silence.
            z = torch.where(v.isnan(), v, (v > threshold).to(v.dtype))
            v = torch.where(z > 0, torch.zeros_like(v) + reset, v)
            traces.append((z, v, i))
        spikes, membrane, current = (torch.stack(trace) for trace in zip(*traces, strict=True))
        ctx.save_for_backward(spikes, current)
        return spikes, membrane, current

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        z, i = ctx.saved_tensors
        leak, reset, threshold, tau_syn, tau_mem, dt = ctx.constants
        upstream = gradients[0]
        lv, li = torch.zeros_like(i), torch.zeros_like(i)
        for step in range(len(z) - 1, 0, -1):
            before = leak - threshold + i[step - 1]
            after = leak - reset + i[step - 1]
            li[step - 1] = li[step] + dt / tau_syn * (lv[step] - li[step])
            decayed = lv[step] * (1 - dt / tau_mem)
            is_flat = before == 0
            before = torch.where(is_flat, 1, before)
            output = torch.where(is_flat, 0, z[step] / before * upstream[step])
            jump = torch.where(is_flat, 0, z[step] * after / before)
            lv[step - 1] = (1 - z[step]) * decayed + jump * decayed + output
        return torch.stack((li * tau_syn, lv - li)), *(None,) * 7


def _currents(weighted: Tensor, tau_syn: Any, dt: float) -> Tensor:
    """Synaptic currents of the steps of weighted spikes."""
    currents = [torch.zeros_like(weighted[0])]
    for received in weighted[:-1]:
        currents.append(currents[-1] * (1 - dt / tau_syn) + received)
    return torch.stack(currents)
