"""Inputs that several test files share."""

import math

import torch
from torch import Tensor

INF = math.inf


def spikes(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Ascending spike times within 20 ms."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.rand(*shape, dtype=torch.float64, generator=generator) * 2e-2
    return times.sort(dim=-1).values.to(dtype)


def strong(layer: torch.nn.Module, seed: int = 1) -> torch.nn.Module:
    """Give a layer positive weights with which every neuron spikes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        weight = layer.weight
        values = 1 + torch.rand(*weight.shape, dtype=torch.float64, generator=generator)
        weight.copy_(values * 8 / max(weight.shape[1], 1))
    return layer
