"""Two processes train one spiking network: DistributedDataParallel over gloo.

    python examples/ecosystem/ddp.py
    python examples/ecosystem/ddp.py --processes 4 --epochs 12

Each process has a copy of the model and its share of each batch. Gradients are averaged in the
backward pass, so the copies stay the same, and are those of the whole batch. What two processes are
worth depends on the layers: docs/parallel.md. The folder --out receives model.pt.
"""

import argparse
import os
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from _classifier import BATCH_SIZE, accuracy, build_model, load_data, loss_function
from torch import Tensor, distributed, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler


def train(rank: int, processes: int, epochs: int, store: Path, out: Path) -> None:
    """What each process does, by its ``rank``; the first one saves the model."""
    keep_to_own_cores(rank, processes)
    distributed.init_process_group(
        "gloo",
        store.as_uri(),
        rank=rank,
        world_size=processes,
        # Where one process fails, the others wait for its gradients only so long.
        timeout=timedelta(minutes=5),
    )
    torch.manual_seed(0)
    model, (data, test) = build_model(), load_data()
    shared = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(shared.parameters(), lr=1e-2)
    sampler = DistributedSampler(data, shuffle=True, drop_last=True)
    # The last batch is dropped if it is smaller: another size would be compiled, too.
    loader = DataLoader(data, BATCH_SIZE // processes, sampler=sampler, drop_last=True)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)  # Else each epoch has the first one's order.
        loss = torch.stack([step(shared, optimizer, *batch) for batch in loader]).mean()
        distributed.all_reduce(loss)
        if rank == 0:
            print(f"epoch {epoch + 1}: loss {loss / processes:.3f}", flush=True)
    check_copies(model)
    if rank == 0:
        torch.save(model.state_dict(), out / "model.pt")
        print(f"test accuracy {accuracy(model, test):.1%}")
    distributed.destroy_process_group()


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, classes: Tensor) -> Tensor:
    """One update of all copies; **returns** the loss of this process's share."""
    optimizer.zero_grad()
    loss = loss_function(model(x), classes)
    loss.backward()
    optimizer.step()
    return loss.detach()


def keep_to_own_cores(rank: int, processes: int) -> None:
    """Before JAX starts a thread for each. Small layers gain nothing from threads of torch."""
    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) >= processes:
        os.sched_setaffinity(0, cores[rank::processes])


def check_copies(model: nn.Module) -> None:
    """Raise where the processes' weights are not the same to the last bit."""
    own = nn.utils.parameters_to_vector(model.parameters()).detach()
    all_of_them = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(all_of_them, own)
    if any(not torch.equal(own, other) for other in all_of_them):
        raise RuntimeError("the processes' weights differ")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ddp"), help="(%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="(%(default)s)")
    own = parser.parse_args()
    if not 1 <= own.processes <= BATCH_SIZE:
        parser.error(f"--processes must be from 1 to {BATCH_SIZE}")
    own.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        given = own.processes, own.epochs, Path(folder, "store"), own.out
        # Spawned: a forked process cannot use a JAX that its parent has used.
        spawn(train, given, nprocs=own.processes)


if __name__ == "__main__":
    main()
