"""What the examples of this folder share: a small spiking classifier of points, and its data."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from evtorch import torch_api as snn

MS = 1e-3
BATCH_SIZE = 64
loss_function = snn.TTFSCrossEntropyLoss(tau_syn=10 * MS, xi=0.1)


def build_model(hidden: int = 20, tau_mem: float = 20 * MS, tau_syn: float = 10 * MS) -> nn.Module:
    """From values (batch, 4) to first-spike times (batch, 3, 1)."""
    constants: dict[str, Any] = {"tau_mem": tau_mem, "tau_syn": tau_syn, "refractory": math.inf}
    first = snn.LIF(5, hidden, **constants)
    # Its leak above the threshold, each output spikes sooner or later, so none is without gradient.
    last = snn.LIF(hidden, 3, v_leak=1.2, **constants)
    nn.init.normal_(first.weight, mean=1.2, std=1.6)
    nn.init.normal_(last.weight, mean=12 / hidden, std=2 / hidden**0.5)
    return nn.Sequential(snn.LatencyEncoder(0.0, 20 * MS, bias=0.0), first, last)


def load_data() -> tuple[snn.datasets.YinYang, snn.datasets.YinYang]:
    """Samples for training and for the test."""
    return snn.datasets.YinYang(size=640, seed=0), snn.datasets.YinYang(size=320, seed=1)


@torch.no_grad()
def predict(model: nn.Module, values: Tensor) -> Tensor:
    """The class of each sample, -1 where no output spikes."""
    return torch.cat([snn.first_to_spike(model(part)) for part in values.split(BATCH_SIZE)])


def accuracy(model: nn.Module, data: snn.datasets.YinYang) -> float:
    return (predict(model, data.values) == data.classes).double().mean().item()
