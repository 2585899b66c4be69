"""A chain of optax with a schedule, clipping and weight decay trains a torch model.

    python examples/ecosystem/optax_rule.py

`bridge.OptaxOptimizer` is a torch optimiser: schedulers of torch, checkpoints and parameter groups
work with it. Its state goes into a checkpoint and comes back.
"""

import optax
import torch
from _classifier import BATCH_SIZE, accuracy, build_model, load_data, loss_function
from torch import nn

from evtorch import bridge


def build_optimizer(model: nn.Module, steps: int) -> bridge.OptaxOptimizer:
    rule = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.warmup_cosine_decay_schedule(0.0, 1e-2, 20, steps), weight_decay=1e-4),
    )
    return bridge.OptaxOptimizer(model.parameters(), rule)


def main(epochs: int = 8) -> tuple[float, float]:
    """Train, and once more with a stop halfway. **Returns** both accuracies, which are equal."""
    torch.set_num_threads(1)
    data, test = load_data()
    steps = epochs * len(data) // BATCH_SIZE
    order = [torch.randperm(len(data)).split(BATCH_SIZE) for _ in range(epochs)]

    def train(model: nn.Module, optimizer: bridge.OptaxOptimizer, epochs: range) -> None:
        for batch in (batch for epoch in epochs for batch in order[epoch]):
            optimizer.zero_grad()
            loss_function(model(data.values[batch]), data.classes[batch]).backward()
            optimizer.step()

    torch.manual_seed(0)
    model = build_model()
    optimizer = build_optimizer(model, steps)
    train(model, optimizer, range(epochs // 2))
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    state = optimizer.state_dict()
    train(model, optimizer, range(epochs // 2, epochs))

    resumed = build_model()
    resumed.load_state_dict(kept)
    again = build_optimizer(resumed, steps)
    again.load_state_dict(state)
    train(resumed, again, range(epochs // 2, epochs))
    return accuracy(model, test), accuracy(resumed, test)


if __name__ == "__main__":
    print("test accuracy {:.1%}, with a stop halfway {:.1%}".format(*main()))
