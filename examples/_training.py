"""The training loop of examples on classification: nothing but torch."""

import statistics
import time
from collections.abc import Callable

import torch
from _checkpoint import Resumable, Run, Values
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


def train(
    loss_of: Callable[[Tensor], Tensor],
    test_accuracy: Callable[[], float],
    optimizer: Optimizer,
    scheduler: LRScheduler,
    states: dict[str, Resumable],
    run: Run,
    *,
    samples: int,
    batch_size: int,
    epochs: int,
    before_step: Callable[[], object] = lambda: None,
) -> Values:
    """Train for some epochs; **returns** loss, test accuracy and seconds of each.

    The test accuracy is recorded only, nothing depends on it.

    **Arguments:** ``loss_of``: the loss of samples, given their indices; ``states``: what else has
    a state that a checkpoint must hold, the model above all; ``before_step``: what to do with the
    gradients.
    """
    steps = samples // batch_size
    history = Values(loss=[], test_accuracy=[], seconds=[])
    states = {**states, "optimizer": optimizer, "scheduler": scheduler, "history": history}
    for _ in (progress := run.epochs("training", epochs, states)):
        start = time.perf_counter()
        losses = []
        # The last samples that do not fill a batch wait for another epoch.
        for batch in torch.randperm(samples).split(batch_size)[:steps]:
            optimizer.zero_grad()
            loss = loss_of(batch)
            loss.backward()
            before_step()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        history.seconds.append(time.perf_counter() - start)
        history.loss.append(statistics.mean(losses))
        history.test_accuracy.append(test_accuracy())
        progress.set_postfix(
            loss=f"{history.loss[-1]:.4f}", test_accuracy=f"{history.test_accuracy[-1]:.1%}"
        )
    return history
