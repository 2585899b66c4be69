"""A convolution as the weights of a layer."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers._checkpoint import RecordsNumbers
from ._shapes import Shape


class Convolution(RecordsNumbers):
    """Parametrisation of a layer's ``weight``: a dense matrix ``(out, in)`` made of a kernel.

    With it (`torch.nn.utils.parametrize`), the kernel is what an optimiser sees and changes.
    Neurons lie flat in C order. The matrix holds the values of the kernel unchanged, times
    ``relative``.

    **Arguments:**

    - ``kernel_shape``: (out channels, in channels / groups, height, width), or with one size.
    - ``in_shape``: (channels, height, width) of the input, or (channels, length).
    - ``stride``, ``padding``, ``dilation``, ``groups``: as in `torch.nn.Conv2d`.
    - ``relative``: a factor per neuron ``(out,)``, or ``None`` for 1.
    """

    tap: Tensor
    relative: Tensor | None

    def __init__(
        self,
        kernel_shape: Shape,
        in_shape: Shape,
        stride: Shape,
        padding: Shape | str,
        dilation: Shape,
        groups: int,
        relative: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.kernel_shape, self.in_shape = kernel_shape, in_shape
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups = groups
        numbers = torch.arange(1, 1 + torch.Size(kernel_shape).numel(), dtype=torch.float64)
        size = torch.Size(in_shape).numel()
        pixels = torch.eye(size, dtype=torch.float64).reshape(size, *in_shape)
        settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        convolve = F.conv1d if len(in_shape) == 2 else F.conv2d
        seen = convolve(pixels, numbers.reshape(kernel_shape), groups=groups, **settings)
        self.out_shape = tuple(seen.shape[1:])
        # Which value of the kernel joins output and input; 0 for none.
        self.register_buffer("tap", seen.flatten(1).T.round().long(), persistent=False)
        self.register_buffer("relative", relative)

    def forward(self, kernel: Tensor) -> Tensor:
        values = torch.cat([kernel.new_zeros(1), kernel.reshape(-1)])
        weight = values[self.tap]
        return weight if self.relative is None else weight * self.relative.unsqueeze(-1)

    def numbers(self) -> dict[str, Any]:
        names = ("in_shape", "stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The kernel of a matrix that has this structure."""
        if self.relative is not None:
            weight = weight / self.relative.unsqueeze(-1)
        values = weight.new_zeros(1 + torch.Size(self.kernel_shape).numel())
        kernel = values.scatter(0, self.tap.flatten(), weight.flatten())[1:]
        return kernel.reshape(self.kernel_shape)


def convolution_of(layer: nn.Module) -> Convolution | None:
    """The parametrisation of a layer's weight, if it is a convolution."""
    if not nn.utils.parametrize.is_parametrized(layer, "weight"):
        return None
    parametrizations = cast(nn.ModuleDict, layer.parametrizations)
    found = parametrizations["weight"][0]  # pyright: ignore[reportIndexIssue]
    return found if isinstance(found, Convolution) else None


def kernel_of(layer: nn.Module) -> nn.Parameter:
    """The kernel behind a weight that is a convolution."""
    parametrizations = cast(nn.ModuleDict, layer.parametrizations)
    return cast(nn.Parameter, parametrizations["weight"].original)
