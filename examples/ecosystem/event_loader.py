"""A DataLoader whose workers read recordings of events, and pad them to few sizes.

    python examples/ecosystem/event_loader.py

Recordings have different numbers of events, and a layer is compiled for each number it sees. So a
batch is padded to one of a few rooms. Workers are spawned: a forked one cannot use a JAX that its
parent has used; and what they do here is NumPy and torch alone.
"""

import math
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from evtorch import torch_api as snn

CHANNELS, CLASSES, DURATION = 20, 2, 0.1
ROOMS = (64, 128, 256)


class Recordings(Dataset[tuple[Tensor, Tensor, int]]):
    """Files with times, in seconds, and channels of events; the name says the class."""

    def __init__(self, folder: Path) -> None:
        self.files = sorted(folder.glob("*.npz"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor, int]:
        with np.load(self.files[k]) as found:
            time, index = torch.from_numpy(found["time"]), torch.from_numpy(found["index"])
        return time, index, int(self.files[k].stem.split("_")[-1])


def collate(samples: list[tuple[Tensor, Tensor, int]]) -> tuple[snn.Events, Tensor]:
    """One batch of events: padded with times ``inf`` and channels -1 to the next room."""
    most = max(len(time) for time, _, _ in samples)
    room = next(room for room in ROOMS if most <= room)
    time = torch.full((len(samples), room), math.inf)
    index = torch.full((len(samples), room), -1)
    for k, (times, channels, _) in enumerate(samples):
        time[k, : len(times)], index[k, : len(times)] = times, channels
    return snn.Events(time=time, index=index), torch.tensor([label for *_, label in samples])


def write_recordings(folder: Path, count: int) -> None:
    """Made-up ones: the upper half of the channels is the busier one in class 1."""
    random = np.random.default_rng(0)
    for k in range(count):
        label, events = k % CLASSES, int(random.integers(60, 120))
        index = random.integers(CHANNELS // 2, size=events)
        index += CHANNELS // 2 * (random.random(events) < (0.7 if label else 0.3))
        time = np.sort(random.random(events) * DURATION).astype(np.float32)
        np.savez(folder / f"{k:04}_{label}.npz", time=time, index=index)


def main(count: int = 256, epochs: int = 6, workers: int = 2) -> float:
    """**Returns** the accuracy over the last epoch's batches, as they came."""
    torch.manual_seed(0)
    constants: dict[str, Any] = {"tau_mem": 20e-3, "tau_syn": 10e-3, "t_max": DURATION}
    hidden = snn.LIF(CHANNELS, 10, max_spikes=8, on_overflow="truncate", **constants)
    model = nn.Sequential(hidden, snn.LI(10, CLASSES, readout="integral", **constants))
    loss_function = snn.VoltageCrossEntropyLoss(scale="auto")
    with tempfile.TemporaryDirectory() as folder:
        write_recordings(Path(folder), count)
        loader = DataLoader(
            Recordings(Path(folder)),
            batch_size=32,
            shuffle=True,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,
        )
        optimizer, right = None, 0
        for _ in range(epochs):
            right = 0
            for events, labels in cast("DataLoader[tuple[snn.Events, Tensor]]", loader):
                if optimizer is None:
                    snn.initialise_(model, events)
                    optimizer = torch.optim.Adam(snn.parameter_groups(model, lr=0.1))
                optimizer.zero_grad()
                voltages = model(events)
                loss_function(voltages, labels).backward()
                optimizer.step()
                right += int((voltages.argmax(-1) == labels).sum())
    return right / count


if __name__ == "__main__":
    print(f"accuracy {main():.1%}")
