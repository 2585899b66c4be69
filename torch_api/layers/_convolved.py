"""What layers have in common whose positions share the weights of a convolution."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...jax_core import Connections, Conv, Events
from .._validate import check_size, check_spike_tensor
from ._input_counts import input_counts
from ._neuron_layer import WeightedLayer

Sizes = int | tuple[int, ...]


class Convolved(WeightedLayer):
    """Base of the convolutions over one and over two axes, of neurons of any kind.

    ``in_features`` and ``out_features`` are numbers of channels.
    """

    axes: ClassVar[int]
    conv: Conv

    @property
    def in_channels(self) -> int:
        return self.in_features

    @property
    def out_channels(self) -> int:
        return self.out_features

    @classmethod
    def structure(
        cls,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        dilation: Sizes,
        groups: int,
    ) -> Conv:
        """What a constructor's arguments mean, after a check."""
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            check_size(count, name)
        kernel = cls._sizes(kernel_size, "kernel_size")
        dilation = cls._sizes(dilation, "dilation")
        conv = Conv(
            kernel,
            cls._sizes(stride, "stride"),
            cls._padding(padding, kernel, dilation, stride),
            dilation,
            groups,
        )
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if count % groups:
                raise ValueError(f"{name} must be divisible by groups = {groups}, got {count}")
        return conv

    @classmethod
    def _sizes(cls, given: Any, name: str) -> tuple[int, ...]:
        sizes = tuple(given) if isinstance(given, tuple | list) else (given,) * cls.axes
        if len(sizes) != cls.axes:
            raise ValueError(
                f"{name} must be a number or have one for each of {cls.axes} axes, got {given!r}"
            )
        return sizes

    @classmethod
    def _padding(
        cls, given: Any, kernel: tuple[int, ...], dilation: tuple[int, ...], stride: Any
    ) -> tuple[int, ...]:
        if given == "valid":
            return (0,) * cls.axes
        if isinstance(given, str) and given != "same":
            raise ValueError(
                f"padding must be whole numbers, 'valid' (none) or 'same', got {given!r}"
            )
        if given != "same":
            return cls._sizes(given, "padding")
        both = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        if any(x % 2 for x in both) or set(cls._sizes(stride, "stride")) != {1}:
            raise ValueError(
                "padding='same' needs stride=1 and a kernel that covers an odd number of "
                "positions; give the padding as numbers"
            )
        return tuple(x // 2 for x in both)

    def new_weight(self, place: dict[str, Any]) -> nn.Parameter:
        """A kernel, not yet filled; ``place``: device and dtype."""
        shape = self.out_features, self.in_features // self.conv.groups, *self.conv.kernel_size
        return nn.Parameter(torch.empty(shape, **place))

    @property
    def fan_in(self) -> float:
        return self.weight[:1].numel()

    def connections(self) -> Connections:
        return self.conv

    def delay_input(self, spikes: Tensor | Events) -> Tensor | Events:
        """The input spikes, as nothing delays them, with their axes checked."""
        check_spike_tensor(spikes)
        assert isinstance(spikes, Tensor)
        if spikes.ndim < self.axes + 2 or spikes.shape[-2 - self.axes] != self.in_channels:
            axes = "L" if self.axes == 1 else "H, W"
            raise ValueError(
                f"spikes must have shape (..., {self.in_channels}, {axes}, k) with in_channels = "
                f"{self.in_channels}, got {tuple(spikes.shape)}"
            )
        return spikes

    def numbers(self) -> dict[str, Any]:
        structure = {
            name: list(getattr(self.conv, name)) for name in ("stride", "padding", "dilation")
        }
        return {**super().numbers(), **structure, "groups": self.conv.groups}

    def counts_of_inputs(self, spikes: Tensor | Events) -> Tensor:
        counts = input_counts(spikes, self.in_channels, self.t_max, torch.float64)
        counts = counts.reshape(-1, *counts.shape[-1 - self.axes :])
        # One axis as two, the first of length one.
        more = [1] * (2 - self.axes)
        counts = counts.reshape(*counts.shape[:2], *more, *counts.shape[2:])
        unfolded = nn.functional.unfold(
            counts,
            kernel_size=(*more, *self.conv.kernel_size),
            dilation=(*more, *self.conv.dilation),
            padding=(*[0] * len(more), *self.conv.padding),
            stride=(*more, *self.conv.stride),
        )
        groups = self.conv.groups
        unfolded = unfolded.unflatten(1, (groups, -1)).transpose(2, 3)
        return unfolded.reshape(-1, unfolded.shape[-1])

    def by_neuron(self, out: Tensor) -> Tensor:
        return self.by_group(out).flatten(0, 2)

    def by_group(self, out: Tensor) -> Tensor:
        """Output spikes, ``(samples, groups, positions, channels of a group, max_spikes)``."""
        out = out.reshape(-1, *out.shape[-2 - self.axes :])
        return out.unflatten(1, (self.conv.groups, -1)).flatten(3, -2).transpose(2, 3)

    def structure_repr(self) -> str:
        conv = self.conv
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={conv.kernel_size}, "
            f"stride={conv.stride}, padding={conv.padding}, dilation={conv.dilation}, "
            f"groups={conv.groups}"
        )
