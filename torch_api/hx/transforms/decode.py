"""From traces ``(time, batch, neurons)`` to one value ``(batch, neurons)`` each."""

from torch import Tensor, nn

__all__ = ["MaxOverTime", "MeanOverTime", "SumOverTime"]


class MaxOverTime(nn.Module):
    """The highest value over time."""

    def forward(self, input: Tensor) -> Tensor:
        return input.amax(0)


class SumOverTime(nn.Module):
    """The sum over time."""

    def forward(self, input: Tensor) -> Tensor:
        return input.sum(0)


class MeanOverTime(nn.Module):
    """The mean over time."""

    def forward(self, input: Tensor) -> Tensor:
        return input.mean(0)
