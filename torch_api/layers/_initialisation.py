"""How large weights are to begin with."""

import torch
from torch import Tensor

from ._constants import Constant

# Sum and spread of the inputs' coincident postsynaptic potentials, in units of the threshold;
# chosen such that most neurons spike in layers of very different sizes.
_MEAN = 2.0
_STD = 1.0
# Spread of the coincident postsynaptic potentials of all neurons of a recurrent layer, likewise.
_RECURRENT_STD = 0.2


def postsynaptic_peak(tau_mem: Tensor, tau_syn: Tensor) -> Tensor:
    """The largest voltage after one input spike of weight 1, float64.

    ``r^(-r/(r-1))`` with ``r = tau_mem / tau_syn``, and ``1/e`` for ``r = 1``.
    """
    ratio = tau_mem / tau_syn
    near_one = (ratio - 1).abs() < 1e-6
    safe = torch.where(near_one, 2.0, ratio)
    exponent = torch.where(near_one, -1.0, -safe / (safe - 1) * safe.log())
    return exponent.exp()


def critical_weight(
    spikes: float, tau_mem: Constant, tau_syn: Constant, height: Constant
) -> Tensor:
    """The weight with which that many coincident spikes just raise the voltage by ``height``.

    **Arguments:** numbers or tensors ``(out,)``; **returns** a tensor ``()`` or ``(out,)``,
    float64.
    """
    peak = postsynaptic_peak(_double(tau_mem), _double(tau_syn))
    return _double(height) / (max(spikes, 1) * peak)


@torch.no_grad()
def spiking_weights_(weight: Tensor, critical: Tensor, fan_in: float) -> None:
    """Fill ``weight`` such that neurons spike: see `LIF.reset_parameters`.

    **Arguments:** ``critical``: their unit, with axes that go with ``weight``; ``fan_in``: how
    many inputs a neuron has.
    """
    scale = critical.to(weight.dtype).to(weight.device)
    weight.normal_().mul_(_STD * fan_in**0.5).add_(_MEAN).mul_(scale)


@torch.no_grad()
def recurrent_weights_(
    weight: Tensor, critical: Tensor, fan_in: float, generator: torch.Generator | None = None
) -> None:
    """Fill ``weight`` with small ones: see `RecurrentLIF.reset_parameters`.

    **Arguments:** as of `spiking_weights_`.
    """
    scale = critical.to(weight.dtype).to(weight.device)
    weight.normal_(generator=generator).mul_(_RECURRENT_STD * fan_in**0.5).mul_(scale)


@torch.no_grad()
def readout_weights_(weight: Tensor, critical: Tensor) -> None:
    """Fill ``weight (out, in)`` such that voltages are of order 1: see `LI.reset_parameters`."""
    scale = critical.to(weight.dtype).to(weight.device).reshape(-1, 1)
    weight.normal_().mul_(weight.shape[1] ** 0.5).mul_(scale)


def _double(x: Constant) -> Tensor:
    return torch.as_tensor(x, dtype=torch.float64).detach()
