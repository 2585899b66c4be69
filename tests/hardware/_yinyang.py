"""A small trained Yin-Yang network, so that hardware tests need not train one.

    python tests/hardware/_yinyang.py

trains it again, in a minute, and writes ``_yinyang.json``.
"""

import json
import math
from functools import partial
from pathlib import Path

import torch
from torch import nn

from evtorch import torch_api as snn
from evtorch.torch_api.datasets import YinYang

WEIGHTS = Path(__file__).with_suffix(".json")
MS = 1e-3
TAU_SYN = 6 * MS
TARGETS = 1.0 * TAU_SYN, 1.6 * TAU_SYN  # first spike of the right output, and of the others
HIDDEN, EPOCHS, BATCH = 30, 60, 64


def untrained() -> nn.Sequential:
    """Encoder, hidden and output layer: from values (batch, 4) to first spikes (batch, 3, 1)."""
    lif = partial(snn.LIF, tau_mem=2 * TAU_SYN, tau_syn=TAU_SYN, refractory=math.inf, t_max=24 * MS)
    hidden, output = lif(5, HIDDEN), lif(HIDDEN, 3)
    nn.init.normal_(hidden.weight, 1.5, 1.5)
    nn.init.normal_(output.weight, 24 / HIDDEN, 2 / HIDDEN**0.5)
    return nn.Sequential(snn.LatencyEncoder(0.0, 2 * TAU_SYN, bias=0.0), hidden, output)


def trained() -> nn.Sequential:
    """The network with the stored weights."""
    model = untrained()
    stored = json.loads(WEIGHTS.read_text())
    model.load_state_dict({name: torch.tensor(value) for name, value in stored.items()})
    return model


def squared_error(spikes: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Of first-spike times (batch, 3, 1), in units of ``TAU_SYN``; silence counts as late."""
    right, wrong = TARGETS
    target = torch.full((len(classes), 3), wrong).scatter_(1, classes[:, None], right)
    first = spikes[..., 0]
    first = torch.where(first < math.inf, first, 3 * TAU_SYN)
    return ((first - target) / TAU_SYN).square().sum(-1).mean()


def main() -> None:
    torch.manual_seed(0)
    data, test = YinYang(5000, seed=0), YinYang(1000, seed=1)
    model = untrained()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    steps = len(data) // BATCH
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(data)).split(BATCH)[:steps]:
            optimizer.zero_grad()
            squared_error(model(data.values[batch]), data.classes[batch]).backward()
            nn.utils.clip_grad_value_(model.parameters(), 0.02)
            optimizer.step()
            scheduler.step()
    stored = {
        name: [[round(x, 3) for x in row] for row in value.tolist()]
        for name, value in model.named_parameters()
    }
    WEIGHTS.write_text(json.dumps(stored) + "\n")
    with torch.no_grad():
        right = snn.first_to_spike(trained()(test.values)) == test.classes
    print(f"test accuracy {right.double().mean():.1%} of {len(test)} unseen samples")


if __name__ == "__main__":
    main()
