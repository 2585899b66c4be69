"""Layers without neurons between convolutions: spikes of regions, and the axes of neurons."""

import math

import torch
from torch import Tensor, nn

from ...jax_core import Events
from ...jax_core._validate import check_integer
from .._validate import check_spike_tensor, check_spikes, values_are_checked
from ..functional._chain import flattened
from ._connection_list import times_of_events


class _Pool2d(nn.Module):
    """Base of layers that hand on spikes of regions."""

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.kernel_size = _pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else _pair(stride, "stride", 1)
        self.padding = _pair(padding, "padding", 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(
                f"padding must be at most half of kernel_size = {self.kernel_size}, got "
                f"{self.padding}; otherwise there are regions without neurons"
            )

    def forward(self, spikes: Tensor) -> Tensor:
        check_spike_tensor(spikes)
        check_spikes(spikes)
        if spikes.ndim < 4:
            raise ValueError(f"spikes must have shape (..., C, H, W, k), got {tuple(spikes.shape)}")
        (height, width), (up, left) = self.kernel_size, self.padding
        for size, kernel, padding in zip(
            spikes.shape[-3:-1], self.kernel_size, self.padding, strict=True
        ):
            if kernel > size + 2 * padding:
                raise ValueError(
                    f"kernel_size = {self.kernel_size} is larger than the input of shape "
                    f"{tuple(spikes.shape)} with padding = {self.padding}"
                )
        k = spikes.shape[-1]
        padded = nn.functional.pad(spikes, (0, 0, left, left, up, up), value=math.inf)
        regions = padded.unfold(-3, height, self.stride[0]).unfold(-3, width, self.stride[1])
        # (..., C, H_out, W_out, k, height, width)
        return self.pooled(regions.flatten(-3), k)

    def pooled(self, spikes: Tensor, k: int) -> Tensor:
        """What is handed on of the spikes ``(..., spikes of the region)``, of ``k`` per neuron."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class FirstSpikePool2d(_Pool2d):
    """The first spikes of regions: pooling by who is fastest.

    **Arguments:** ``kernel_size``: height and width of a region; ``stride``: from one to the next,
    the ``kernel_size`` by default; ``padding``: rows and columns without spikes at all ends, at
    most half of the kernel.

    **Shapes:** spike times ``(..., C, H, W, k)`` give ``(..., C, H_out, W_out, k)``: the first
    ``k`` spikes of all neurons of the region, ``inf`` where there are fewer. Sizes as in
    ``torch.nn.MaxPool2d``. Differentiable: the gradient goes to the spikes that were taken.
    """

    def pooled(self, spikes: Tensor, k: int) -> Tensor:
        return spikes.amin(-1, True) if k == 1 else torch.sort(spikes, dim=-1).values[..., :k]


class SumPool2d(_Pool2d):
    """All spikes of regions: what comes next hears each as if it were of one neuron.

    So a spike counts as often as there are regions that it lies in, as in NIR's SumPool2d.

    **Arguments:** as in `FirstSpikePool2d`.

    **Shapes:** spike times ``(..., C, H, W, k)`` give ``(..., C, H_out, W_out, k * size)``, where
    ``size`` is the number of neurons of a region: their spikes, ascending, and ``inf``. Sizes as in
    ``torch.nn.MaxPool2d``. Differentiable.
    """

    def pooled(self, spikes: Tensor, k: int) -> Tensor:
        return torch.sort(spikes, dim=-1).values


class FlattenSpikes(nn.Module):
    """All axes of neurons as one: ``(..., C, H, W, k)`` to ``(..., C * H * W, k)``.

    **Arguments:** ``axes``: how many axes of neurons there are, 3 after a `LIFConv2d`.
    """

    def __init__(self, axes: int = 3) -> None:
        super().__init__()
        check_integer(axes, "axes", 1)
        self.axes = axes

    def forward(self, spikes: Tensor) -> Tensor:
        check_spike_tensor(spikes)
        return flattened(spikes, self.axes)

    def extra_repr(self) -> str:
        return f"axes={self.axes}"


class UnflattenSpikes(nn.Module):
    """One axis of neurons as several: ``(..., C * H * W, k)`` to ``(..., C, H, W, k)``.

    **Arguments:** ``shape``: of the neurons, such as ``(C, H, W)``, which lie flat in C order.

    **Shapes:** spike times as above. ``Events`` ``(..., M)`` become spike times with room for the
    most spikes that a neuron has, rounded up to one of few sizes.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(int(size) for size in shape)
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"shape must have one or more sizes >= 1, got {shape!r}")

    def forward(self, spikes: Tensor | Events) -> Tensor:
        neurons = math.prod(self.shape)
        if isinstance(spikes, Events):
            if not values_are_checked():
                raise TypeError(
                    "spikes must be a spike-time tensor where torch traces or validation is off, "
                    "not Events; convert them with snn.spike_times_from_events"
                )
            check_spikes(spikes, neurons)
            spikes = times_of_events(spikes, neurons, math.inf)
        check_spikes(spikes, neurons)
        return spikes.unflatten(-2, self.shape)

    def extra_repr(self) -> str:
        return f"{self.shape}"


def _pair(given: int | tuple[int, int], name: str, least: int) -> tuple[int, int]:
    pair = (given, given) if isinstance(given, int) else tuple(given)
    if len(pair) != 2 or any(type(x) is not int or x < least for x in pair):
        raise ValueError(f"{name} must be one or two whole numbers >= {least}, got {given!r}")
    return pair
