"""Convolutions whose neurons are a model of ``jax_core``."""

from typing import Any

from ._convolved import Convolved, Sizes
from ._delta_lif import DeltaLIF
from ._if import IF
from ._model_layer import ModelLayer

ALL_TO_ALL = {"delay", "mask", "connections"}
"""Options that layers of these neurons have if they are connected all to all."""


class _ModelConv(Convolved, ModelLayer):
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
        **options: Any,
    ) -> None:
        wrong = sorted(ALL_TO_ALL & set(options))
        if wrong:
            raise TypeError(
                f"{type(self).__name__} has no option {', '.join(wrong)}; a kernel says what is "
                f"connected, and a Delay before the layer delays its input"
            )
        conv = self.structure(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups
        )
        given: dict[str, Any] = {**options, "connections": conv}
        super().__init__(in_channels, out_channels, **given)

    @property
    def neuron_axis(self) -> int:
        return -1 - self.axes

    def _connect(self, delay: Any, mask: Any, connections: Any, place: dict[str, Any]) -> None:
        self.sparse = self.delay = self.delay_type = None
        self.conv = connections
        self.weight = self.new_weight(place)


class DeltaLIFConv1d(_ModelConv, DeltaLIF):
    """A convolution over one axis with neurons of `DeltaLIF`; as `DeltaLIFConv2d` is over two."""

    axes = 1


class DeltaLIFConv2d(_ModelConv, DeltaLIF):
    """A convolution over two axes whose neurons are those of `DeltaLIF`.

    At each position of the output there is a neuron for each output channel; all positions share
    weights and constants, as in `LIFConv2d`. No dense matrix is made.

    **Arguments:**

    - ``in_channels``, ``out_channels``, ``kernel_size``, ``stride``, ``padding``, ``dilation``,
      ``groups``: as of `LIFConv2d`.
    - ``options``: constants and options of `DeltaLIF`, except for ``delay``, ``mask`` and
      ``connections``. A constant is a number, or a tensor ``(out_channels,)``.

    **Parameters:** ``weight``, shape ``(out_channels, in_channels / groups, *kernel_size)``; those
    named in ``learn``, ``(out_channels,)``.

    **Shapes:** as of `LIFConv2d`.
    """

    axes = 2


class IFConv1d(_ModelConv, IF):
    """A convolution over one axis with neurons of `IF`; as `IFConv2d` is over two."""

    axes = 1


class IFConv2d(_ModelConv, IF):
    """A convolution over two axes whose neurons are those of `IF`.

    Everything else is as of `DeltaLIFConv2d`, with constants of `IF`.
    """

    axes = 2
