"""Networks of torch, snnTorch and Norse for the digits, each as its own tutorials build them."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import norse.torch as norse
import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from digits import BATCH_SIZE, load  # pyright: ignore[reportMissingImports]

HIDDEN = 300
STEPS = 25


class SnnTorch(nn.Module):
    """Two layers of `Leaky` with surrogate gradients; constant currents; counts as logits."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(64, HIDDEN), nn.Linear(HIDDEN, 10)
        self.first, self.second = (
            snntorch.Leaky(beta=0.9, spike_grad=surrogate.fast_sigmoid(slope=25)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.first.init_leaky(), self.second.init_leaky()
        voltages = []
        for _ in range(STEPS):
            spikes, first = self.first(self.hidden(x), first)
            _, second = self.second(self.out(spikes), second)
            voltages.append(second)
        return torch.stack(voltages).mean(dim=0)


class Norse(nn.Module):
    """A layer of `LIFCell` and one of `LILinearCell`, encoded by constant currents; maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = norse.ConstantCurrentLIFEncoder(STEPS)
        self.network = norse.SequentialState(
            nn.Linear(64, HIDDEN), norse.LIFCell(), norse.LILinearCell(HIDDEN, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        state, voltages = None, []
        for spikes in self.encoder(2 * x):
            voltage, state = self.network(spikes, state)
            voltages.append(voltage)
        return torch.stack(voltages).amax(dim=0)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(256, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10)),
    )


class Peer(NamedTuple):
    title: str
    make: Callable[[], nn.Module]


PEERS = {
    "mlp": Peer("torch, 64-300-10 with ReLU", perceptron),
    "cnn": Peer("torch, Conv2d(1, 16, 3) and 256-300-10", convolutional),
    "snntorch": Peer("snnTorch, 64-300-10 of `Leaky`, 25 steps", SnnTorch),
    "norse": Peer("Norse, 64-300 `LIFCell`, 10 `LILinearCell`, 25 steps", Norse),
}


def train_peer(name: str, seed: int, epochs: int, **adam: Any) -> tuple[float, float]:
    """Train one; **returns** test accuracy and seconds."""
    torch.set_num_threads(1)  # Networks this small lose by more.
    torch.manual_seed(seed)
    start = time.perf_counter()
    data, test = load()
    model = PEERS[name].make()
    optimizer = torch.optim.Adam(model.parameters(), **{"lr": 2e-3, **adam})
    steps = len(data.values) // BATCH_SIZE
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(data.values)).split(BATCH_SIZE)[:steps]:
            optimizer.zero_grad()
            logits = model(data.values[batch])
            loss = nn.functional.cross_entropy(logits, data.classes[batch], label_smoothing=0.1)
            loss.backward()
            optimizer.step()
            scheduler.step()
    with torch.no_grad():
        right = model(test.values).argmax(-1) == test.classes
    return right.double().mean().item(), time.perf_counter() - start
