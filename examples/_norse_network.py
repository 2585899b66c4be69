"""The network of Norse that the fine-tuning example starts from."""

import warnings
from collections.abc import Callable

import torch
from _settings import installed
from torch import Tensor, nn

from evtorch import torch_api as snn

with installed("-e '.[examples,nir]' norse"), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it uses what torch deprecates
    import norse.torch as norse

MS = 1e-3
TAU_MEM, TAU_SYN, T_MAX = 20 * MS, 10 * MS, 50 * MS
Network = Callable[[Tensor], Tensor]


def norse_network(hidden: int, dt: float) -> nn.Sequential:
    """5 inputs, LIF neurons, and 3 leaky integrators that are read out by their mean voltage."""
    constants = {
        "tau_mem_inv": torch.as_tensor(1 / TAU_MEM),
        "tau_syn_inv": torch.as_tensor(1 / TAU_SYN),
    }
    layers = [
        nn.Linear(5, hidden, bias=False),
        norse.LIFCell(norse.LIFParameters(**constants), dt=dt),
        nn.Linear(hidden, 3, bias=False),
        norse.LICell(norse.LIParameters(**constants), dt=dt),
    ]
    nn.init.normal_(layers[0].weight, mean=1.6, std=1.8)
    nn.init.normal_(layers[2].weight, mean=0.2, std=0.5 / hidden**0.5)
    return norse.SequentialState(*layers)


def grid_network(model: nn.Sequential, encoder: nn.Module, dt: float) -> Network:
    """Run Norse's network over all steps: from values (batch, 4) to integrals (batch, 3)."""
    steps = round(T_MAX / dt)

    def run(values: Tensor) -> Tensor:
        raster = snn.dense_from_spike_times(encoder(values), dt, steps)
        state, integral = None, torch.zeros(len(values), 3)
        for spikes in raster:
            voltage, state = model(spikes, state)
            integral = integral + dt * voltage
        return integral

    return run
