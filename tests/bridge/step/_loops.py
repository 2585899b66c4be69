"""A small model, data, and the plain loop of torch that compiled steps are compared with."""

from collections.abc import Callable

import torch
from torch import nn


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))


def batches(count: int, size: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(2)
    return [(torch.randn(size, 5), torch.randint(0, 3, (size,))) for _ in range(count)]


def plain_step(
    model: nn.Module,
    loss: Callable[..., torch.Tensor],
    optimizer: torch.optim.Optimizer,
    data: list[tuple[torch.Tensor, torch.Tensor]],
    max_norm: float | None = None,
    max_value: float | None = None,
) -> torch.Tensor:
    """The mean loss over ``data``, whose gradients are averaged."""
    optimizer.zero_grad()
    losses = [loss(model(x), y) for x, y in data]
    total = torch.stack(losses).mean()
    total.backward()
    if max_value is not None:
        nn.utils.clip_grad_value_(model.parameters(), max_value)
    if max_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return losses[-1].detach()


def assert_same(one: nn.Module, other: nn.Module, tolerance: float = 1e-12) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance, msg=name)
