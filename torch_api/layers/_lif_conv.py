"""Convolutions whose neurons are leaky integrate-and-fire neurons."""

from typing import Unpack

from torch import Tensor

from ...jax_core import Events
from ..functional._lists import lists_of
from ._constants import constants_repr
from ._convolved import Convolved, Sizes
from ._feed_forward import FeedForwardLIF
from ._initialisation import spiking_weights_
from ._neuron_layer import CONSTANTS, DensePart
from ._options import DEFAULTS, Options
from ._room import room_repr


class _LIFConv(Convolved, FeedForwardLIF):
    """Base of the convolutions over one and over two axes."""

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
        self.conv = self.structure(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups
        )
        self.in_features, self.out_features = int(in_channels), int(out_channels)
        device, dtype = self.set_options({**DEFAULTS, **options}, self.out_features)
        self.silent, self.silent_time = "inf", self.t_max
        self.weight = self.new_weight({"device": device, "dtype": dtype})
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, such that most neurons spike: see `LIF.reset_parameters`.

        The number of inputs is there ``in_channels / groups`` times the size of the kernel.
        """
        spiking_weights_(self.weight, self.per_weight(self.critical_weight()), self.fan_in)

    def dense_parts(self, arriving: Tensor | Events, output: Tensor) -> list[DensePart]:
        assert isinstance(arriving, Tensor)
        lists = lists_of(arriving, self.conv)
        weights = self.weight.unflatten(0, (self.conv.groups, -1)).flatten(2)
        outputs = self.by_group(output).transpose(0, 1).flatten(1, 2)
        return [
            DensePart(one, weight, out, n * len(weight))
            for n, (one, weight, out) in enumerate(zip(lists, weights, outputs, strict=True))
        ]

    def extra_repr(self) -> str:
        parts = [
            self.structure_repr(),
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
