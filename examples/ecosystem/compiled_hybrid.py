"""torch.compile of a model in which convolutions stand before spiking layers.

    python examples/ecosystem/compiled_hybrid.py

Torch compiles what is its own, and sees each spiking layer as one operator, which JAX has compiled.
Inside, values are not known, so spike times are not checked there: call a new model once without.
"""

import math
import time
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn

from evtorch import torch_api as snn

BATCH_SIZE = 64


def build_model() -> nn.Sequential:
    """From images (batch, 1, 8, 8) to voltages (batch, 10)."""
    constants: dict[str, Any] = {"tau_mem": 10e-3, "tau_syn": 5e-3}
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Sigmoid(),
        snn.LatencyEncoder(0.0, 20e-3),
        snn.LIF(4 * 3 * 3, 20, refractory=math.inf, **constants),
        snn.LI(20, 10, **constants),
    )


def main(epochs: int = 8, backend: str = "inductor") -> float:
    """**Returns** the accuracy on images that were not trained with."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    found: Any = load_digits()
    images = torch.as_tensor(found.images / 16).float().unsqueeze(1)
    classes = torch.as_tensor(found.target)
    train, test = torch.arange(1344).split(BATCH_SIZE), torch.arange(1344, 1344 + 7 * BATCH_SIZE)
    model = build_model()
    snn.initialise_(model, images[:BATCH_SIZE])
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    loss_function = snn.VoltageCrossEntropyLoss(scale=2.0)
    optimizer = torch.optim.Adam(snn.parameter_groups(model, lr=0.1, lr_others=3e-3))
    for epoch in range(epochs):
        start = time.perf_counter()
        for batch in train:
            optimizer.zero_grad()
            loss_function(compiled(images[batch]), classes[batch]).backward()
            snn.clip_grad_(model)
            optimizer.step()
        print(f"epoch {epoch}: {time.perf_counter() - start:.1f} s")
    model.eval()
    with torch.no_grad():
        answers = [model(images[part]).argmax(-1) for part in test.split(BATCH_SIZE)]
    return (torch.cat(answers) == classes[test]).double().mean().item()


if __name__ == "__main__":
    print(f"test accuracy {main():.1%}")
