"""Convolutions whose neurons are leaky integrate-and-fire neurons."""

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from ...jax_core import Connections, Conv, Events
from .._validate import check_size, check_spike_tensor
from ..functional._lists import lists_of
from ._constants import constants_repr
from ._feed_forward import FeedForwardLIF
from ._initialisation import spiking_weights_
from ._input_counts import input_counts
from ._neuron_layer import CONSTANTS, DensePart
from ._options import DEFAULTS, Options
from ._room import room_repr

Sizes = int | tuple[int, ...]


class _LIFConv(FeedForwardLIF):
    """Base of the convolutions over one and over two axes."""

    axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        **options: Unpack[Options],
    ) -> None:
        super().__init__()
        unknown = sorted(set(options) - set(DEFAULTS))
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no option {', '.join(unknown)}; its options are "
                f"{', '.join(DEFAULTS)}"
            )
        self.in_channels = self.in_features = check_size(in_channels, "in_channels")
        self.out_channels = self.out_features = check_size(out_channels, "out_channels")
        kernel = self._sizes(kernel_size, "kernel_size")
        dilation = self._sizes(dilation, "dilation")
        self.conv = Conv(
            kernel,
            self._sizes(stride, "stride"),
            self._padding(padding, kernel, dilation, stride),
            dilation,
            groups,
        )
        for name, count in (("in_channels", in_channels), ("out_channels", out_channels)):
            if count % groups:
                raise ValueError(f"{name} must be divisible by groups = {groups}, got {count}")
        device, dtype = self.set_options({**DEFAULTS, **options}, self.out_channels)
        self.silent, self.silent_time = "inf", self.t_max
        shape = self.out_channels, self.in_channels // groups, *kernel
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.reset_parameters()

    def _sizes(self, given: Any, name: str) -> tuple[int, ...]:
        sizes = tuple(given) if isinstance(given, tuple | list) else (given,) * self.axes
        if len(sizes) != self.axes:
            raise ValueError(
                f"{name} must be a number or have one for each of {self.axes} axes, got {given!r}"
            )
        return sizes

    def _padding(
        self, given: Any, kernel: tuple[int, ...], dilation: tuple[int, ...], stride: Any
    ) -> tuple[int, ...]:
        if given == "valid":
            return (0,) * self.axes
        if isinstance(given, str) and given != "same":
            raise ValueError(
                f"padding must be whole numbers, 'valid' (none) or 'same', got {given!r}"
            )
        if given != "same":
            return self._sizes(given, "padding")
        both = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        if any(x % 2 for x in both) or set(self._sizes(stride, "stride")) != {1}:
            raise ValueError(
                "padding='same' needs stride=1 and a kernel that covers an odd number of "
                "positions; give the padding as numbers"
            )
        return tuple(x // 2 for x in both)

    def reset_parameters(self) -> None:
        """Draw new weights, such that most neurons spike: see `LIF.reset_parameters`.

        The number of inputs is there ``in_channels / groups`` times the size of the kernel.
        """
        spiking_weights_(self.weight, self.per_weight(self.critical_weight()), self.fan_in)

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
        return self._by_group(out).flatten(0, 2)

    def _by_group(self, out: Tensor) -> Tensor:
        """Output spikes, ``(samples, groups, positions, channels of a group, max_spikes)``."""
        out = out.reshape(-1, *out.shape[-2 - self.axes :])
        return out.unflatten(1, (self.conv.groups, -1)).flatten(3, -2).transpose(2, 3)

    def dense_parts(self, arriving: Tensor | Events, output: Tensor) -> list[DensePart]:
        assert isinstance(arriving, Tensor)
        lists = lists_of(arriving, self.conv)
        weights = self.weight.unflatten(0, (self.conv.groups, -1)).flatten(2)
        outputs = self._by_group(output).transpose(0, 1).flatten(1, 2)
        return [
            DensePart(one, weight, out, n * len(weight))
            for n, (one, weight, out) in enumerate(zip(lists, weights, outputs, strict=True))
        ]

    def extra_repr(self) -> str:
        conv = self.conv
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={conv.kernel_size}",
            f"stride={conv.stride}, padding={conv.padding}, dilation={conv.dilation}",
            f"groups={conv.groups}",
            constants_repr(self, CONSTANTS),
            f"{room_repr(self)}, t_max={self.t_max:g}, gradient={self.gradient!r}",
        ]
        return ", ".join(parts)


class LIFConv1d(_LIFConv):
    """A convolution over one axis with neurons of `LIF`; as `LIFConv2d` is over two.

    **Shapes:** spike times ``(..., in_channels, L, k)`` give ``(..., out_channels, L_out,
    max_spikes)``, with ``L_out`` as in ``torch.nn.Conv1d``.
    """

    axes = 1


class LIFConv2d(_LIFConv):
    """A convolution over two axes whose neurons are those of `LIF`.

    At each position of the output there is a neuron for each output channel. It hears the input
    neurons that the kernel covers there, through weights that all positions share; where padding
    lies nothing spikes. Everything else is as in `LIF`: spikes are exact, in continuous time, and
    so are the gradients. No dense matrix is made: time and memory grow with positions times the
    size of the kernel times channels.

    **Arguments:**

    - ``in_channels``, ``out_channels``, ``kernel_size``, ``stride``, ``padding``, ``dilation``,
      ``groups``: as in ``torch.nn.Conv2d``. ``padding="same"`` is for strides of 1 and kernels that
      cover an odd number of positions.
    - options of `LIF`: the constants, ``max_spikes``, ``t_max``, ``learn``, ``gradient``,
      ``on_overflow``, ``min_slope``, ``solver``, ``device`` and ``dtype``. A constant is a number,
      or a tensor ``(out_channels,)``.

    **Parameters:** ``weight``, shape ``(out_channels, in_channels / groups, *kernel_size)``; those
    named in ``learn``, ``(out_channels,)``.

    **Shapes:** spike times ``(..., in_channels, H, W, k)`` give ``(..., out_channels, H_out, W_out,
    max_spikes)``, with ``H_out`` and ``W_out`` as in ``torch.nn.Conv2d``. `health_report` counts
    per channel, over samples and positions.
    """

    axes = 2
