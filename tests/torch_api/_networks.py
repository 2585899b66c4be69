"""Inputs and layers that several test files share."""

import math

import torch
from torch import Tensor

from evtorch import torch_api as snn

INF = math.inf


def spikes(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Ascending spike times within 20 ms."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.rand(*shape, dtype=torch.float64, generator=generator) * 2e-2
    return times.sort(dim=-1).values.to(dtype)


def strong(layer: snn.LIF, seed: int = 1) -> snn.LIF:
    """Give a layer positive weights with which every neuron spikes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        values = 1 + torch.rand(*layer.weight.shape, dtype=torch.float64, generator=generator)
        layer.weight.copy_(values * 8 / max(layer.in_features, 1))
    return layer


def draw_delay(layer: snn.LIF, low: float, high: float) -> Tensor:
    """Give a layer random delays; returns them."""
    assert layer.delay is not None
    torch.nn.init.uniform_(layer.delay, low, high)
    return layer.delay.detach()


def gradient(tensor: Tensor) -> Tensor:
    """The gradient that a tensor has accumulated."""
    assert tensor.grad is not None
    return tensor.grad
